// join-dispatch
// Assumes: fused stage, routers split. Guarantees: no qwen.dispatch reads what a qwen.router chose for it alone, where the target
// chooses and sorts in one tile: few rows are little work, and one launch less.
//   %w, %e = qwen.router(%l)     =>   %w, %o, %i = qwen.router_dispatch(%l)
//   %o, %i = qwen.dispatch(%e)
#include "passes/Passes.h"
#include "passes/plan/plan.h"

#include "mlir/IR/Builders.h"
#include "mlir/Pass/Pass.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::qwen;

/// `sort` is all that reads the router's experts.
static void join(RouterOp router, DispatchOp sort) {
  OpBuilder builder(router);
  Type types[] = {router.getResults()[0].getType(), sort.getResults()[0].getType(), sort.getResults()[1].getType()};
  auto joined = RouterDispatchOp::create(builder, router.getLoc(), types, router.getLogits(), router.getTopKAttr(),
                                         router.getNormalizeAttr(), ValueRange{}, DenseI64ArrayAttr());
  sort.replaceAllUsesWith(joined.getResults().drop_front());
  router.getResults()[0].replaceAllUsesWith(joined.getResults()[0]);
  sort.erase();
  router.erase();
}

void qwench::joinDispatch(ModuleOp module, const TargetProperties &properties, int64_t rowBound) {
  if (!properties.dispatchInRouter)
    return;
  module.walk([&](DispatchOp sort) {
    auto router = sort.getExperts().getDefiningOp<RouterOp>();
    if (router && sort.getExperts().hasOneUse() && properties.dispatchInRouter(rowBound, router.getTopK()))
      join(router, sort);
  });
}

namespace qwench {
#define GEN_PASS_DEF_JOINDISPATCH
#include "passes/Passes.h.inc"

namespace {

/// For every entry; planning asks the target for each.
struct JoinDispatch : impl::JoinDispatchBase<JoinDispatch> {
  void runOnOperation() override {
    TargetProperties properties;
    properties.dispatchInRouter = [](int64_t, int64_t) { return true; };
    joinDispatch(getOperation(), properties, 0);
  }
};

} // namespace
} // namespace qwench
