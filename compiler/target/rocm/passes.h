// Passes of the ROCm backend.
#pragma once

#include "mlir/Pass/Pass.h"

#include <memory>

namespace qwench::rocm {

/// On a gpu.module named after its architecture: kernels to LLVM and ROCDL.
std::unique_ptr<mlir::Pass> createLowerKernelsPass();

} // namespace qwench::rocm
