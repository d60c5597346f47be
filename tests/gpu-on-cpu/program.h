// A model's kernels, compiled for the CPU, with the memory they run on.
#pragma once

#include "compiler/target/gpu/device.h"
#include "compiler/pack/pack.h"
#include "dialects/evaluator/Values.h"
#include "runtime/abi/program.h"
#include "runtime/abi/result.h"
#include "tests/gpu-on-cpu/block.h"

#include "mlir/IR/BuiltinOps.h"

#include <memory>
#include <string>
#include <vector>

namespace qwench::gpu_on_cpu {

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

class Program {
public:
  /// Plans a fused module for GPUs, emits its kernels for `device`, compiles them, and packs the weights of `source`.
  /// The cache has room for `slots` sequences of `capacity` positions. Arena and logits are NaN at first.
  static Result<std::unique_ptr<Program>> create(mlir::ModuleOp fused, const gpu::Device &device,
                                                 const pack::TensorSource &source, int64_t slots, int64_t capacity,
                                                 gpu::Schedule schedule = gpu::Schedule::Graph);
  ~Program();

  /// The kernels of a planned module, without memory: only run() and sample() may be called.
  static Result<std::unique_ptr<Program>> createPlanned(mlir::ModuleOp planned, const gpu::Device &device);

  /// One step on the caller's memory.
  Status run(const QwenchStep &step, std::vector<Range> memory, bool decode);

  /// One step through @prefill or, for few rows, @decode: logits [outputs, vocabulary].
  Result<std::vector<float>> forward(const evaluator::BatchRows &batch, bool decode);

  /// What @sample draws from `logits` [rows, vocabulary], which lie in memory with NaN behind each row.
  Result<std::vector<int32_t>> sample(const std::vector<QwenchDraw> &draws, const std::vector<float> &logits,
                                      int64_t vocabulary);

  int64_t decodeRows() const;

  struct Code;

private:
  Program();
  std::unique_ptr<Code> code;
};

} // namespace qwench::gpu_on_cpu
