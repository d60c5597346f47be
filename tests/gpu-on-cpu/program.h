// A model's kernels, wherever they run, with the memory they run on.
#pragma once

#include "compiler/pack/pack.h"
#include "dialects/evaluator/Values.h"
#include "tests/gpu-on-cpu/kernels.h"

namespace qwench::gpu_test {

/// A device as machines with such a matrix unit are.
inline gpu::Device deviceOf(gpu::MatrixUnit unit, int64_t subgroupSize) {
  gpu::Device device;
  device.matrix = unit;
  device.subgroupSize = subgroupSize;
  device.asyncCopies = unit == gpu::MatrixUnit::MmaSync || unit == gpu::MatrixUnit::Wgmma;
  if (unit == gpu::MatrixUnit::Wgmma)
    device.sharedBytes = 227 << 10; // as sm_90
  device.loadsAhead = unit == gpu::MatrixUnit::Wmma11 || unit == gpu::MatrixUnit::Wmma12 ? 4 : 8; // as RDNA
  return device;
}

/// What a test's name says of the matrix unit of its device.
inline std::string suffixOf(gpu::MatrixUnit unit) {
  const char *suffixes[] = {"", "_mma_sync", "_mfma", "_wmma11", "_wmma12", "_wgmma"};
  return suffixes[static_cast<int>(unit)];
}

/// What @sample draws from `logits` [rows, vocabulary], which lie in memory with NaN behind each row.
Result<std::vector<int32_t>> draw(Kernels &kernels, const std::vector<QwenchDraw> &draws, const std::vector<float> &logits,
                                  int64_t vocabulary);

class Program {
public:
  /// Plans a fused module for GPUs, emits its kernels for `device`, and packs the weights of `source`.
  /// The cache has room for `slots` sequences of `capacity` positions. Arena and logits are NaN at first.
  static Result<std::unique_ptr<Program>> create(mlir::ModuleOp fused, const gpu::Device &device,
                                                 const pack::TensorSource &source, int64_t slots, int64_t capacity,
                                                 gpu::Schedule schedule = gpu::Schedule::Graph);
  ~Program();

  /// One step through @prefill or, for few rows, @decode: logits [outputs, vocabulary].
  Result<std::vector<float>> forward(const evaluator::BatchRows &batch, bool decode);

  /// draw() with the model's @sample.
  Result<std::vector<int32_t>> sample(const std::vector<QwenchDraw> &draws, const std::vector<float> &logits, int64_t vocabulary);

  int64_t decodeRows() const;

  struct Code;

private:
  Program();
  std::unique_ptr<Code> code;
};

} // namespace qwench::gpu_test
