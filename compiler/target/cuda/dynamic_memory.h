// Workgroup memory whose size a launch asks for.
#pragma once

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace qwench::cuda {

/// Of itself a kernel has at most 48 KiB of workgroup memory. In lowered kernels that have more, all variables become parts of
/// one of unknown size; what is to be asked for is recorded (gpu/emit/images.h).
void useDynamicMemory(mlir::gpu::GPUModuleOp kernels);

} // namespace qwench::cuda
