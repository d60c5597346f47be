// Device code in an executable: QwenchDeviceProgram of runtime/abi/program.h and its images.
#pragma once

#include "runtime/abi/program.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/BuiltinOps.h"

#include <string>
#include <vector>

namespace qwench::gpu {

/// Symbol of the QwenchDeviceProgram: declared in the lowered stage, defined when its images have been made.
inline constexpr llvm::StringLiteral kDeviceProgram = "qwench_device_program";

struct Kernel {
  std::string name;
  int64_t threads = 0; ///< of a block
  bool cooperative = false; ///< its blocks meet
  int64_t dynamicBytes = 0; ///< workgroup memory that its launch asks for
  bool dependent = false;   ///< it waits for the launches before it itself
};

/// Remembers the kernels of a module, which must know their block sizes, for the time after their lowering.
mlir::LogicalResult recordKernels(mlir::gpu::GPUModuleOp module);
/// Remembers that launches of a recorded kernel ask for workgroup memory.
void recordDynamicMemory(mlir::gpu::GPUModuleOp module, llvm::StringRef kernel, int64_t bytes);
/// The kernels that were recorded, in the order of their numbers.
std::vector<Kernel> recordedKernels(mlir::gpu::GPUModuleOp module);

struct Image {
  std::string arch;
  QwenchImageKind kind;
  std::string bytes;
  std::vector<Kernel> kernels;
};

/// Declares the device program, so that `qwench_program` can point to it.
void declareDeviceProgram(mlir::ModuleOp module);
/// Defines it. All images have the same kernels in the same order.
void defineDeviceProgram(mlir::ModuleOp module, llvm::StringRef api, llvm::ArrayRef<Image> images);

} // namespace qwench::gpu
