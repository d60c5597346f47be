// Liveness and placement of activations. A function's storages live over intervals of its ops; placement is first fit by
// decreasing size among those whose intervals meet.
#include "passes/plan/storage.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::qwen;

static constexpr int64_t kAlignment = 128;

static int64_t rowWidth(ShapedType type) {
  int64_t width = 1;
  for (int64_t extent : type.getShape().drop_front())
    width *= extent;
  return width;
}

int64_t qwench::elementBytes(Type element) {
  return isa<QuantType>(element) ? 1 : element.getIntOrFloatBitWidth() / 8;
}

static bool isView(Operation *op) { return isa<SplitHeadsOp, MergeHeadsOp, tensor::ExtractSliceOp>(op); }

Type qwench::productElement(OpOperand &use) {
  Operation *op = use.getOwner();
  if (use.getOperandNumber() != 0)
    return {};
  auto elementOf = [](Value value) { return cast<ShapedType>(value.getType()).getElementType(); };
  if (auto linear = dyn_cast<LinearOp>(op))
    return elementOf(linear.getWeight());
  if (auto linear = dyn_cast<FusedLinearOp>(op))
    return linear.getNorm() ? Type() : elementOf(linear.getWeight());
  if (auto grouped = dyn_cast<GroupedLinearOp>(op))
    return grouped.getNorm() ? Type() : elementOf(grouped.getWeight());
  if (auto grouped = dyn_cast<GroupedLinearCombineOp>(op))
    return elementOf(grouped.getWeight());
  if (auto router = dyn_cast<FusedRouterOp>(op))
    return elementOf(router.getWeight());
  if (auto attention = dyn_cast<AttentionOp>(op)) {
    Type element = attention.getCache().getType().getElementType();
    return isa<QuantType>(element) ? Type() : element;
  }
  return {};
}

/// Whether weights that a value meets, through views of it, are f32.
static bool meetsF32(Value value) {
  return llvm::any_of(value.getUses(), [](OpOperand &use) {
    if (isView(use.getOwner()))
      return meetsF32(use.getOwner()->getResult(0));
    Type element = productElement(use);
    return element && element.isF32();
  });
}

/// Element type in which activations enter the product at `use`; null if there is none.
static Type inputElement(OpOperand &use, const TargetProperties &properties, int64_t rowBound) {
  auto attention = dyn_cast<AttentionOp>(use.getOwner());
  if (attention && use.getOperandNumber() == 0 && attention.getCache().getType().getQuant()) {
    // Of a model in f32 the cache alone is rounded.
    MLIRContext *context = attention.getContext();
    return meetsF32(attention->getResult(0)) ? Type(Float32Type::get(context)) : properties.quantizedCacheInput(context, rowBound);
  }
  Type element = productElement(use);
  return element ? properties.matrixInput(element, rowBound) : Type();
}

/// Collects the element types that all final uses of a value want; false if one is no product.
static bool collectInputs(Value value, const TargetProperties &properties, int64_t rowBound,
                          SmallVectorImpl<Type> &wanted) {
  for (OpOperand &use : value.getUses()) {
    if (isView(use.getOwner())) {
      if (!collectInputs(use.getOwner()->getResult(0), properties, rowBound, wanted))
        return false;
      continue;
    }
    Type input = inputElement(use, properties, rowBound);
    if (!input || isa<QuantType>(input))
      return false;
    wanted.push_back(input);
  }
  return true;
}

Type FunctionStorage::elementOf(Value value) const {
  Type element = cast<ShapedType>(value.getType()).getElementType();
  SmallVector<Type> wanted;
  if (!element.isF32() || !collectInputs(value, properties, rowBound, wanted) || wanted.empty() || !llvm::all_equal(wanted))
    return element;
  return wanted.front();
}

void FunctionStorage::pin(Value value, const View &view, int64_t offset, int64_t bytes) {
  View pinned = view;
  pinned.storage = storages.size();
  storages.push_back({bytes, 0, INT64_MAX, offset});
  views[value] = pinned;
}

const View *FunctionStorage::lookup(Value value) const {
  auto it = views.find(value);
  return it == views.end() ? nullptr : &it->second;
}

LogicalResult FunctionStorage::analyze(func::FuncOp function) {
  int64_t index = 0;
  for (Operation &op : function.getBody().front())
    order[&op] = index++;
  for (Operation &op : function.getBody().front()) {
    // A value lives to its last use; the uses of its views count.
    for (Value operand : op.getOperands())
      if (const View *view = lookup(operand))
        storages[view->storage].last = std::max(storages[view->storage].last, order[&op]);
    if (failed(addOp(&op)))
      return failure();
  }
  return success();
}

LogicalResult FunctionStorage::addView(Operation *op, Value source, Value result, int64_t firstElement) {
  const View *view = lookup(source);
  if (!view)
    return op->emitOpError("expected a view of a planned tensor");
  View made = *view;
  made.firstElement += firstElement;
  views[result] = made;
  return success();
}

/// The residual operand that the op may overwrite with its result: same shape, and nobody reads it later.
Value FunctionStorage::reusable(Operation *op) const {
  Value residual;
  if (auto add = dyn_cast<AddOp>(op))
    residual = add.getLhs();
  else if (auto linear = dyn_cast<FusedLinearOp>(op))
    residual = linear.getResidual();
  else if (auto combine = dyn_cast<CombineOp>(op))
    residual = combine.getResidual();
  else if (auto combine = dyn_cast<GroupedLinearCombineOp>(op))
    residual = combine.getResidual();
  const View *view = residual ? lookup(residual) : nullptr;
  if (!view || view->element != elementOf(op->getResult(0)) || isView(op))
    return {};
  bool readLater = llvm::any_of(residual.getUsers(), [&](Operation *user) { return order.lookup(user) > order.lookup(op); });
  return readLater ? Value() : residual;
}

void FunctionStorage::addResult(Operation *op, Value result, RowCount rows) {
  if (Value residual = reusable(op)) {
    View view = views.at(residual); // a copy: the map moves its entries when it grows
    views[result] = view;
    return;
  }
  auto type = cast<ShapedType>(result.getType());
  View view;
  view.storage = storages.size();
  view.rows = rows;
  view.element = elementOf(result);
  auto quant = dyn_cast<QuantType>(view.element);
  int64_t bytes = elementBytes(view.element), width = quant ? quant.rowBytes(rowWidth(type)) : rowWidth(type);
  view.rowStride = type.getRank() == 1 ? 1 : properties.rowStride(width, bytes);
  int64_t size = llvm::alignTo(rows.bound(rowBound) * view.rowStride * bytes, kAlignment);
  storages.push_back({size, order[op], order[op], -1});
  views[result] = view;
}

LogicalResult FunctionStorage::addOp(Operation *op) {
  if (op->getNumResults() == 0 || isa<ParamOp, BatchSizeOp, arith::ConstantOp>(op))
    return success();
  if (isa<SplitHeadsOp, MergeHeadsOp>(op))
    return addView(op, op->getOperand(0), op->getResult(0), 0);
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op)) {
    if (slice.getStaticOffsets().size() != 2 || ShapedType::isDynamic(slice.getStaticOffsets()[1]))
      return op->emitOpError("expected a slice of columns with a static offset");
    return addView(op, slice.getSource(), slice.getResult(), slice.getStaticOffsets()[1]);
  }
  if (auto layers = dyn_cast<LayersOp>(op))
    return addView(op, layers.getHidden(), layers.getResult(), 0);
  auto addResultsLike = [&](Value operand) -> LogicalResult {
    const View *view = lookup(operand);
    if (!view)
      return op->emitOpError("expected an op that planning knows");
    RowCount rows = view->rows; // a copy: the map moves its entries when it grows
    for (Value result : op->getResults())
      addResult(op, result, rows);
    return success();
  };
  auto addSorted = [&](Value offsets, Value pairs, Value choices) {
    addResult(op, offsets, {RowCount::Fixed, cast<ShapedType>(offsets.getType()).getDimSize(0)});
    addResult(op, pairs, {RowCount::Rows, cast<ShapedType>(choices.getType()).getDimSize(1)});
  };
  if (isa<EmbeddingOp, RopeTableOp>(op)) {
    addResult(op, op->getResult(0), {RowCount::Rows, 1});
  } else if (isa<OutputRowsOp>(op)) {
    addResult(op, op->getResult(0), {RowCount::Outputs, 1});
  } else if (auto dispatch = dyn_cast<DispatchOp>(op)) {
    addSorted(dispatch.getResults()[0], dispatch.getResults()[1], dispatch.getExperts());
  } else if (auto router = dyn_cast<RouterDispatchOp>(op)) {
    Value weights = router.getResults()[0];
    addResult(op, weights, {RowCount::Rows, 1});
    addSorted(router.getResults()[1], router.getResults()[2], weights);
  } else if (auto grouped = dyn_cast<GroupedLinearOp>(op)) {
    return addResultsLike(grouped.getPairs());
  } else if (auto combine = dyn_cast<CombineOp>(op)) {
    return addResultsLike(combine.getWeights());
  } else if (auto combine = dyn_cast<GroupedLinearCombineOp>(op)) {
    return addResultsLike(combine.getWeights());
  } else {
    return addResultsLike(op->getNumOperands() ? op->getOperand(0) : Value());
  }
  return success();
}

std::pair<int64_t, int64_t> FunctionStorage::assign(int64_t base, int64_t barrier) {
  auto crosses = [&](const Storage &s) { return barrier >= 0 && s.first < barrier && s.last >= barrier; };
  SmallVector<Storage *> pending;
  int64_t crossing = base;
  for (Storage &s : storages)
    if (s.offset < 0 && crosses(s)) {
      s.offset = crossing;
      crossing += s.bytes;
    } else if (s.offset < 0) {
      pending.push_back(&s);
    }
  llvm::stable_sort(pending, [](const Storage *a, const Storage *b) { return a->bytes > b->bytes; });
  int64_t end = crossing;
  SmallVector<Storage *> placed;
  for (Storage *s : pending) {
    int64_t offset = crossing;
    for (Storage *other : placed) // sorted by offset
      if (other->first <= s->last && s->first <= other->last && offset < other->offset + other->bytes &&
          other->offset < offset + s->bytes)
        offset = other->offset + other->bytes;
    s->offset = offset;
    end = std::max(end, offset + s->bytes);
    placed.insert(llvm::upper_bound(placed, s, [](Storage *a, Storage *b) { return a->offset < b->offset; }), s);
  }
  return {crossing, end};
}
