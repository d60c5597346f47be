#include "compiler/target/x86/kernel_builder.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;
using namespace qwench::qwen;

Value KernelBuilder::swiglu(Value gate, Value up) {
  Value one = splat(1.0f);
  Value negated = arith::NegFOp::create(*this, gate);
  return mulf(divf(gate, addf(one, exp(negated))), up);
}

Value KernelBuilder::load(Value memory, Value at) {
  Type element = cast<MemRefType>(memory.getType()).getElementType();
  Value raw = vector::LoadOp::create(*this, lanes(element), memory, ValueRange{at});
  return element.isF32() ? raw : arith::ExtFOp::create(*this, lanes(getF32Type()), raw).getResult();
}

Value KernelBuilder::round(Value vector, Type element) {
  if (bf16Dot || !element.isBF16())
    return arith::TruncFOp::create(*this, lanes(element), vector);
  auto words = lanes(getI32Type());
  auto constant = [&](uint32_t v) -> Value {
    return arith::ConstantOp::create(*this, DenseElementsAttr::get(words, APInt(32, v)));
  };
  Value bits = vector::BitCastOp::create(*this, words, vector);
  Value high = arith::ShRUIOp::create(*this, bits, constant(16));
  Value odd = arith::AndIOp::create(*this, high, constant(1));
  Value sum = arith::AddIOp::create(*this, arith::AddIOp::create(*this, bits, constant(0x7fff)), odd);
  Value nan = arith::CmpFOp::create(*this, arith::CmpFPredicate::UNO, vector, vector);
  Value kept = arith::SelectOp::create(*this, nan, constant(0x7fc00000), sum);
  Value top = arith::ShRUIOp::create(*this, kept, constant(16));
  Value half = arith::TruncIOp::create(*this, lanes(getI16Type()), top);
  return vector::BitCastOp::create(*this, lanes(element), half);
}

void KernelBuilder::store(Value vector, Value memory, Value at) {
  Type element = cast<MemRefType>(memory.getType()).getElementType();
  if (!element.isF32())
    vector = round(vector, element);
  vector::StoreOp::create(*this, vector, memory, ValueRange{at});
}

void KernelBuilder::loop(Value begin, Value end, int64_t step, llvm::function_ref<void(Value)> body) {
  loop(begin, end, step, {}, [&](Value i, ValueRange) {
    body(i);
    return Yield();
  });
}

KernelBuilder::Yield KernelBuilder::loop(Value begin, Value end, int64_t step, ValueRange inits,
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

void KernelBuilder::when(Value condition, llvm::function_ref<void()> body) {
  auto branch = scf::IfOp::create(*this, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPointToStart(branch.thenBlock());
  body();
}

MemRefType KernelBuilder::flat(Type element) { return MemRefType::get({ShapedType::kDynamic}, element); }

Value KernelBuilder::item(StepField list, Value row) {
  return toIndex(loadScalar(field(list, flat(getI32Type())), row));
}

Value KernelBuilder::view(Value bytes, Value byteOffset, Type element) {
  // The extent is not used by any access: kernels bound their loops themselves.
  Value extent = index(int64_t(1) << 40);
  return memref::ViewOp::create(*this, flat(element), bytes, byteOffset, ValueRange{extent});
}

Rows KernelBuilder::rows(Value plannedBuffer) {
  auto buffer = plannedBuffer.getDefiningOp<BufferOp>();
  auto type = cast<MemRefType>(plannedBuffer.getType());
  Rows rows;
  rows.element = type.getElementType();
  rows.width = 1;
  for (int64_t extent : type.getShape().drop_front())
    rows.width *= extent;
  rows.stride = type.getStridesAndOffset().first.front();
  if (buffer.getLogits())
    rows.memory = field(StepField::Logits, flat(rows.element));
  else
    rows.memory = view(field(StepField::Arena, flat(getI8Type())), index(buffer.getOffset()), rows.element);
  return rows;
}

Value KernelBuilder::rowsOf(Value plannedBuffer) {
  auto buffer = plannedBuffer.getDefiningOp<BufferOp>();
  if (!buffer.getRows())
    return index(cast<MemRefType>(plannedBuffer.getType()).getDimSize(0));
  return planned(buffer.getRows());
}

Value KernelBuilder::planned(Value value) {
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

Weight KernelBuilder::weight(Value value) {
  auto param = value.getDefiningOp<ParamOp>();
  WeightOp symbol = lookupWeight(param);
  Weight weight;
  weight.layout = *symbol.getLayout();
  weight.type = cast<RankedTensorType>(symbol.getType());
  Value offset = add(mul(planned(param.getIndex()), *symbol.getStride()), *symbol.getOffset());
  weight.memory = view(field(StepField::Weights, flat(getI8Type())), offset, weight.type.getElementType());
  return weight;
}

std::pair<Value, Value> KernelBuilder::tileRange(Value tileIndex, Value count, int64_t perTile) {
  Value begin = mul(tileIndex, perTile);
  return {begin, min(add(begin, perTile), count)};
}
