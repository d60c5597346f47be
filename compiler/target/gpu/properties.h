// What planning asks of the GPU backends, and what their kernels cannot do. One answer for all architectures of an
// executable: they share its weights, its arena and its tile counts.
#pragma once

#include "passes/plan/target_properties.h"
#include "runtime/abi/result.h"

namespace qwench::gpu {

/// Layouts, element types and tile sizes of the shared kernels.
TargetProperties properties(bool swizzledWeights = false);

/// An error that says what of a fused program the shared kernels cannot do; success otherwise.
Status supports(mlir::ModuleOp fused, llvm::StringRef target);

} // namespace qwench::gpu
