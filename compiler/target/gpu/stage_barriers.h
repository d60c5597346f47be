// Copies to workgroup memory by a unit beside the threads, many pieces each, NVIDIA's cp.async.bulk, and the barriers that tell
// when a stage has received its own: mbarriers, which count bytes. Source: PTX ISA 9.0, "mbarrier", "cp.async.bulk".
#pragma once

#include "compiler/target/gpu/kernel_builder.h"

namespace qwench::gpu {

class StageBarriers {
public:
  using Value = mlir::Value;

  /// `copies` copies, of a thread each, come to a stage before it is awaited.
  StageBarriers(KernelBuilder &b, int64_t stages, int64_t copies);

  /// All threads, before the first copy and after the last stage was awaited. Opening holds a barrier.
  void open(KernelBuilder &b) const;
  void close(KernelBuilder &b) const;
  /// Begins a copy of `bytes` bytes, a multiple of 16, from element `from` to element `to`, both aligned to 16.
  void copy(KernelBuilder &b, Value stage, Value memory, Value from, Value sharedMemory, Value to, int64_t bytes) const;
  /// Goes on when a stage has what it receives the `round`th time, from 0 on. Products see it then.
  void await(KernelBuilder &b, Value stage, Value round) const;

private:
  Value barrier(KernelBuilder &b, Value stage) const;

  int64_t stages, copies;
  Value memory; ///< [stages] i64, what an mbarrier is
};

} // namespace qwench::gpu
