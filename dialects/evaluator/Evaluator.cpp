#include "dialects/evaluator/Evaluator.h"

#include "dialects/evaluator/Ops.h"

#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::evaluator {
namespace {

struct Entry {
  StringRef name;
  Status (*evaluate)(Operation *op, Frame &frame);
};

template <typename Op> Entry entry() {
  return {Op::getOperationName(), [](Operation *op, Frame &frame) { return evaluate(cast<Op>(op), frame); }};
}

/// Every op there is an evaluation of.
const Entry *findEntry(StringRef name) {
  static const Entry table[] = {
      entry<arith::ConstantOp>(), entry<tensor::ExtractSliceOp>(),
      entry<ParamOp>(),           entry<LayersOp>(),
      entry<BatchSizeOp>(),       entry<EmbeddingOp>(),
      entry<RopeTableOp>(),       entry<RmsNormOp>(),
      entry<LinearOp>(),          entry<SplitHeadsOp>(),
      entry<MergeHeadsOp>(),      entry<RopeOp>(),
      entry<CacheWriteOp>(),      entry<AttentionOp>(),
      entry<SwigluOp>(),          entry<AddOp>(),
      entry<RouterOp>(),          entry<ExpertsOp>(),
      entry<OutputRowsOp>(),      entry<FusedLinearOp>(),
      entry<QkNormRopeCacheOp>(), entry<FusedRouterOp>(),
      entry<QuantizeOp>(),        entry<RouterDispatchOp>(),
      entry<DispatchOp>(),        entry<GroupedLinearOp>(),
      entry<CombineOp>(),         entry<GroupedLinearCombineOp>(),
      entry<AttentionCombineOp>(), entry<SampleOp>(),
  };
  const Entry *found = llvm::find_if(table, [&](const Entry &candidate) { return candidate.name == name; });
  return found == std::end(table) ? nullptr : found;
}

std::string text(Type type) {
  std::string result;
  llvm::raw_string_ostream(result) << type;
  return result;
}

/// Whether an op reads integers from an operand.
bool readsIntegers(Operation *op, unsigned operand) {
  return llvm::TypeSwitch<Operation *, bool>(op)
      .Case<DispatchOp>([&](auto) { return operand == 0; })
      .Case<ExpertsOp>([&](auto) { return operand == 2; })
      .Case<GroupedLinearOp, CombineOp>([&](auto) { return operand == 2 || operand == 3; })
      .Case<GroupedLinearCombineOp>([&](auto) { return operand == 3 || operand == 4; })
      .Default([](Operation *) { return false; });
}

/// What the ops' functions rely on besides the verifiers.
Status checkOperands(Operation *op, CacheType cache) {
  std::string name = op->getName().getStringRef().str();
  for (OpOperand &operand : op->getOpOperands()) {
    if (isa<BaseMemRefType>(operand.get().getType()))
      return userError(name + ": expected tensors, found " + text(operand.get().getType()));
    if (isa<CacheType>(operand.get().getType()) && operand.get().getType() != cache)
      return userError(name + ": expected the cache " + text(cache) + ", found " +
                       text(operand.get().getType()));
    auto type = dyn_cast<RankedTensorType>(operand.get().getType());
    if (!type || isa<LayersOp, func::ReturnOp>(op))
      continue;
    bool integers = type.getElementType().isSignlessInteger(32);
    if (type.getRank() < 1 || llvm::any_of(type.getShape().drop_front(), ShapedType::isDynamic) ||
        (readsIntegers(op, operand.getOperandNumber()) ? !integers : !isa<FloatType, QuantType>(type.getElementType())))
      return userError(name + ": expected " +
                       (readsIntegers(op, operand.getOperandNumber()) ? "i32" : "float") +
                       " tensors with static extents but the first, found " + text(type));
  }
  return ok();
}

Status checkBatch(const BatchRows &batch) {
  size_t rows = batch.tokens.size();
  if (batch.positions.size() != rows || batch.slots.size() != rows || batch.contextLengths.size() != rows)
    return userError("expected " + std::to_string(rows) + " positions, slots and context lengths, found " +
                     std::to_string(batch.positions.size()) + ", " + std::to_string(batch.slots.size()) +
                     " and " + std::to_string(batch.contextLengths.size()));
  for (int32_t row : batch.outputRows)
    if (row < 0 || row >= batch.rows())
      return userError("expected output rows below " + std::to_string(rows) + ", found " +
                       std::to_string(row));
  return ok();
}

template <typename T> bool fits(RankedTensorType type, const Array<T> &array) {
  bool same = type.getRank() == static_cast<int64_t>(array.shape.size());
  for (int64_t dim = 0; same && dim < type.getRank(); ++dim)
    same = type.isDynamicDim(dim) || type.getDimSize(dim) == array.shape[dim];
  return same && array.count() == static_cast<int64_t>(array.data.size());
}

bool fits(Type type, const RuntimeValue &value) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (auto array = std::get_if<std::shared_ptr<const Tensor>>(&value))
    return tensor && isa<FloatType, QuantType>(tensor.getElementType()) && fits(tensor, **array);
  if (auto array = std::get_if<std::shared_ptr<const Integers>>(&value))
    return tensor && tensor.getElementType().isSignlessInteger(32) && fits(tensor, **array);
  return std::holds_alternative<int64_t>(value) ? isa<IndexType>(type) : isa<BatchType, CacheType>(type);
}

Result<std::vector<RuntimeValue>> callFunction(State &state, StringRef name,
                                               std::vector<RuntimeValue> arguments) {
  auto function = state.module.lookupSymbol<func::FuncOp>(name);
  if (!function || !function.getBody().hasOneBlock())
    return userError("expected a function @" + name.str() + " of one block");
  if (function.getNumArguments() != arguments.size())
    return userError("expected " + std::to_string(function.getNumArguments()) + " arguments of @" +
                     name.str() + ", found " + std::to_string(arguments.size()));
  Frame frame(state);
  for (auto [parameter, argument] : llvm::zip(function.getArguments(), arguments))
    if (Status set = frame.set(parameter, argument); !set)
      return set.takeError();
  for (Operation &op : function.getBody().front()) {
    if (Status checked = checkOperands(&op, state.cache.type()); !checked)
      return checked.takeError();
    if (auto result = dyn_cast<func::ReturnOp>(op)) {
      std::vector<RuntimeValue> results;
      for (Value operand : result.getOperands())
        results.push_back(frame.get(operand));
      return results;
    }
    const Entry *found = findEntry(op.getName().getStringRef());
    if (!found)
      return userError("expected an op of the model or fused stage, found " +
                       op.getName().getStringRef().str());
    if (Status evaluated = found->evaluate(&op, frame); !evaluated)
      return evaluated.takeError();
    if (state.observe)
      state.observe(&op, frame);
  }
  return internalError("expected func.return at the end of @" + name.str());
}

} // namespace

Status Frame::set(Value value, RuntimeValue result) {
  if (!fits(value.getType(), result)) {
    std::string where =
        value.getDefiningOp() ? value.getDefiningOp()->getName().getStringRef().str() : "argument";
    return userError(where + ": expected a value of type " + text(value.getType()) + ", found another shape");
  }
  values[value] = std::move(result);
  return ok();
}

Evaluator::Evaluator(ModuleOp module, WeightProvider &weights) : module(module), weights(weights) {}

Result<RuntimeValue> Evaluator::weightInstance(WeightOp weight, int64_t instance) {
  auto known = loaded.find({weight, instance});
  if (known != loaded.end())
    return known->second;
  Result<Tensor> values = loadWeight(weight, instance, weights);
  if (!values)
    return values.takeError();
  return loaded[{weight, instance}] = value(values.take());
}

Result<std::vector<RuntimeValue>> Evaluator::call(StringRef function, std::vector<RuntimeValue> arguments,
                                                  const BatchRows &batch) {
  if (Status checked = checkBatch(batch); !checked)
    return checked.takeError();
  if (auto callee = module.lookupSymbol<func::FuncOp>(function); callee && !cache)
    for (Type type : callee.getArgumentTypes())
      if (auto cacheType = dyn_cast<CacheType>(type))
        cache.emplace(cacheType);
  Cache none(CacheType::get(module.getContext(), 1, 1, 2, Float32Type::get(module.getContext())));
  State state{module, batch, cache ? *cache : none,
              [this](WeightOp weight, int64_t instance) { return weightInstance(weight, instance); },
              nullptr, observe};
  state.call = [&state](StringRef callee, std::vector<RuntimeValue> operands) {
    return callFunction(state, callee, std::move(operands));
  };
  return callFunction(state, function, std::move(arguments));
}

Result<std::vector<float>> Evaluator::forward(const BatchRows &batch) {
  Result<std::vector<RuntimeValue>> results = call("forward", {std::monostate(), std::monostate()}, batch);
  if (!results)
    return results.takeError();
  auto logits =
      results->size() == 1 ? std::get_if<std::shared_ptr<const Tensor>>(&results->front()) : nullptr;
  if (!logits)
    return userError("expected @forward to return logits");
  return (*logits)->data;
}

} // namespace qwench::evaluator
