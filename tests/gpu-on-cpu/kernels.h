// What tests of kernels run them with: on the CPU, thread by thread (kernels_on_cpu.cpp), or on a GPU of this machine
// (tests/gpu/kernels_on_gpu.cpp). A test program is linked with one of the two.
#pragma once

#include "compiler/target/gpu/device.h"
#include "runtime/abi/program.h"
#include "runtime/abi/result.h"

#include "mlir/IR/BuiltinOps.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace qwench::gpu_test {

/// Memory of the host that kernels may access.
struct Range {
  const uint8_t *begin;
  uint64_t bytes;
  bool writable;
};

template <typename T> Range rangeOf(const std::vector<T> &values, bool writable = false) {
  return {reinterpret_cast<const uint8_t *>(values.data()), values.size() * sizeof(T), writable};
}

enum class Entry { Prefill, Decode, Sample };

/// The kernels of a planned module, and the host functions that launch them.
class Kernels {
public:
  virtual ~Kernels() = default;

  /// Runs an entry and waits. All that the step points to lies in `memory`, whose writable ranges then hold the outcome. What
  /// goes wrong, where the kernels run or in them, is an error, and so is an entry that the module does not have.
  virtual Status run(Entry entry, const QwenchStep &step, const std::vector<Range> &memory) = 0;
};

/// Why kernels for `device` cannot run here; empty: they can.
std::string missingFor(const gpu::Device &device);

/// Whether all matrix units add the same products in the same order here, and so give the same bits.
bool sumsKeepTheirOrder();

/// Emits the kernels of a planned module, which is spent. On a GPU they are for that GPU, and of `device` only whether four
/// subgroups multiply together counts.
Result<std::unique_ptr<Kernels>> emitKernels(mlir::ModuleOp planned, const gpu::Device &device, gpu::Schedule schedule);

/// Blocks for that many tiles, fewer where there are several: blocks take several then.
inline int64_t blocksFor(int64_t tiles) { return tiles > 3 ? tiles - tiles / 3 : tiles; }

} // namespace qwench::gpu_test
