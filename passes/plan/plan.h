// From the fused to the planned stage: weights get a layout and a place, activations an offset in one arena.
#pragma once

#include "passes/plan/target_properties.h"

#include "mlir/Pass/PassManager.h"

#include <memory>

namespace qwench {

/// Norms in front of linear maps become ops of their own where the target computes them once per row in steps of at most `rowBound`
/// rows. The pass does it where that is so in all steps; plan-buffers where it differs between them.
void splitNorm(mlir::ModuleOp module, const TargetProperties &properties, int64_t rowBound);
std::unique_ptr<mlir::Pass> createSplitNormPass(const TargetProperties &properties);

/// Norms that several linear maps read are computed by each of them where the target computes norms within tiles in steps of at most
/// `rowBound` rows. Routers are split before.
void spreadNorm(mlir::ModuleOp module, const TargetProperties &properties, int64_t rowBound);

/// Attention whose keys the target cuts into runs, in steps of at most `rowBound` rows, becomes attention over runs and a
/// combine, in every function of the module.
void splitAttention(mlir::ModuleOp module, const TargetProperties &properties, int64_t rowBound, int64_t maxContext);

/// Makes the rows that products of integers take: `qwen.quantize` before maps whose target wants quantized activations in
/// steps of at most `rowBound` rows. The pass does it for steps of prefill; plan-buffers adds what decode wants besides.
void quantizeActivations(mlir::ModuleOp module, const TargetProperties &properties, int64_t rowBound);
std::unique_ptr<mlir::Pass> createQuantizeActivationsPass(const TargetProperties &properties);

/// Grouped maps that combine their results become two ops where the target wants it for steps of at most `rowBound` rows.
void splitCombine(mlir::ModuleOp module, const TargetProperties &properties, int64_t rowBound);

/// Routers with their projection become two ops where the target wants it.
void splitRouter(mlir::ModuleOp module, const TargetProperties &properties);

/// A router and the dispatch of what it chose become one op where the target wants it for steps of at most `rowBound` rows.
void joinDispatch(mlir::ModuleOp module, const TargetProperties &properties, int64_t rowBound);

/// Gives every live weight the layout its target prefers, an offset and a stride in the weight section.
std::unique_ptr<mlir::Pass> createPlanWeightsPass(const TargetProperties &properties);

/// Turns @forward into the entry points @prefill and @decode, with buffers in place of tensors and a tile size on each
/// op; sets `qwen.plan`, `qwen.program` and `qwen.plan_hash` on the module.
std::unique_ptr<mlir::Pass> createPlanBuffersPass(const TargetProperties &properties, const ProgramOptions &program);

/// All of planning. The module holds the fused stage before and the planned stage after.
void buildPlanPipeline(mlir::OpPassManager &passes, const TargetProperties &properties, const ProgramOptions &program);

} // namespace qwench
