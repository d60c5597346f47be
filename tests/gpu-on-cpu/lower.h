// Kernels of the gpu dialect as functions of the CPU, for block.h to run.
#pragma once

#include "runtime/abi/result.h"
#include "tests/gpu-on-cpu/block.h"

#include "mlir/IR/BuiltinOps.h"

namespace qwench::gpu_on_cpu {

/// Lowers a module with scheduled kernels (gpu::addSchedulePasses) to the LLVM dialect: the gpu.func of its one
/// gpu.module become functions with the signature of Kernel that report every access to memory; host functions keep
/// theirs. Returns the kernels' shapes in the order of their numbers. Whatever the CPU has no answer to is an error.
Result<std::vector<LaunchShape>> lower(mlir::ModuleOp module, int64_t subgroupSize);

} // namespace qwench::gpu_on_cpu
