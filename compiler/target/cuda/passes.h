// Passes of the CUDA backend.
#pragma once

#include "mlir/Pass/Pass.h"

#include <memory>

namespace qwench::cuda {

/// On a gpu.module: kernels to LLVM and NVVM.
std::unique_ptr<mlir::Pass> createLowerKernelsPass();

} // namespace qwench::cuda
