#include "compiler/target/step_builder.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::qwen;

void StepBuilder::loop(Value begin, Value end, int64_t step, llvm::function_ref<void(Value)> body) {
  loop(begin, end, step, {}, [&](Value i, ValueRange) {
    body(i);
    return Yield();
  });
}

StepBuilder::Yield StepBuilder::loop(Value begin, Value end, int64_t step, ValueRange inits,
                                         llvm::function_ref<Yield(Value, ValueRange)> body) {
  auto loop = scf::ForOp::create(*this, begin, end, index(step), inits);
  OpBuilder::InsertionGuard guard(*this);
  Block *block = loop.getBody();
  if (inits.empty())
    block->getTerminator()->erase();
  setInsertionPointToStart(block);
  Yield yields = body(loop.getInductionVar(), loop.getRegionIterArgs());
  scf::YieldOp::create(*this, yields);
  return Yield(loop.getResults());
}

void StepBuilder::when(Value condition, llvm::function_ref<void()> body) {
  auto branch = scf::IfOp::create(*this, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(branch.thenBlock());
  body();
}

void StepBuilder::choose(Value condition, llvm::function_ref<void()> yes, llvm::function_ref<void()> no) {
  auto branch = scf::IfOp::create(*this, condition, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(branch.thenBlock());
  yes();
  setInsertionPointToStart(branch.elseBlock());
  no();
}

StepBuilder::Yield StepBuilder::choose(Value condition, TypeRange types, llvm::function_ref<Yield()> yes,
                                       llvm::function_ref<Yield()> no) {
  auto branch = scf::IfOp::create(*this, types, condition, /*addThenBlock=*/true, /*addElseBlock=*/true);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(branch.thenBlock());
  scf::YieldOp::create(*this, yes());
  setInsertionPointToStart(branch.elseBlock());
  scf::YieldOp::create(*this, no());
  return Yield(branch.getResults());
}

MemRefType StepBuilder::flat(Type element) {
  return MemRefType::get({ShapedType::kDynamic}, element, MemRefLayoutAttrInterface(), memorySpace);
}

Value StepBuilder::item(StepField list, Value row) {
  return toIndex(loadScalar(field(list, flat(getI32Type())), row));
}

Value StepBuilder::view(Value bytes, Value byteOffset, Type element) {
  // The extent is not used by any access: kernels bound their loops themselves.
  Value extent = index(int64_t(1) << 40);
  auto type = cast<MemRefType>(bytes.getType());
  auto viewed = MemRefType::get({ShapedType::kDynamic}, element, MemRefLayoutAttrInterface(), type.getMemorySpace());
  return memref::ViewOp::create(*this, viewed, bytes, byteOffset, ValueRange{extent});
}

std::pair<Value, Value> StepBuilder::cachePlanes(CacheType type, Value slot, Value head) {
  Value capacity = field(StepField::CacheCapacity, getIndexType());
  Value plane = mul(capacity, type.getQuant() ? type.vectorBytes() : type.getDim());
  Value which = add(mul(add(mul(slot, type.getLayers()), layer), type.getHeads()), head);
  Value keys = mul(mul(which, 2), plane);
  return {keys, add(keys, plane)};
}

Value StepBuilder::constantTable(Operation *symbols, StringRef name, ArrayRef<float> values) {
  int64_t count = values.size();
  auto type = MemRefType::get({count}, getF32Type(), MemRefLayoutAttrInterface(), memorySpace);
  if (!SymbolTable::lookupSymbolIn(symbols, name)) {
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPointToStart(&symbols->getRegion(0).front());
    auto table = DenseElementsAttr::get(RankedTensorType::get({count}, getF32Type()), values);
    memref::GlobalOp::create(*this, name, getStringAttr("private"), type, table, /*constant=*/true, IntegerAttr());
  }
  return memref::CastOp::create(*this, flat(getF32Type()), memref::GetGlobalOp::create(*this, type, name));
}

/// Elements of the flat memory in which elements of this type lie.
static Type inMemory(Type element) {
  return isa<QuantType>(element) ? IntegerType::get(element.getContext(), 8) : element;
}

Rows StepBuilder::rows(Value plannedBuffer) {
  auto buffer = plannedBuffer.getDefiningOp<BufferOp>();
  auto type = cast<MemRefType>(plannedBuffer.getType());
  Rows rows;
  rows.element = type.getElementType();
  rows.width = 1;
  for (int64_t extent : type.getShape().drop_front())
    rows.width *= extent;
  rows.stride = type.getStridesAndOffset().first.front();
  if (!buffer.isInArena())
    rows.memory = field(buffer.getLogits() ? StepField::Logits : StepField::Drawn, flat(rows.element));
  else
    rows.memory = view(field(StepField::Arena, flat(getI8Type())), index(buffer.getOffset()), inMemory(rows.element));
  return rows;
}

Value StepBuilder::rowsOf(Value plannedBuffer) {
  auto buffer = plannedBuffer.getDefiningOp<BufferOp>();
  if (!buffer.getRows())
    return index(cast<MemRefType>(plannedBuffer.getType()).getDimSize(0));
  return planned(buffer.getRows());
}

Value StepBuilder::planned(Value value) {
  if (auto argument = dyn_cast<BlockArgument>(value))
    return argument.getArgNumber() == 2 ? layer : instance;
  Operation *op = value.getDefiningOp();
  if (auto constant = dyn_cast<arith::ConstantIndexOp>(op))
    return index(constant.value());
  if (auto size = dyn_cast<BatchSizeOp>(op))
    return field(size.getOutputs() ? StepField::Outputs : StepField::Rows, getIndexType());
  auto product = cast<arith::MulIOp>(op);
  return mul(planned(product.getLhs()), planned(product.getRhs()));
}

PackedWeight StepBuilder::packedWeight(Value value) {
  auto param = value.getDefiningOp<ParamOp>();
  WeightOp symbol = lookupWeight(param);
  PackedWeight weight;
  weight.layout = *symbol.getLayout();
  weight.type = cast<RankedTensorType>(symbol.getType());
  Value offset = add(mul(planned(param.getIndex()), *symbol.getStride()), *symbol.getOffset());
  weight.memory = view(field(StepField::Weights, flat(getI8Type())), offset, inMemory(weight.type.getElementType()));
  return weight;
}

std::pair<Value, Value> StepBuilder::tileRange(Value tileIndex, Value count, int64_t perTile) {
  Value begin = mul(tileIndex, perTile);
  return {begin, min(add(begin, perTile), count)};
}

ArrayRef<int64_t> qwench::tileSizes(Operation *op) { return op->getAttrOfType<DenseI64ArrayAttr>("tile").asArrayRef(); }

Value qwench::dest(Operation *op, unsigned i) {
  auto attention = dyn_cast<AttentionOp>(op);
  bool two = isa<RouterOp, FusedRouterOp, DispatchOp>(op) || (attention && attention.getSplits());
  unsigned dests = isa<RouterDispatchOp>(op) ? 3 : two ? 2 : 1;
  return op->getOperand(op->getNumOperands() - dests + i);
}
