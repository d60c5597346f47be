// prune-weights: drops weights that nothing reads.
//
// Does: removes every qwen.weight that neither a qwen.param names nor, through `parts`, a weight that stays.
// Assumes: nothing but qwen.param and `parts` refers to weights.
// Guarantees: every weight left is read, or is a part of one that is read.
//
//   qwen.weight @q ... source "..."                  qwen.weight @q ... source "..."
//   qwen.weight @qkv ... parts [@q, ...]        =>   qwen.weight @qkv ... parts [@q, ...]
//   qwen.weight @unused ... source "..."
//   qwen.param @qkv[...]                             qwen.param @qkv[...]
#include "passes/Passes.h"

#include "llvm/ADT/DenseSet.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench {
#define GEN_PASS_DEF_PRUNEWEIGHTS
#include "passes/Passes.h.inc"

namespace {

struct PruneWeights : impl::PruneWeightsBase<PruneWeights> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    llvm::DenseSet<Operation *> live;
    SmallVector<WeightOp> worklist;
    auto markLive = [&](StringAttr name) {
      if (auto weight = symbols.lookup<WeightOp>(name); weight && live.insert(weight).second)
        worklist.push_back(weight);
    };
    module.walk([&](ParamOp param) { markLive(param.getWeightAttr().getAttr()); });
    while (!worklist.empty())
      if (auto parts = worklist.pop_back_val().getPartsAttr())
        for (auto part : parts.getAsRange<FlatSymbolRefAttr>())
          markLive(part.getAttr());
    for (WeightOp weight : llvm::make_early_inc_range(module.getOps<WeightOp>()))
      if (!live.contains(weight)) {
        weight.erase();
        ++removed;
      }
  }
};

} // namespace
} // namespace qwench
