// spread-norm
// Assumes: fused stage, norms and routers split. Guarantees: no norm of whole rows is an op where several linear maps, and nobody
// else, read it and the target computes norms within tiles: each of them does. (A norm of one reader is fuse-norm's.)
//   %n = qwen.rms_norm(%x, %g)                   =>   %l = qwen.fused_linear(%x, %wr) norm(%g)
//   %l = qwen.linear(%n, %wr)                         %y = qwen.grouped_linear(%x, %w, %o, %i) norm(%g) {gather}
//   %y = qwen.grouped_linear(%n, %w, %o, %i) {gather}
#include "passes/Passes.h"
#include "passes/plan/plan.h"

#include "mlir/IR/Builders.h"
#include "mlir/Pass/Pass.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::qwen;

/// Whether the reader can compute a norm of what it reads here.
static bool takesNorm(OpOperand &use) {
  if (use.getOperandNumber() != 0)
    return false;
  if (auto linear = dyn_cast<FusedLinearOp>(use.getOwner())) // see splitNorm() for residuals
    return !linear.getNorm() && !linear.getResidual();
  auto grouped = dyn_cast<GroupedLinearOp>(use.getOwner());
  return isa<LinearOp>(use.getOwner()) || (grouped && !grouped.getNorm());
}

template <typename Op> static void computeWithin(Op map, RmsNormOp norm) {
  map.getInputMutable().assign(norm.getInput());
  map.getNormMutable().assign(norm.getWeight());
  map.setEpsAttr(norm.getEpsAttr());
}

static void computeWithin(LinearOp map, RmsNormOp norm) {
  OpBuilder builder(map);
  auto fused = FusedLinearOp::create(builder, map.getLoc(), map.getResultTypes(), norm.getInput(), map.getWeight(),
                                     map.getBias(), norm.getWeight(), Value(), ValueRange(), norm.getEpsAttr(),
                                     Activation::None, nullptr);
  map.replaceAllUsesWith(fused);
  map.erase();
}

static void spread(RmsNormOp norm) {
  for (Operation *reader : llvm::make_early_inc_range(norm->getUsers()))
    llvm::TypeSwitch<Operation *>(reader).Case<LinearOp, FusedLinearOp, GroupedLinearOp>(
        [&](auto map) { computeWithin(map, norm); });
  norm.erase();
}

void qwench::spreadNorm(ModuleOp module, const TargetProperties &properties, int64_t rowBound) {
  if (!properties.normInTiles || !properties.normInTiles(rowBound))
    return;
  SmallVector<RmsNormOp> norms;
  module.walk([&](RmsNormOp norm) { norms.push_back(norm); });
  for (RmsNormOp norm : norms) {
    const bool ofRows = cast<ShapedType>(norm.getInput().getType()).getRank() == 2; // and not of heads
    if (ofRows && !norm->use_empty() && !norm->hasOneUse() && llvm::all_of(norm->getUses(), takesNorm))
      spread(norm);
  }
}

namespace qwench {
#define GEN_PASS_DEF_SPREADNORM
#include "passes/Passes.h.inc"

namespace {

/// For every entry; planning asks the target for each.
struct SpreadNorm : impl::SpreadNormBase<SpreadNorm> {
  void runOnOperation() override {
    TargetProperties properties;
    properties.normInTiles = [](int64_t) { return true; };
    spreadNorm(getOperation(), properties, 0);
  }
};

} // namespace
} // namespace qwench
