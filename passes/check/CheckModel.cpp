// check-model: what the model stage promises.
//
// Does: fails unless every op is of the list below, every value a tensor (or index, batch, cache), and every
//   weight comes from a source and has no place yet.
// Assumes: the module verifies.
// Guarantees: what passes is what the import may make; it changes nothing.
#include "passes/check/Check.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench {
#define GEN_PASS_DEF_CHECKMODEL
#include "passes/Passes.h.inc"

namespace {

constexpr llvm::StringLiteral modelOps[] = {
    "func.func",        "func.return",     "arith.constant",   "qwen.weight",      "qwen.rotary",
    "qwen.param",       "qwen.layers",     "qwen.batch_size",  "qwen.embedding",   "qwen.rope_table",
    "qwen.rms_norm",    "qwen.linear",     "qwen.split_heads", "qwen.merge_heads", "qwen.rope",
    "qwen.cache_write", "qwen.attention",  "qwen.swiglu",      "qwen.add",         "qwen.router",
    "qwen.experts",     "qwen.output_rows"};

struct CheckModel : impl::CheckModelBase<CheckModel> {
  void runOnOperation() override {
    if (failed(checkTensorOps(getOperation(), "model", modelOps)))
      signalPassFailure();
    getOperation().walk([&](WeightOp weight) {
      if (weight.getSource() && !weight.getLayout() && !weight.getOffset())
        return;
      weight.emitError() << "expected a source and no layout in the model stage, found "
                         << (weight.getSource() ? "a layout" : "parts");
      signalPassFailure();
    });
  }
};

} // namespace
} // namespace qwench
