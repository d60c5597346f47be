// plan-weights
// Assumes: fused stage, every weight used through qwen.param. Guarantees: every weight that a param names has a layout,
// an offset and a stride; instances of one layer lie together, in the order in which the layer reads them.
#include "passes/plan/plan.h"

#include "mlir/Pass/Pass.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::qwen;

namespace {

bool isGateAndUp(Operation *user) {
  if (auto linear = dyn_cast<FusedLinearOp>(user))
    return linear.getActivation() == Activation::Swiglu;
  if (auto grouped = dyn_cast<GroupedLinearOp>(user))
    return grouped.getActivation() == Activation::Swiglu;
  return false;
}

struct PlanWeights : PassWrapper<PlanWeights, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(PlanWeights)

  explicit PlanWeights(const TargetProperties &properties) : properties(properties) {}
  StringRef getArgument() const final { return "plan-weights"; }
  StringRef getDescription() const final { return "gives weights a layout and a place"; }

  /// The layout that suits all users of a weight.
  LayoutAttr layoutOf(WeightOp weight, ArrayRef<Operation *> users) {
    auto type = cast<RankedTensorType>(weight.getType());
    if (type.getRank() == 1 || llvm::all_of(users, llvm::IsaPred<EmbeddingOp>))
      return properties.rowsLayout(&getContext());
    return properties.matrixLayout(type.getElementType(), llvm::any_of(users, isGateAndUp));
  }

  static int64_t bytesOf(WeightOp weight) {
    return weight.getLayout()->bytes(cast<RankedTensorType>(weight.getType()));
  }

  /// The params of each function in the order in which its ops read them, wherever they are named.
  SmallVector<ParamOp> paramsInOrderOfUse() {
    SmallVector<ParamOp> params;
    for (auto function : getOperation().getOps<func::FuncOp>())
      for (Operation &op : function.getBody().getOps())
        for (Value operand : op.getOperands())
          if (auto param = operand.getDefiningOp<ParamOp>(); param && !llvm::is_contained(params, param))
            params.push_back(param);
    getOperation().walk([&](ParamOp param) {
      if (param->use_empty())
        params.push_back(param);
    });
    return params;
  }

  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    llvm::MapVector<WeightOp, llvm::SmallVector<Operation *>> users;
    llvm::MapVector<func::FuncOp, llvm::SmallVector<WeightOp>> blocks;
    for (ParamOp param : paramsInOrderOfUse()) {
      auto weight = symbols.lookup<WeightOp>(param.getWeight());
      auto &list = users[weight];
      if (list.empty())
        blocks[param->getParentOfType<func::FuncOp>()].push_back(weight);
      list.append(param->user_begin(), param->user_end());
    }
    for (auto &[weight, list] : users) {
      const bool isVector = cast<RankedTensorType>(weight.getType()).getRank() == 1; // which has no halves
      if (!isVector && llvm::any_of(list, isGateAndUp) && !llvm::all_of(list, isGateAndUp)) {
        weight.emitError() << "expected one layout of " << weight.getSymName() << ", found uses that pair its halves and others";
        return signalPassFailure();
      }
      weight.setLayoutAttr(layoutOf(weight, list));
    }
    int64_t end = 0;
    for (auto &[function, block] : blocks)
      end = place(block, end);
    getOperation()->setAttr("qwen.weight_bytes", Builder(&getContext()).getI64IntegerAttr(end));
  }

  /// Places the weights of one function from `begin` on and returns the end.
  int64_t place(ArrayRef<WeightOp> block, int64_t begin) {
    Builder builder(&getContext());
    llvm::MapVector<int64_t, llvm::SmallVector<WeightOp>> byInstances;
    for (WeightOp weight : block)
      byInstances[weight.getInstances()].push_back(weight);
    for (auto &[instances, weights] : byInstances) {
      int64_t size = 0;
      for (WeightOp weight : weights) {
        weight.setOffsetAttr(builder.getI64IntegerAttr(begin + size));
        size += llvm::alignTo(bytesOf(weight), properties.weightAlignment);
      }
      for (WeightOp weight : weights)
        weight.setStrideAttr(builder.getI64IntegerAttr(size));
      begin += size * instances;
    }
    return begin;
  }

  TargetProperties properties;
};

} // namespace

std::unique_ptr<Pass> qwench::createPlanWeightsPass(const TargetProperties &properties) {
  return std::make_unique<PlanWeights>(properties);
}
