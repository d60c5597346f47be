// quantize-activations
// Assumes: fused stage, norms split. Guarantees: a linear map whose target takes quantized activations reads a value of that
// type; maps that take the same type of one value share it, and a norm that only they read makes it itself.
//   %n = qwen.rms_norm(%x, %g) : ... -> tensor<?x64xf32>   =>   %n = qwen.rms_norm(%x, %g) : ... -> tensor<?x64x!qwen.quant<...>>
//   %y = qwen.linear(%n, %w)                                    %y = qwen.linear(%n, %w)
//   %z = qwen.linear(%a, %v)                               =>   %q = qwen.quantize(%a) : ... -> tensor<?x64x!qwen.quant<...>>
//                                                               %z = qwen.linear(%q, %v)
#include "passes/plan/plan.h"
#include "passes/plan/storage.h"

#include "mlir/IR/Builders.h"
#include "mlir/Pass/Pass.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::qwen;

namespace {

class Rewriter {
public:
  Rewriter(const TargetProperties &properties, int64_t rowBound) : properties(properties), rowBound(rowBound) {}

  void run(ModuleOp module) {
    SmallVector<OpOperand *> inputs;
    module.walk([&](Operation *op) {
      if (isa<LinearOp, FusedLinearOp, GroupedLinearOp, GroupedLinearCombineOp>(op))
        inputs.push_back(&op->getOpOperand(0));
    });
    for (OpOperand *input : inputs) {
      auto type = dyn_cast<RankedTensorType>(input->get().getType());
      if (!type || isa<QuantType>(type.getElementType())) // planned already, or quantized already
        continue;
      Type weight = productElement(*input);
      auto wanted = weight ? dyn_cast<QuantType>(properties.matrixInput(weight, rowBound)) : QuantType();
      if (wanted)
        input->set(quantized(input->get(), wanted));
    }
    for (auto &[key, quantize] : made)
      intoNorm(quantize);
  }

private:
  Value quantized(Value value, QuantType element) {
    QuantizeOp &op = made[{value, element}];
    if (!op) {
      OpBuilder builder(value.getContext());
      builder.setInsertionPointAfterValue(value);
      auto type = cast<RankedTensorType>(value.getType()).clone(element);
      op = QuantizeOp::create(builder, value.getLoc(), TypeRange{type}, value, ValueRange{}, DenseI64ArrayAttr());
    }
    return op.getResults()[0];
  }

  /// A norm that only `quantize` reads writes the quantized rows.
  void intoNorm(QuantizeOp quantize) {
    auto norm = quantize.getInput().getDefiningOp<RmsNormOp>();
    if (!norm || !norm->hasOneUse())
      return;
    Value result = norm.getResults()[0];
    result.setType(quantize.getResults()[0].getType());
    quantize.getResults()[0].replaceAllUsesWith(result);
    quantize.erase();
  }

  const TargetProperties &properties;
  int64_t rowBound;
  llvm::MapVector<std::pair<Value, Type>, QuantizeOp> made;
};

struct QuantizeActivations : PassWrapper<QuantizeActivations, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(QuantizeActivations)

  explicit QuantizeActivations(const TargetProperties &properties) : properties(properties) {}
  StringRef getArgument() const final { return "quantize-activations"; }
  StringRef getDescription() const final { return "products of integers get quantized activations"; }
  void runOnOperation() override { quantizeActivations(getOperation(), properties, properties.prefillRows); }

  TargetProperties properties;
};

} // namespace

void qwench::quantizeActivations(ModuleOp module, const TargetProperties &properties, int64_t rowBound) {
  Rewriter(properties, rowBound).run(module);
}

std::unique_ptr<Pass> qwench::createQuantizeActivationsPass(const TargetProperties &properties) {
  return std::make_unique<QuantizeActivations>(properties);
}
