// split-attention
// Assumes: fused stage. Guarantees: the keys of an attention are cut into as many runs as the target wants for the entry
// point that is planned next, so that a long context of few heads keeps all threads busy.
//   %y = qwen.attention(%q, ...) over %cache   =>   %v, %s = qwen.attention(%q, ...) over %cache {splits = 16, split_keys = 64}
//                                                   %y = qwen.attention_combine(%v, %s)
#include "passes/Passes.h"
#include "passes/plan/plan.h"

#include "mlir/IR/Builders.h"
#include "mlir/Pass/Pass.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::qwen;

static void split(AttentionOp op, const AttentionSplit &how) {
  OpBuilder builder(op);
  auto query = cast<RankedTensorType>(op.getQuery().getType());
  int64_t rows = query.getDimSize(0), heads = query.getDimSize(1), dim = query.getDimSize(2);
  auto type = [&](int64_t last) {
    return RankedTensorType::get({rows, how.splits, heads, last}, builder.getF32Type());
  };
  auto runs = AttentionOp::create(builder, op.getLoc(), TypeRange{type(dim), type(2)}, op.getQuery(), op.getCache(),
                                  op.getLayer(), op.getBatch(), op.getScaleAttr(), op.getWindowAttr(),
                                  builder.getI64IntegerAttr(how.splits), builder.getI64IntegerAttr(how.keys),
                                  ValueRange{}, DenseI64ArrayAttr());
  auto whole = AttentionCombineOp::create(builder, op.getLoc(), op.getResultTypes(), runs.getResults()[0],
                                          runs.getResults()[1], ValueRange{}, DenseI64ArrayAttr());
  op.replaceAllUsesWith(whole);
  op.erase();
}

void qwench::splitAttention(ModuleOp module, const TargetProperties &properties, int64_t rowBound, int64_t maxContext) {
  if (!properties.attentionSplit)
    return;
  module.walk([&](AttentionOp op) {
    if (op.hasBufferSemantics() || op.getSplits())
      return;
    AttentionSplit how = properties.attentionSplit(op, rowBound, maxContext);
    if (how.splits > 1)
      split(op, how);
  });
}

namespace qwench {
#define GEN_PASS_DEF_SPLITATTENTION
#include "passes/Passes.h.inc"

namespace {

/// With numbers from the command line; planning asks the target for them.
struct SplitAttention : impl::SplitAttentionBase<SplitAttention> {
  using SplitAttentionBase::SplitAttentionBase;

  void runOnOperation() override {
    TargetProperties properties;
    properties.attentionSplit = [&](AttentionOp, int64_t, int64_t) { return AttentionSplit{splits, keys}; };
    splitAttention(getOperation(), properties, 0, 0);
  }
};

} // namespace
} // namespace qwench
