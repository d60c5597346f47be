// split-norm
// Assumes: fused stage. Guarantees: no linear map, of a row's experts or of all rows, has a norm, unless the target computes
// norms within tiles in some steps.
//   %y = qwen.fused_linear(%x, %w) norm(%g)   =>   %n = qwen.rms_norm(%x, %g)
//                                                  %y = qwen.fused_linear(%n, %w)
#include "passes/plan/plan.h"

#include "mlir/IR/Builders.h"
#include "mlir/Pass/Pass.h"

using namespace mlir;
using namespace qwench;

namespace {

template <typename Op> void split(Op op) {
  OpBuilder builder(op);
  auto norm = qwen::RmsNormOp::create(builder, op.getLoc(), TypeRange{op.getInput().getType()}, op.getInput(), op.getNorm(),
                                      op.getEpsAttr(), ValueRange{}, DenseI64ArrayAttr());
  op.getInputMutable().assign(norm.getResults()[0]);
  op.getNormMutable().clear();
  op.removeEpsAttr();
}

struct SplitNorm : PassWrapper<SplitNorm, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(SplitNorm)

  explicit SplitNorm(const TargetProperties &properties) : properties(properties) {}
  StringRef getArgument() const final { return "split-norm"; }
  StringRef getDescription() const final { return "norms before linear maps become ops of their own"; }

  void runOnOperation() override {
    if (!properties.normInTiles)
      splitNorm(getOperation(), properties, properties.decodeRows);
  }

  TargetProperties properties;
};

} // namespace

void qwench::splitNorm(ModuleOp module, const TargetProperties &properties, int64_t rowBound) {
  const bool inTiles = properties.normInTiles && properties.normInTiles(rowBound);
  module.walk([&](Operation *op) {
    // A map whose result takes its input's place cannot read that again and again.
    if (auto linear = dyn_cast<qwen::FusedLinearOp>(op); linear && linear.getNorm() && (!inTiles || linear.getResidual()))
      split(linear);
    else if (auto grouped = dyn_cast<qwen::GroupedLinearOp>(op); grouped && grouped.getNorm() && !inTiles)
      split(grouped);
  });
}

std::unique_ptr<Pass> qwench::createSplitNormPass(const TargetProperties &properties) {
  return std::make_unique<SplitNorm>(properties);
}
