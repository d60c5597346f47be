// split-combine
// Assumes: fused stage. Guarantees: no qwen.grouped_linear_combine, where the target computes the products of all pairs of
// row and expert first: products of many rows then are those of one expert at a time, whatever row they belong to.
//   %y = qwen.grouped_linear_combine(%x, %w, %p, %o, %i)   =>   %z = qwen.grouped_linear(%x, %w, %o, %i)
//                                                             %y = qwen.combine(%z, %p, %o, %i)
#include "passes/Passes.h"
#include "passes/plan/plan.h"

#include "mlir/IR/Builders.h"
#include "mlir/Pass/Pass.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::qwen;

static void split(GroupedLinearCombineOp op) {
  OpBuilder builder(op);
  auto input = cast<RankedTensorType>(op.getInput().getType());
  auto result = cast<RankedTensorType>(op.getResults()[0].getType());
  int64_t k = cast<ShapedType>(op.getWeights().getType()).getDimSize(1);
  auto pairs = RankedTensorType::get({input.getDimSize(0), result.getDimSize(1)}, result.getElementType());
  auto products = GroupedLinearOp::create(builder, op.getLoc(), TypeRange{pairs}, op.getInput(), op.getWeight(),
                                          op.getOffsets(), op.getPairs(), Value(), builder.getI64IntegerAttr(k), UnitAttr(),
                                          ActivationAttr::get(op.getContext(), Activation::None), ValueRange{}, FloatAttr(),
                                          DenseI64ArrayAttr());
  auto whole = CombineOp::create(builder, op.getLoc(), op.getResultTypes(), products.getResults()[0], op.getWeights(),
                                 op.getOffsets(), op.getPairs(), op.getResidual(), ValueRange{}, DenseI64ArrayAttr());
  op.replaceAllUsesWith(whole);
  op.erase();
}

void qwench::splitCombine(ModuleOp module, const TargetProperties &properties, int64_t rowBound) {
  if (properties.combineApart && properties.combineApart(rowBound))
    module.walk([](GroupedLinearCombineOp op) { split(op); });
}

namespace qwench {
#define GEN_PASS_DEF_SPLITCOMBINE
#include "passes/Passes.h.inc"

namespace {

/// For every entry; planning asks the target for each.
struct SplitCombine : impl::SplitCombineBase<SplitCombine> {
  void runOnOperation() override {
    TargetProperties properties;
    properties.combineApart = [](int64_t) { return true; };
    splitCombine(getOperation(), properties, 0);
  }
};

} // namespace
} // namespace qwench
