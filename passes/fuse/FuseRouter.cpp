// fuse-router: projection, softmax, top-k and renormalisation in one op.
//
// Does: replaces a router and the linear map that only it reads by one op.
// Assumes: value semantics.
// Guarantees: the logits of the experts are never stored.
//
//   %l = qwen.linear(%h, %wr)
//   %w, %e = qwen.router(%l) {top_k, normalize}
// =>
//   %w, %e = qwen.fused_router(%h, %wr) {top_k, normalize}
#include "passes/fuse/Fusion.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench {
#define GEN_PASS_DEF_FUSEROUTER
#include "passes/Passes.h.inc"

namespace {

struct FuseProjection : OpRewritePattern<RouterOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(RouterOp op, PatternRewriter &rewriter) const override {
    if (op.hasBufferSemantics())
      return rewriter.notifyMatchFailure(op, "works on buffers");
    auto linear = tensorProducer<LinearOp>(op.getLogits());
    if (!linear)
      return rewriter.notifyMatchFailure(op, "the logits are not a linear map");
    if (linear.getBias())
      return rewriter.notifyMatchFailure(op, "the projection has a bias");
    if (!linear->hasOneUse())
      return rewriter.notifyMatchFailure(op, "the logits have other users");
    rewriter.replaceOpWithNewOp<FusedRouterOp>(op, op->getResultTypes(), linear.getInput(),
                                               linear.getWeight(), op.getTopKAttr(), op.getNormalizeAttr(),
                                               ValueRange(), nullptr);
    return success();
  }
};

struct FuseRouter : impl::FuseRouterBase<FuseRouter> {
  void runOnOperation() override {
    if (failed(applyFusion<FuseProjection>(getOperation())))
      signalPassFailure();
  }
};

} // namespace
} // namespace qwench
