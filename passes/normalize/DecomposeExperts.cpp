// decompose-experts: says how the experts of a layer run.
//
// Does: replaces qwen.experts by a counting sort of the (row, expert) pairs, linear maps grouped by expert,
//   and the weighted sum back into the rows. No capacity, no padding, no dropped token.
// Assumes: value semantics.
// Guarantees: no qwen.experts is left.
//
//   %y = qwen.experts(%x, %w, %e, %gate, %up, %down)
// =>
//   %offsets, %pairs = qwen.dispatch(%e)
//   %g = qwen.grouped_linear(%x, %gate, %offsets, %pairs) {gather}
//   %u = qwen.grouped_linear(%x, %up, %offsets, %pairs) {gather}
//   %a = qwen.swiglu(%g, %u)
//   %d = qwen.grouped_linear(%a, %down, %offsets, %pairs)
//   %y = qwen.combine(%d, %w, %offsets, %pairs)
#include "passes/Passes.h"

#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench {
#define GEN_PASS_DEF_DECOMPOSEEXPERTS
#include "passes/Passes.h.inc"

namespace {

/// Number of (row, expert) pairs, if the number of rows is static.
int64_t pairCount(RankedTensorType experts) {
  return experts.isDynamicDim(0) ? ShapedType::kDynamic : experts.getDimSize(0) * experts.getDimSize(1);
}

struct Decompose : OpRewritePattern<ExpertsOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ExpertsOp op, PatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    auto experts = cast<RankedTensorType>(op.getExperts().getType());
    auto gate = cast<RankedTensorType>(op.getGate().getType());
    Type index = rewriter.getI32Type();
    Type real = cast<RankedTensorType>(op.getInput().getType()).getElementType();
    if (experts.getRank() != 2 || experts.isDynamicDim(1) || !gate.hasStaticShape())
      return rewriter.notifyMatchFailure(op, "the number of experts, or of those per row, is dynamic");
    int64_t pairCountOrDynamic = pairCount(experts), topK = experts.getDimSize(1);
    auto offsetsType = RankedTensorType::get({gate.getDimSize(0) + 1}, index);
    auto pairsType = RankedTensorType::get({pairCountOrDynamic}, index);
    auto inner = RankedTensorType::get({pairCountOrDynamic, gate.getDimSize(1)}, real);
    auto outer = RankedTensorType::get({pairCountOrDynamic, gate.getDimSize(2)}, real);

    auto sorted = DispatchOp::create(rewriter, loc, TypeRange{offsetsType, pairsType}, op.getExperts(),
                                     ValueRange(), nullptr);
    Value offsets = sorted.getResults()[0], pairs = sorted.getResults()[1];
    auto grouped = [&](Value input, Value weight, Type type, bool gather) {
      return GroupedLinearOp::create(rewriter, loc, TypeRange{type}, input, weight, offsets, pairs, Value(), topK,
                                     gather, Activation::None, ValueRange(), nullptr, nullptr)
          .getResults()
          .front();
    };
    Value gated = grouped(op.getInput(), op.getGate(), inner, true);
    Value up = grouped(op.getInput(), op.getUp(), inner, true);
    Value active = SwigluOp::create(rewriter, loc, TypeRange{inner}, gated, up, ValueRange(), nullptr)
                       .getResults()
                       .front();
    Value down = grouped(active, op.getDown(), outer, false);
    rewriter.replaceOpWithNewOp<CombineOp>(op, TypeRange{op.getType()}, down, op.getWeights(), offsets, pairs,
                                           Value(), ValueRange(), nullptr);
    return success();
  }
};

struct DecomposeExperts : impl::DecomposeExpertsBase<DecomposeExperts> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<Decompose>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    getOperation().walk([&](ExpertsOp left) {
      left.emitError("expected static numbers of experts, and of experts per row, found ")
          << left.getGate().getType() << " and " << left.getExperts().getType();
      signalPassFailure();
    });
  }
};

} // namespace
} // namespace qwench
