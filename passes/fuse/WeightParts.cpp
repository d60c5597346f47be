#include "passes/fuse/WeightParts.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench {
namespace {

RankedTensorType typeOf(WeightOp weight) { return cast<RankedTensorType>(weight.getType()); }

/// The extent that concatenation adds up.
unsigned outputDim(RankedTensorType type) { return type.getRank() < 2 ? 0 : type.getRank() - 2; }

bool sameButOutputs(RankedTensorType a, RankedTensorType b) {
  if (a.getRank() != b.getRank() || a.getElementType() != b.getElementType())
    return false;
  for (unsigned dim = 0; dim < a.getRank(); ++dim)
    if (dim != outputDim(a) && a.getDimSize(dim) != b.getDimSize(dim))
      return false;
  return true;
}

ArrayAttr partNames(MLIRContext *context, ArrayRef<Value> params) {
  SmallVector<Attribute> names;
  for (Value param : params)
    names.push_back(param.getDefiningOp<ParamOp>().getWeightAttr());
  return ArrayAttr::get(context, names);
}

RankedTensorType concatenatedType(ArrayRef<Value> params) {
  auto type = cast<RankedTensorType>(params.front().getType());
  SmallVector<int64_t> shape(type.getShape());
  for (Value param : params.drop_front())
    shape[outputDim(type)] += cast<RankedTensorType>(param.getType()).getDimSize(outputDim(type));
  return RankedTensorType::get(shape, type.getElementType());
}

} // namespace

StringRef cannotConcatenate(ArrayRef<Value> params) {
  ParamOp first = params.front().getDefiningOp<ParamOp>();
  WeightOp firstWeight = lookupWeight(params.front());
  for (Value value : params) {
    auto param = value.getDefiningOp<ParamOp>();
    WeightOp weight = lookupWeight(value);
    if (!param || !weight)
      return "a weight is not a qwen.param";
    if (param.getIndex() != first.getIndex())
      return "the weights' instances are chosen by different indices";
    if (weight.getInstances() != firstWeight.getInstances() || weight.getLayers() != firstWeight.getLayers())
      return "the weights have different layers";
    if (weight.getLayout() || weight.getOffset())
      return "a weight is planned already";
    if (!sameButOutputs(typeOf(weight), typeOf(firstWeight)))
      return "the weights' types differ in more than outputs";
  }
  return "";
}

Value concatenate(PatternRewriter &rewriter, Location loc, ArrayRef<Value> params, StringRef name) {
  WeightOp last = lookupWeight(params.back());
  RankedTensorType type = concatenatedType(params);
  ArrayAttr parts = partNames(rewriter.getContext(), params);
  Operation *table = SymbolTable::getNearestSymbolTable(last->getParentOp());
  std::string unique = name.str();
  bool exists = false;
  for (int suffix = 0; Operation *taken = SymbolTable::lookupSymbolIn(table, unique); ++suffix) {
    auto weight = dyn_cast<WeightOp>(taken);
    exists = weight && weight.getPartsAttr() == parts && weight.getType() == type;
    if (exists)
      break;
    unique = (name + "_" + Twine(suffix)).str();
  }
  if (!exists) {
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPointAfter(last);
    WeightOp::create(rewriter, loc, unique, type, last.getInstances(), last.getLayers(), nullptr, parts,
                     nullptr, nullptr, nullptr);
  }
  return ParamOp::create(rewriter, loc, type, unique, params.front().getDefiningOp<ParamOp>().getIndex());
}

std::string siblingName(Value param, StringRef name) {
  StringRef own = param.getDefiningOp<ParamOp>().getWeight();
  size_t dot = own.rfind('.');
  return dot == StringRef::npos ? name.str() : (own.take_front(dot + 1) + name).str();
}

} // namespace qwench
