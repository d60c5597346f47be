// The totals that a planned module carries.
#pragma once

#include "passes/plan/target_properties.h"

namespace qwench {

/// Sets `qwen.plan` and `qwen.program` on the module from its fused @forward and its planned weights.
void setTotals(mlir::ModuleOp module, mlir::func::FuncOp forward, const TargetProperties &properties,
               const ProgramOptions &program, int64_t arenaBytes);

} // namespace qwench
