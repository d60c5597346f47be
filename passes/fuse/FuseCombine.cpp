// fuse-combine: routing weights and the sum into rows, in the epilogue of the experts' down projection.
//
// Does: replaces a combine and the grouped linear map that only it reads by one op.
// Assumes: decompose-experts ran; value semantics.
// Guarantees: a row's sum stays in ascending order of expert.
//
//   %d = qwen.grouped_linear(%a, %wd, %offsets, %pairs)
//   %y = qwen.combine(%d, %w, %offsets, %pairs)
// =>
//   %y = qwen.grouped_linear_combine(%a, %wd, %w, %offsets, %pairs)
#include "passes/fuse/Fusion.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench {
#define GEN_PASS_DEF_FUSECOMBINE
#include "passes/Passes.h.inc"

namespace {

struct FuseDown : OpRewritePattern<CombineOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(CombineOp op, PatternRewriter &rewriter) const override {
    if (op.hasBufferSemantics())
      return rewriter.notifyMatchFailure(op, "works on buffers");
    auto down = tensorProducer<GroupedLinearOp>(op.getInput());
    if (!down)
      return rewriter.notifyMatchFailure(op, "the input is not a grouped linear map");
    if (down.getGather() || down.getActivation() != Activation::None || down.getNorm())
      return rewriter.notifyMatchFailure(op, "the grouped linear map gathers rows or has an activation or a norm");
    if (down.getOffsets() != op.getOffsets() || down.getPairs() != op.getPairs())
      return rewriter.notifyMatchFailure(op, "the grouped linear map has other segments");
    if (!down->hasOneUse())
      return rewriter.notifyMatchFailure(op, "the grouped linear map has other users");
    rewriter.replaceOpWithNewOp<GroupedLinearCombineOp>(
        op, op->getResultTypes(), down.getInput(), down.getWeight(), op.getWeights(), op.getOffsets(),
        op.getPairs(), op.getResidual(), ValueRange(), nullptr);
    return success();
  }
};

struct FuseCombine : impl::FuseCombineBase<FuseCombine> {
  void runOnOperation() override {
    if (failed(applyFusion<FuseDown>(getOperation())))
      signalPassFailure();
  }
};

} // namespace
} // namespace qwench
