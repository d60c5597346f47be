// fuse-grouped-swiglu: the experts' gate and up in one grouped projection, SiLU * mul in its epilogue.
//
// Does: replaces a swiglu of two grouped linear maps over the same segments of one input by a single one with
//   the activation swiglu, whose weight [E, 2 I, H] has gate and up as parts. Declines when somebody else
//   reads gate or up.
// Assumes: decompose-experts ran; value semantics.
// Guarantees: of each expert's outputs the first half is gate, the second up.
//
//   %g = qwen.grouped_linear(%x, %wg, %offsets, %pairs)
//   %u = qwen.grouped_linear(%x, %wu, %offsets, %pairs)
//   %a = qwen.swiglu(%g, %u)
// =>
//   %a = qwen.grouped_linear(%x, %wgu, %offsets, %pairs) {swiglu}       // @gate_up_proj parts [@gate, @up]
#include "passes/fuse/Fusion.h"
#include "passes/fuse/WeightParts.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench {
#define GEN_PASS_DEF_FUSEGROUPEDSWIGLU
#include "passes/Passes.h.inc"

namespace {

/// Whether two grouped maps see the same rows in the same segments.
bool sameSegments(GroupedLinearOp a, GroupedLinearOp b) {
  return a.getInput() == b.getInput() && a.getOffsets() == b.getOffsets() && a.getPairs() == b.getPairs() &&
         a.getTopK() == b.getTopK() && a.getGather() == b.getGather();
}

struct FuseGateUp : OpRewritePattern<SwigluOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(SwigluOp op, PatternRewriter &rewriter) const override {
    if (op.hasBufferSemantics())
      return rewriter.notifyMatchFailure(op, "works on buffers");
    auto gate = tensorProducer<GroupedLinearOp>(op.getGate()),
         up = tensorProducer<GroupedLinearOp>(op.getUp());
    if (!gate || !up || gate == up || !sameSegments(gate, up))
      return rewriter.notifyMatchFailure(op,
                                         "gate and up are not two grouped linear maps of the same segments");
    if (gate.getActivation() != Activation::None || up.getActivation() != Activation::None || gate.getNorm() || up.getNorm())
      return rewriter.notifyMatchFailure(op, "gate or up has an activation or a norm already");
    if (!gate->hasOneUse() || !up->hasOneUse())
      return rewriter.notifyMatchFailure(op, "gate or up has other users");
    SmallVector<Value, 2> weights{gate.getWeight(), up.getWeight()};
    if (StringRef reason = cannotConcatenate(weights); !reason.empty())
      return rewriter.notifyMatchFailure(op, reason);

    Location loc = rewriter.getFusedLoc({gate.getLoc(), up.getLoc(), op.getLoc()});
    Value weight = concatenate(rewriter, loc, weights, siblingName(weights.front(), "gate_up_proj"));
    rewriter.replaceOpWithNewOp<GroupedLinearOp>(op, op->getResultTypes(), gate.getInput(), weight,
                                                 gate.getOffsets(), gate.getPairs(), Value(), gate.getTopK(),
                                                 gate.getGather(), Activation::Swiglu, ValueRange(), nullptr, nullptr);
    return success();
  }
};

struct FuseGroupedSwiglu : impl::FuseGroupedSwigluBase<FuseGroupedSwiglu> {
  void runOnOperation() override {
    if (failed(applyFusion<FuseGateUp>(getOperation())))
      signalPassFailure();
  }
};

} // namespace
} // namespace qwench
