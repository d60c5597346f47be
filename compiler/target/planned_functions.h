// From the planned stage to the kernels stage: what all backends have in common.
#pragma once

#include "compiler/target/step_builder.h"

namespace qwench {

/// Emits the kernel (or kernels) of one planned op under `name`, and their launches with `host`; fails with a diagnostic
/// on an op that has no tile program.
using EmitTileProgram =
    llvm::function_ref<mlir::LogicalResult(StepBuilder &host, mlir::Operation *op, llvm::StringRef name)>;

/// Replaces every planned function by one of (batch, layer, instance) that holds launches, calls, and one loop over the
/// layers; weights and rotary tables, which only kernels knew, are gone.
mlir::LogicalResult convertPlannedFunctions(mlir::ModuleOp module, EmitTileProgram emit);

} // namespace qwench
