// fuse-residual: the residual's sum, in the epilogue of what is added to it.
//
// Does: makes one side of an add the residual operand of the linear map or combine that makes the other side,
//   if only the add reads it. The right side is tried first: the import puts the residual on the left.
// Assumes: value semantics. Runs behind the other fusions.
// Guarantees: the residual is added last, as before.
//
//   %o = qwen.linear(%a, %w)
//   %y = qwen.add(%x, %o)
// =>
//   %y = qwen.fused_linear(%a, %w) residual(%x)
#include "passes/fuse/Fusion.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench {
#define GEN_PASS_DEF_FUSERESIDUAL
#include "passes/Passes.h.inc"

namespace {

/// `producer` again, at the insertion point, with `residual` added; null if it cannot.
Operation *withResidual(PatternRewriter &rewriter, Location loc, Operation *producer, Value residual) {
  TypeRange types = producer->getResultTypes();
  if (auto linear = dyn_cast<LinearOp>(producer))
    return FusedLinearOp::create(rewriter, loc, types, linear.getInput(), linear.getWeight(),
                                 linear.getBias(), Value(), residual, ValueRange(), FloatAttr(),
                                 Activation::None, nullptr);
  if (auto linear = dyn_cast<FusedLinearOp>(producer); linear && !linear.getResidual())
    return FusedLinearOp::create(rewriter, loc, types, linear.getInput(), linear.getWeight(),
                                 linear.getBias(), linear.getNorm(), residual, ValueRange(),
                                 linear.getEpsAttr(), linear.getActivation(), nullptr);
  if (auto combine = dyn_cast<CombineOp>(producer); combine && !combine.getResidual())
    return CombineOp::create(rewriter, loc, types, combine.getInput(), combine.getWeights(),
                             combine.getOffsets(), combine.getPairs(), residual, ValueRange(), nullptr);
  if (auto combine = dyn_cast<GroupedLinearCombineOp>(producer); combine && !combine.getResidual())
    return GroupedLinearCombineOp::create(rewriter, loc, types, combine.getInput(), combine.getWeight(),
                                          combine.getWeights(), combine.getOffsets(), combine.getPairs(),
                                          residual, ValueRange(), nullptr);
  return nullptr;
}

struct FuseAdd : OpRewritePattern<AddOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AddOp op, PatternRewriter &rewriter) const override {
    if (op.hasBufferSemantics())
      return rewriter.notifyMatchFailure(op, "works on buffers");
    if (op.getLhs().getType() != op.getRhs().getType())
      return rewriter.notifyMatchFailure(op, "the sides have different types");
    for (auto [summand, residual] :
         {std::pair(op.getRhs(), op.getLhs()), std::pair(op.getLhs(), op.getRhs())}) {
      Operation *producer = summand.getDefiningOp();
      if (!producer || !producer->hasOneUse() || summand.getType() != op.getResultTypes().front())
        continue;
      Location loc = rewriter.getFusedLoc({producer->getLoc(), op.getLoc()});
      if (Operation *fused = withResidual(rewriter, loc, producer, residual)) {
        rewriter.replaceOp(op, fused);
        return success();
      }
    }
    return rewriter.notifyMatchFailure(op, "neither side is a linear map or combine that only the add reads");
  }
};

struct FuseResidual : impl::FuseResidualBase<FuseResidual> {
  void runOnOperation() override {
    if (failed(applyFusion<FuseAdd>(getOperation())))
      signalPassFailure();
  }
};

} // namespace
} // namespace qwench
