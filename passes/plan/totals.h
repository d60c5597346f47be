// The totals that a planned module carries.
#pragma once

#include "passes/plan/target_properties.h"

namespace qwench {

/// What one row reads of the weights and computes in one call of a function, fused or planned.
struct Work {
  int64_t bytes = 0; ///< of the weights that it uses, without what layouts pad and without an embedding's table
  int64_t flops = 0; ///< of products with weights
  int64_t attentionFlops = 0; ///< for each pair of query and key
  mlir::Type matrix;          ///< element type of the weights
};
Work workOf(mlir::func::FuncOp function);

/// Bytes of a weight without what layouts pad.
int64_t bytesOf(mlir::RankedTensorType weight);

/// Sets `qwen.plan` and `qwen.program` on the module from its fused @forward and its planned weights.
void setTotals(mlir::ModuleOp module, mlir::func::FuncOp forward, const TargetProperties &properties,
               const ProgramOptions &program, int64_t arenaBytes);

} // namespace qwench
