// check-fused: what the fused stage promises.
//
// Does: fails unless every op is of the list below (qwen.experts is not), every value a tensor (or index,
//   batch, cache), and every weight is read or a part of one that is.
// Assumes: the module verifies.
// Guarantees: what passes is what planning may be given, whichever fusions ran; it changes nothing.
#include "passes/check/Check.h"

#include "llvm/ADT/DenseSet.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench {
#define GEN_PASS_DEF_CHECKFUSED
#include "passes/Passes.h.inc"

namespace {

constexpr llvm::StringLiteral fusedOps[] = {
    "func.func", "func.return", "arith.constant", "tensor.extract_slice", "qwen.weight", "qwen.rotary",
    "qwen.param", "qwen.layers", "qwen.batch_size",
    // Of the model stage.
    "qwen.embedding", "qwen.rope_table", "qwen.rms_norm", "qwen.linear", "qwen.split_heads",
    "qwen.merge_heads", "qwen.rope", "qwen.cache_write", "qwen.attention", "qwen.swiglu", "qwen.add",
    "qwen.router", "qwen.output_rows",
    // Made by fusion.
    "qwen.fused_linear", "qwen.qk_norm_rope_cache", "qwen.fused_router", "qwen.dispatch",
    "qwen.grouped_linear", "qwen.combine", "qwen.grouped_linear_combine"};

struct CheckFused : impl::CheckFusedBase<CheckFused> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (failed(checkTensorOps(module, "fused", fusedOps)))
      signalPassFailure();
    llvm::DenseSet<StringAttr> named;
    module.walk([&](ParamOp param) { named.insert(param.getWeightAttr().getAttr()); });
    for (auto weight : module.getOps<WeightOp>())
      if (auto parts = weight.getPartsAttr())
        checkParts(module, weight, parts, named);
    for (auto weight : module.getOps<WeightOp>())
      if (!named.contains(weight.getSymNameAttr())) {
        weight.emitError("expected a weight that a param or parts name");
        signalPassFailure();
      }
  }

  void checkParts(ModuleOp module, WeightOp weight, ArrayAttr parts, llvm::DenseSet<StringAttr> &named) {
    for (auto part : parts.getAsRange<FlatSymbolRefAttr>()) {
      named.insert(part.getAttr());
      auto target = module.lookupSymbol<WeightOp>(part.getAttr());
      if (target && target.getInstances() == weight.getInstances() &&
          target.getLayers() == weight.getLayers())
        continue;
      weight.emitError() << "expected part " << part << " to name a weight of the same layers";
      signalPassFailure();
    }
  }
};

} // namespace
} // namespace qwench
