// fuse-norm: the norm in front of a linear map, while it loads its input.
//
// Does: makes an rms_norm that only one linear map reads the norm operand of that map. With several readers
//   it declines: then the norm is computed once, not once for each.
// Assumes: value semantics. Runs behind the fusions that make one map of several.
// Guarantees: a norm that is left as an op has another reader, or several.
//
//   %h = qwen.rms_norm(%x, %n) {eps}
//   %y = qwen.linear(%h, %w)
// =>
//   %y = qwen.fused_linear(%x, %w) norm(%n) {eps}
#include "passes/fuse/Fusion.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench {
#define GEN_PASS_DEF_FUSENORM
#include "passes/Passes.h.inc"

namespace {

struct FuseIntoReader : OpRewritePattern<RmsNormOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(RmsNormOp op, PatternRewriter &rewriter) const override {
    if (op.hasBufferSemantics())
      return rewriter.notifyMatchFailure(op, "works on buffers");
    if (!op->hasOneUse())
      return rewriter.notifyMatchFailure(op, "the norm has not exactly one reader");
    Operation *reader = *op->user_begin();
    Value result = op.getResults().front();
    Location loc = rewriter.getFusedLoc({op.getLoc(), reader->getLoc()});
    rewriter.setInsertionPoint(reader);
    if (auto linear = dyn_cast<LinearOp>(reader); linear && linear.getInput() == result) {
      auto fused = FusedLinearOp::create(rewriter, loc, linear->getResultTypes(), op.getInput(),
                                         linear.getWeight(), linear.getBias(), op.getWeight(), Value(),
                                         ValueRange(), op.getEpsAttr(), Activation::None, nullptr);
      rewriter.replaceOp(linear, fused);
      return success();
    }
    auto linear = dyn_cast<FusedLinearOp>(reader);
    if (!linear || linear.getInput() != result)
      return rewriter.notifyMatchFailure(op, "the reader is not a linear map of it");
    if (linear.getNorm())
      return rewriter.notifyMatchFailure(op, "the linear map has a norm already");
    auto fused = FusedLinearOp::create(
        rewriter, loc, linear->getResultTypes(), op.getInput(), linear.getWeight(), linear.getBias(),
        op.getWeight(), linear.getResidual(), ValueRange(), op.getEpsAttr(), linear.getActivation(), nullptr);
    rewriter.replaceOp(linear, fused);
    return success();
  }
};

struct FuseNorm : impl::FuseNormBase<FuseNorm> {
  void runOnOperation() override {
    if (failed(applyFusion<FuseIntoReader>(getOperation())))
      signalPassFailure();
  }
};

} // namespace
} // namespace qwench
