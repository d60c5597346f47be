// Verifiers, effects and symbol uses of the qwen ops.
#include "dialects/Qwen.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::qwen;

#define GET_OP_CLASSES
#include "dialects/QwenOps.cpp.inc"

using Effects = SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>;

//===-- Shared checks -------------------------------------------------------------------------------------------===//

namespace {

ShapedType shaped(Value value) { return cast<ShapedType>(value.getType()); }

/// -1 for a dimension that is not there.
int64_t extent(Value value, int64_t dim) {
  return dim >= 0 && dim < shaped(value).getRank() ? shaped(value).getDimSize(dim) : -1;
}

int64_t lastExtent(Value value) { return extent(value, shaped(value).getRank() - 1); }

LogicalResult expectRank(Operation *op, StringRef what, Value value, int64_t rank) {
  if (shaped(value).getRank() != rank)
    return op->emitOpError() << "expected " << what << " of rank " << rank << ", found " << value.getType();
  return success();
}

LogicalResult expectExtent(Operation *op, StringRef what, int64_t expected, int64_t found) {
  if (expected != found)
    return op->emitOpError() << "expected " << what << " " << expected << ", found " << found;
  return success();
}

/// What both semantics give: `count` results, or as many dests, never both; buffers only with buffers.
template <typename Op> LogicalResult verifySemantics(Op op, unsigned count) {
  unsigned results = op.getResults().size(), dests = op.getDests().size();
  if (results + dests != count || (results && dests))
    return op.emitOpError() << "expected " << count << " results or " << count << " dests, found " << results
                            << " and " << dests;
  if (op.getTile() && !dests)
    return op.emitOpError("expected buffer semantics with a tile size");
  for (Value operand : op->getOperands())
    if (isa<BaseMemRefType>(operand.getType()) != (dests != 0) && !isa<BatchType, CacheType, IndexType>(operand.getType()) &&
        !operand.template getDefiningOp<ParamOp>() && (results == 0 || isa<BaseMemRefType>(operand.getType())))
      return op.emitOpError() << "expected only buffers, or only tensors, besides weights";
  return success();
}

/// Result i, or dest i.
template <typename Op> Value output(Op op, unsigned i = 0) {
  return op.hasBufferSemantics() ? op.getDests()[i] : op.getResults()[i];
}

template <typename Op> void bufferEffects(Op op, Effects &effects) {
  for (OpOperand &operand : op->getOpOperands())
    if (isa<BaseMemRefType>(operand.get().getType()))
      effects.emplace_back(MemoryEffects::Read::get(), &operand);
  for (OpOperand &dest : op.getDestsMutable())
    effects.emplace_back(MemoryEffects::Write::get(), &dest);
}

} // namespace

#define QWEN_BUFFER_EFFECTS(OP)                                                                                        \
  void OP::getEffects(Effects &effects) { bufferEffects(*this, effects); }
QWEN_BUFFER_EFFECTS(EmbeddingOp)
QWEN_BUFFER_EFFECTS(RopeTableOp)
QWEN_BUFFER_EFFECTS(RmsNormOp)
QWEN_BUFFER_EFFECTS(LinearOp)
QWEN_BUFFER_EFFECTS(RopeOp)
QWEN_BUFFER_EFFECTS(AttentionCombineOp)
QWEN_BUFFER_EFFECTS(SwigluOp)
QWEN_BUFFER_EFFECTS(AddOp)
QWEN_BUFFER_EFFECTS(RouterOp)
QWEN_BUFFER_EFFECTS(OutputRowsOp)
QWEN_BUFFER_EFFECTS(SampleOp)
QWEN_BUFFER_EFFECTS(FusedLinearOp)
QWEN_BUFFER_EFFECTS(FusedRouterOp)
QWEN_BUFFER_EFFECTS(QuantizeOp)
QWEN_BUFFER_EFFECTS(DispatchOp)
QWEN_BUFFER_EFFECTS(RouterDispatchOp)
QWEN_BUFFER_EFFECTS(GroupedLinearOp)
QWEN_BUFFER_EFFECTS(CombineOp)
QWEN_BUFFER_EFFECTS(GroupedLinearCombineOp)
#undef QWEN_BUFFER_EFFECTS

// The cache is one resource: its reads and writes keep their order.
void AttentionOp::getEffects(Effects &effects) {
  bufferEffects(*this, effects);
  effects.emplace_back(MemoryEffects::Read::get(), &getCacheMutable());
}
void CacheWriteOp::getEffects(Effects &effects) {
  effects.emplace_back(MemoryEffects::Write::get(), &getCacheMutable());
  for (OpOperand *operand : {&getKeyMutable(), &getValueMutable()})
    if (isa<BaseMemRefType>(operand->get().getType()))
      effects.emplace_back(MemoryEffects::Read::get(), operand);
}
void QkNormRopeCacheOp::getEffects(Effects &effects) {
  bufferEffects(*this, effects);
  effects.emplace_back(MemoryEffects::Write::get(), &getCacheMutable());
}
void LayersOp::getEffects(Effects &effects) {
  effects.emplace_back(MemoryEffects::Read::get(), &getCacheMutable());
  effects.emplace_back(MemoryEffects::Write::get(), &getCacheMutable());
  if (isa<BaseMemRefType>(getHidden().getType())) {
    effects.emplace_back(MemoryEffects::Read::get(), &getHiddenMutable());
    effects.emplace_back(MemoryEffects::Write::get(), &getHiddenMutable());
  }
}

//===-- Programs and weights ------------------------------------------------------------------------------------===//

WeightOp qwen::lookupWeight(ParamOp param) {
  return SymbolTable::lookupNearestSymbolFrom<WeightOp>(param, param.getWeightAttr());
}

WeightOp qwen::lookupWeight(Value value) {
  auto param = value ? value.getDefiningOp<ParamOp>() : ParamOp();
  return param ? lookupWeight(param) : WeightOp();
}

LogicalResult WeightOp::verify() {
  if (getInstances() < 1)
    return emitOpError() << "expected at least one instance, found " << getInstances();
  auto type = cast<RankedTensorType>(getType());
  if (!type.hasStaticShape())
    return emitOpError() << "expected a static shape, found " << type;
  if (type.getRank() < 1 || type.getRank() > 3)
    return emitOpError() << "expected a vector, a matrix or a stack of matrices, found " << type;
  if (auto quant = dyn_cast<QuantType>(type.getElementType()); quant && quant.getSums())
    return emitOpError() << "expected no sums, which activations have, found " << quant;
  if (getSource().has_value() == getParts().has_value())
    return emitOpError("expected either a source or parts");
  if (!getLayers().empty() && static_cast<int64_t>(getLayers().size()) != static_cast<int64_t>(getInstances()))
    return emitOpError() << "expected " << getInstances() << " layers, found " << getLayers().size();
  return success();
}

LogicalResult RotaryOp::verify() {
  bool longrope = getKind() == RotaryKind::Longrope, dynamic = getKind() == RotaryKind::Dynamic;
  if (longrope != getLongInvFreq().has_value())
    return emitOpError("expected long_inv_freq with longrope and only there");
  if (longrope && getLongInvFreq()->size() != getInvFreq().size())
    return emitOpError("expected as many long as short frequencies");
  if ((longrope || dynamic) != getOriginalContext().has_value())
    return emitOpError("expected original_context with dynamic and longrope and only there");
  if (dynamic != (getTheta().has_value() && getFactor().has_value()))
    return emitOpError("expected theta and factor with dynamic and only there");
  return success();
}

LogicalResult ParamOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto weight = symbols.lookupNearestSymbolFrom<WeightOp>(*this, getWeightAttr());
  if (!weight)
    return emitOpError() << "expected " << getWeight() << " to name a qwen.weight";
  if (weight.getType() != getType())
    return emitOpError() << "expected type " << weight.getType() << " of " << getWeight() << ", found " << getType();
  return success();
}

LogicalResult RopeTableOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto rotary = symbols.lookupNearestSymbolFrom<RotaryOp>(*this, getRotaryAttr());
  if (!rotary)
    return emitOpError() << "expected " << getRotary() << " to name a qwen.rotary";
  return expectExtent(*this, "columns", 2 * static_cast<int64_t>(rotary.getInvFreq().size()), lastExtent(output(*this)));
}

LogicalResult LayersOp::verifySymbolUses(SymbolTableCollection &symbols) {
  for (auto callee : getCallees().getAsRange<FlatSymbolRefAttr>())
    if (!symbols.lookupNearestSymbolFrom<func::FuncOp>(*this, callee))
      return emitOpError() << "expected " << callee << " to name a function";
  return success();
}

/// A function of the module, or of a symbol table in it: the kernels of a device.
static FunctionOpInterface lookupKernel(SymbolTableCollection &symbols, LaunchOp launch) {
  Operation *table = SymbolTable::getNearestSymbolTable(launch);
  if (auto kernel = symbols.lookupSymbolIn<FunctionOpInterface>(table, launch.getKernelAttr().getAttr()))
    return kernel;
  for (Operation &op : table->getRegion(0).getOps())
    if (op.hasTrait<OpTrait::SymbolTable>())
      if (auto kernel = symbols.lookupSymbolIn<FunctionOpInterface>(&op, launch.getKernelAttr().getAttr()))
        return kernel;
  return {};
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FunctionOpInterface kernel = lookupKernel(symbols, *this);
  if (!kernel)
    return emitOpError() << "expected " << getKernel() << " to name a function";
  size_t arguments = getArgs().size() + (isa<func::FuncOp>(kernel) ? 2 : 1); // a device's kernels have no scratch
  if (kernel.getNumArguments() != arguments)
    return emitOpError() << "expected a kernel of " << arguments << " arguments, found " << kernel.getNumArguments();
  return success();
}

//===-- Model level ---------------------------------------------------------------------------------------------===//

LogicalResult EmbeddingOp::verify() {
  if (failed(verifySemantics(*this, 1)) || failed(expectRank(*this, "table", getTable(), 2)))
    return failure();
  return expectExtent(*this, "hidden size", extent(getTable(), 1), lastExtent(output(*this)));
}

LogicalResult RopeTableOp::verify() { return verifySemantics(*this, 1); }

LogicalResult RmsNormOp::verify() {
  if (failed(verifySemantics(*this, 1)) || failed(expectRank(*this, "weight", getWeight(), 1)) ||
      failed(expectExtent(*this, "weight extent", lastExtent(getInput()), extent(getWeight(), 0))))
    return failure();
  return expectExtent(*this, "result extent", lastExtent(getInput()), lastExtent(output(*this)));
}

static LogicalResult verifyLinear(Operation *op, Value input, Value weight, Value bias, Value result, int64_t halves) {
  if (failed(expectRank(op, "input", input, 2)) || failed(expectRank(op, "weight", weight, 2)) ||
      failed(expectExtent(op, "weight inputs", extent(input, 1), extent(weight, 1))))
    return failure();
  if (bias && failed(expectExtent(op, "bias extent", extent(weight, 0), extent(bias, 0))))
    return failure();
  return expectExtent(op, "result extent", extent(weight, 0) / halves, extent(result, 1));
}

LogicalResult LinearOp::verify() {
  if (failed(verifySemantics(*this, 1)))
    return failure();
  return verifyLinear(*this, getInput(), getWeight(), getBias(), output(*this), 1);
}

LogicalResult SplitHeadsOp::verify() {
  if (failed(expectRank(*this, "input", getInput(), 2)) || failed(expectRank(*this, "result", getResult(), 3)))
    return failure();
  return expectExtent(*this, "heads * dim", extent(getInput(), 1), extent(getResult(), 1) * extent(getResult(), 2));
}

LogicalResult MergeHeadsOp::verify() {
  if (failed(expectRank(*this, "input", getInput(), 3)) || failed(expectRank(*this, "result", getResult(), 2)))
    return failure();
  return expectExtent(*this, "heads * dim", extent(getInput(), 1) * extent(getInput(), 2), extent(getResult(), 1));
}

LogicalResult RopeOp::verify() {
  if (failed(verifySemantics(*this, 1)) || failed(expectRank(*this, "input", getInput(), 3)))
    return failure();
  return expectExtent(*this, "table columns", extent(getInput(), 2), extent(getTable(), 1));
}

LogicalResult CacheWriteOp::verify() {
  for (Value value : {getKey(), getValue()})
    if (failed(expectRank(*this, "key and value", value, 3)) ||
        failed(expectExtent(*this, "heads", getCache().getType().getHeads(), extent(value, 1))) ||
        failed(expectExtent(*this, "head dimension", getCache().getType().getDim(), extent(value, 2))))
      return failure();
  return success();
}

int64_t AttentionOp::groupSize() { return extent(getQuery(), 1) / getCache().getType().getHeads(); }

/// `values` [T, S, A, D] and `stats` [T, S, A, 2] fit.
static LogicalResult verifyRuns(Operation *op, Value values, Value stats, int64_t heads, int64_t dim) {
  if (failed(expectRank(op, "values", values, 4)) || failed(expectRank(op, "stats", stats, 4)) ||
      failed(expectExtent(op, "runs of the stats", extent(values, 1), extent(stats, 1))) ||
      failed(expectExtent(op, "heads of the values", heads, extent(values, 2))) ||
      failed(expectExtent(op, "heads of the stats", heads, extent(stats, 2))) ||
      failed(expectExtent(op, "head dimension of the values", dim, extent(values, 3))))
    return failure();
  return expectExtent(op, "stats of a head", 2, extent(stats, 3));
}

LogicalResult AttentionOp::verify() {
  if (getSplits().has_value() != getSplitKeys().has_value())
    return emitOpError("expected splits and split_keys together");
  if (getSplits() && (static_cast<int64_t>(*getSplits()) < 1 || static_cast<int64_t>(*getSplitKeys()) < 1))
    return emitOpError() << "expected splits and split_keys of at least 1, found " << *getSplits() << " and "
                         << *getSplitKeys();
  if (failed(verifySemantics(*this, getSplits() ? 2 : 1)) || failed(expectRank(*this, "query", getQuery(), 3)) ||
      failed(expectExtent(*this, "head dimension", getCache().getType().getDim(), extent(getQuery(), 2))))
    return failure();
  if (getSplits() && (failed(verifyRuns(*this, output(*this, 0), output(*this, 1), extent(getQuery(), 1),
                                        extent(getQuery(), 2))) ||
                      failed(expectExtent(*this, "runs", *getSplits(), extent(output(*this, 0), 1)))))
    return failure();
  if (extent(getQuery(), 1) % getCache().getType().getHeads())
    return emitOpError() << "expected query heads to be a multiple of the cache's " << getCache().getType().getHeads()
                         << ", found " << extent(getQuery(), 1);
  if (getWindow() && static_cast<int64_t>(*getWindow()) < 1)
    return emitOpError() << "expected a positive window, found " << *getWindow();
  return success();
}

LogicalResult AttentionCombineOp::verify() {
  if (failed(verifySemantics(*this, 1)) || failed(expectRank(*this, "result", output(*this), 3)))
    return failure();
  return verifyRuns(*this, getValues(), getStats(), extent(output(*this), 1), extent(output(*this), 2));
}

LogicalResult SwigluOp::verify() {
  if (failed(verifySemantics(*this, 1)))
    return failure();
  return expectExtent(*this, "up extent", lastExtent(getGate()), lastExtent(getUp()));
}

LogicalResult AddOp::verify() {
  if (failed(verifySemantics(*this, 1)))
    return failure();
  return expectExtent(*this, "extent", lastExtent(getLhs()), lastExtent(getRhs()));
}

static LogicalResult expectChoices(Operation *op, int64_t k, int64_t experts) {
  if (k < 1 || k > experts)
    return op->emitOpError() << "expected top_k between 1 and " << experts << " experts, found " << k;
  return success();
}

template <typename Op> static LogicalResult verifyRouter(Op op, int64_t experts) {
  int64_t k = op.getTopK();
  if (failed(verifySemantics(op, 2)) || failed(expectChoices(op, k, experts)))
    return failure();
  for (unsigned i : {0u, 1u})
    if (failed(expectExtent(op, "result extent", k, lastExtent(output(op, i)))))
      return failure();
  return success();
}

LogicalResult RouterOp::verify() { return verifyRouter(*this, lastExtent(getLogits())); }

LogicalResult ExpertsOp::verify() {
  for (Value weight : {getGate(), getUp(), getDown()})
    if (failed(expectRank(*this, "expert weight", weight, 3)))
      return failure();
  if (failed(expectExtent(*this, "gate inputs", extent(getInput(), 1), extent(getGate(), 2))) ||
      failed(expectExtent(*this, "up outputs", extent(getGate(), 1), extent(getUp(), 1))) ||
      failed(expectExtent(*this, "down inputs", extent(getGate(), 1), extent(getDown(), 2))))
    return failure();
  return expectExtent(*this, "result extent", extent(getDown(), 1), extent(getResult(), 1));
}

LogicalResult OutputRowsOp::verify() {
  if (failed(verifySemantics(*this, 1)))
    return failure();
  return expectExtent(*this, "result extent", lastExtent(getInput()), lastExtent(output(*this)));
}

LogicalResult SampleOp::verify() {
  if (failed(verifySemantics(*this, 1)) || failed(expectRank(*this, "logits", getLogits(), 2)) ||
      failed(expectRank(*this, "result", output(*this), 1)))
    return failure();
  if (!shaped(getLogits()).getElementType().isF32() || !shaped(output(*this)).getElementType().isSignlessInteger(32))
    return emitOpError() << "expected logits of f32 and a result of i32, found " << getLogits().getType() << " and "
                         << output(*this).getType();
  constexpr int64_t most = int64_t(1) << 22; // whose weights have a sum of 63 bits
  if (int64_t vocabulary = lastExtent(getLogits()); vocabulary < 1 || vocabulary > most)
    return emitOpError() << "expected a vocabulary of 1 to " << most << ", found "
                         << (ShapedType::isDynamic(vocabulary) ? "a dynamic one" : std::to_string(vocabulary));
  return success();
}

//===-- Fused level ---------------------------------------------------------------------------------------------===//

/// Of a map's input, if it has one.
template <typename Op> static LogicalResult verifyNorm(Op op) {
  if (op.getNorm() && !op.getEps())
    return op.emitOpError("expected eps with a norm");
  return op.getNorm() ? expectExtent(op, "norm extent", extent(op.getInput(), 1), extent(op.getNorm(), 0)) : success();
}

LogicalResult FusedLinearOp::verify() {
  if (failed(verifySemantics(*this, 1)))
    return failure();
  if (failed(verifyNorm(*this)))
    return failure();
  int64_t halves = getActivation() == Activation::Swiglu ? 2 : 1;
  if (getResidual() && failed(expectExtent(*this, "residual extent", extent(getWeight(), 0) / halves, extent(getResidual(), 1))))
    return failure();
  return verifyLinear(*this, getInput(), getWeight(), getBias(), output(*this), halves);
}

LogicalResult QkNormRopeCacheOp::verify() {
  if (failed(verifySemantics(*this, 1)) || failed(expectRank(*this, "result", output(*this), 3)))
    return failure();
  CacheType cache = getCache().getType();
  int64_t heads = extent(output(*this), 1) + 2 * cache.getHeads();
  if (failed(expectExtent(*this, "head dimension", cache.getDim(), extent(output(*this), 2))) ||
      failed(expectExtent(*this, "table columns", cache.getDim(), extent(getTable(), 1))) ||
      failed(expectExtent(*this, "q_norm extent", cache.getDim(), extent(getQNorm(), 0))) ||
      failed(expectExtent(*this, "k_norm extent", cache.getDim(), extent(getKNorm(), 0))))
    return failure();
  return expectExtent(*this, "qkv extent", heads * cache.getDim(), extent(getQkv(), 1));
}

LogicalResult QuantizeOp::verify() {
  if (failed(verifySemantics(*this, 1)) || failed(expectRank(*this, "input", getInput(), 2)) ||
      failed(expectExtent(*this, "result extent", lastExtent(getInput()), lastExtent(output(*this)))))
    return failure();
  auto quant = dyn_cast<QuantType>(shaped(output(*this)).getElementType());
  if (!quant || !quant.getStorage().isSignlessInteger(8) || quant.getGroup() == 0 || !quant.getScale().isF32() ||
      quant.getZeroPoints() || quant.getRowScales() || quant.getGroupRows() != 1)
    return emitOpError() << "expected a result of !qwen.quant<i8, group = G, scale = f32, sums = S>, found "
                         << shaped(output(*this)).getElementType();
  return success();
}

LogicalResult FusedRouterOp::verify() {
  if (failed(expectExtent(*this, "weight inputs", extent(getInput(), 1), extent(getWeight(), 1))))
    return failure();
  return verifyRouter(*this, extent(getWeight(), 0));
}

LogicalResult DispatchOp::verify() {
  if (failed(verifySemantics(*this, 2)))
    return failure();
  if (failed(expectRank(*this, "offsets", output(*this, 0), 1)) || failed(expectRank(*this, "pairs", output(*this, 1), 1)))
    return failure();
  return success();
}

LogicalResult RouterDispatchOp::verify() {
  int64_t experts = lastExtent(getLogits()), k = getTopK();
  if (failed(verifySemantics(*this, 3)) || failed(expectChoices(*this, k, experts)) ||
      failed(expectExtent(*this, "weights extent", k, lastExtent(output(*this, 0)))) ||
      failed(expectRank(*this, "offsets", output(*this, 1), 1)) || failed(expectRank(*this, "pairs", output(*this, 2), 1)))
    return failure();
  return expectExtent(*this, "offsets extent", experts + 1, lastExtent(output(*this, 1)));
}

static LogicalResult verifyGrouped(Operation *op, Value input, Value weight, Value offsets, Value result, int64_t halves) {
  if (failed(expectRank(op, "weight", weight, 3)) ||
      failed(expectExtent(op, "weight inputs", extent(input, 1), extent(weight, 2))) ||
      failed(expectExtent(op, "offsets extent", extent(weight, 0) + 1, extent(offsets, 0))))
    return failure();
  return expectExtent(op, "result extent", extent(weight, 1) / halves, extent(result, 1));
}

LogicalResult GroupedLinearOp::verify() {
  if (failed(verifySemantics(*this, 1)) || failed(verifyNorm(*this)))
    return failure();
  return verifyGrouped(*this, getInput(), getWeight(), getOffsets(), output(*this),
                       getActivation() == Activation::Swiglu ? 2 : 1);
}

LogicalResult CombineOp::verify() {
  if (failed(verifySemantics(*this, 1)))
    return failure();
  return expectExtent(*this, "result extent", lastExtent(getInput()), lastExtent(output(*this)));
}

LogicalResult GroupedLinearCombineOp::verify() {
  if (failed(verifySemantics(*this, 1)))
    return failure();
  return verifyGrouped(*this, getInput(), getWeight(), getOffsets(), output(*this), 1);
}
