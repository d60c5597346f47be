// split-router
// Assumes: fused stage. Guarantees: no qwen.fused_router, where the target projects to experts' logits as it computes any linear map:
// a row has more products there than one tile should have.
//   %w, %e = qwen.fused_router(%x, %wr)   =>   %l = qwen.linear(%x, %wr)
//                                              %w, %e = qwen.router(%l)
#include "passes/Passes.h"
#include "passes/plan/plan.h"

#include "mlir/IR/Builders.h"
#include "mlir/Pass/Pass.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::qwen;

static void split(FusedRouterOp op) {
  OpBuilder builder(op);
  int64_t rows = cast<ShapedType>(op.getInput().getType()).getDimSize(0);
  int64_t experts = cast<ShapedType>(op.getWeight().getType()).getDimSize(0);
  auto logits = RankedTensorType::get({rows, experts}, builder.getF32Type());
  auto linear = LinearOp::create(builder, op.getLoc(), TypeRange{logits}, op.getInput(), op.getWeight(), Value(), ValueRange{},
                                 DenseI64ArrayAttr());
  auto router = RouterOp::create(builder, op.getLoc(), op.getResultTypes(), linear.getResults()[0], op.getTopKAttr(),
                                 op.getNormalizeAttr(), ValueRange{}, DenseI64ArrayAttr());
  op.replaceAllUsesWith(router);
  op.erase();
}

void qwench::splitRouter(ModuleOp module, const TargetProperties &properties) {
  if (properties.routerApart)
    module.walk([](FusedRouterOp op) { split(op); });
}

namespace qwench {
#define GEN_PASS_DEF_SPLITROUTER
#include "passes/Passes.h.inc"

namespace {

/// For every entry; planning asks the target.
struct SplitRouter : impl::SplitRouterBase<SplitRouter> {
  void runOnOperation() override {
    TargetProperties properties;
    properties.routerApart = true;
    splitRouter(getOperation(), properties);
  }
};

} // namespace
} // namespace qwench
