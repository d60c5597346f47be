// fuse-swiglu: gate and up in one projection, SiLU * mul in its epilogue.
//
// Does: replaces a swiglu of two linear maps on one input by a fused_linear with the activation swiglu, whose
//   weight has gate and up as parts. Declines when somebody else reads gate or up.
// Assumes: value semantics.
// Guarantees: the first half of the fused weight's outputs is gate, the second up.
//
//   %g = qwen.linear(%h, %wg)
//   %u = qwen.linear(%h, %wu)
//   %a = qwen.swiglu(%g, %u)
// =>
//   %a = qwen.fused_linear(%h, %wgu) {swiglu}       // @gate_up_proj parts [@gate, @up]
#include "passes/fuse/Fusion.h"
#include "passes/fuse/WeightParts.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench {
#define GEN_PASS_DEF_FUSESWIGLU
#include "passes/Passes.h.inc"

namespace {

struct FuseGateUp : OpRewritePattern<SwigluOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(SwigluOp op, PatternRewriter &rewriter) const override {
    if (op.hasBufferSemantics())
      return rewriter.notifyMatchFailure(op, "works on buffers");
    auto gate = tensorProducer<LinearOp>(op.getGate()), up = tensorProducer<LinearOp>(op.getUp());
    if (!gate || !up || gate == up || gate.getInput() != up.getInput())
      return rewriter.notifyMatchFailure(op, "gate and up are not two linear maps of one input");
    if (!gate->hasOneUse() || !up->hasOneUse())
      return rewriter.notifyMatchFailure(op, "gate or up has other users");
    if (!gate.getBias() != !up.getBias())
      return rewriter.notifyMatchFailure(op, "only one of gate and up has a bias");
    SmallVector<Value, 2> weights{gate.getWeight(), up.getWeight()}, biases;
    if (gate.getBias())
      biases = {gate.getBias(), up.getBias()};
    if (StringRef reason = cannotConcatenate(weights); !reason.empty())
      return rewriter.notifyMatchFailure(op, reason);
    if (StringRef reason = biases.empty() ? "" : cannotConcatenate(biases); !reason.empty())
      return rewriter.notifyMatchFailure(op, reason);

    Location loc = rewriter.getFusedLoc({gate.getLoc(), up.getLoc(), op.getLoc()});
    Value weight = concatenate(rewriter, loc, weights, siblingName(weights.front(), "gate_up_proj"));
    Value bias = biases.empty()
                     ? Value()
                     : concatenate(rewriter, loc, biases, siblingName(weights.front(), "gate_up_proj_bias"));
    rewriter.replaceOpWithNewOp<FusedLinearOp>(op, op->getResultTypes(), gate.getInput(), weight, bias,
                                               Value(), Value(), ValueRange(), FloatAttr(),
                                               Activation::Swiglu, nullptr);
    return success();
  }
};

struct FuseSwiglu : impl::FuseSwigluBase<FuseSwiglu> {
  void runOnOperation() override {
    if (failed(applyFusion<FuseGateUp>(getOperation())))
      signalPassFailure();
  }
};

} // namespace
} // namespace qwench
