#include "compiler/target/step_fields.h"

#include "dialects/Qwen.h"
#include "runtime/abi/program.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

#include <cstddef>

using namespace mlir;
using namespace qwench;
using namespace qwench::qwen;

namespace {

/// Byte offset of each StepField in QwenchStep, in the enum's order.
constexpr size_t kFieldOffsets[] = {
    offsetof(QwenchStep, tokens),      offsetof(QwenchStep, positions),      offsetof(QwenchStep, slots),
    offsetof(QwenchStep, context_lengths), offsetof(QwenchStep, output_rows), offsetof(QwenchStep, rows),
    offsetof(QwenchStep, outputs),     offsetof(QwenchStep, cache_capacity), offsetof(QwenchStep, arena),
    offsetof(QwenchStep, weights),     offsetof(QwenchStep, cache),          offsetof(QwenchStep, logits),
    offsetof(QwenchStep, draws),       offsetof(QwenchStep, drawn),          offsetof(QwenchStep, team)};

} // namespace

Value qwench::loadAt(ImplicitLocOpBuilder &b, Value base, int64_t offset, Type type) {
  auto pointer = LLVM::LLVMPointerType::get(b.getContext());
  Value place = LLVM::GEPOp::create(b, pointer, b.getI8Type(), base, ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(offset)});
  return LLVM::LoadOp::create(b, type, place);
}

Value qwench::flatMemref(ImplicitLocOpBuilder &b, Value pointer, MemRefType type) {
  auto array = LLVM::LLVMArrayType::get(b.getI64Type(), 1);
  auto descriptor = LLVM::LLVMStructType::getLiteral(
      b.getContext(), {pointer.getType(), pointer.getType(), b.getI64Type(), array, array});
  Value value = LLVM::PoisonOp::create(b, descriptor);
  auto constant = [&](int64_t v) -> Value { return LLVM::ConstantOp::create(b, b.getI64Type(), b.getI64IntegerAttr(v)); };
  auto set = [&](Value v, ArrayRef<int64_t> at) { value = LLVM::InsertValueOp::create(b, value, v, at); };
  set(pointer, {0});
  set(pointer, {1});
  set(constant(0), {2});
  set(constant(int64_t(1) << 40), {3, 0});
  set(constant(1), {4, 0});
  return UnrealizedConversionCastOp::create(b, TypeRange{type}, ValueRange{value}).getResult(0);
}

static void lowerField(StepFieldOp op, llvm::function_ref<unsigned(Attribute)> numbered) {
  auto pointer = LLVM::LLVMPointerType::get(op.getContext());
  ImplicitLocOpBuilder b(op.getLoc(), op);
  Value step = UnrealizedConversionCastOp::create(b, TypeRange{pointer}, ValueRange{op.getBatch()}).getResult(0);
  int64_t offset = kFieldOffsets[static_cast<size_t>(op.getField())];
  Value result;
  if (auto type = dyn_cast<MemRefType>(op.getType())) {
    Value memory = loadAt(b, step, offset, pointer);
    unsigned space = type.getMemorySpace() ? numbered(type.getMemorySpace()) : 0;
    if (space)
      memory = LLVM::AddrSpaceCastOp::create(b, LLVM::LLVMPointerType::get(op.getContext(), space), memory);
    result = flatMemref(b, memory, type);
  } else {
    result = arith::IndexCastOp::create(b, b.getIndexType(), loadAt(b, step, offset, b.getI64Type()));
  }
  op.replaceAllUsesWith(result);
  op.erase();
}

void qwench::lowerStepFields(Operation *scope, llvm::function_ref<unsigned(Attribute)> numbered) {
  scope->walk([&](StepFieldOp op) { lowerField(op, numbered); });
  auto pointer = LLVM::LLVMPointerType::get(scope->getContext());
  scope->walk([&](FunctionOpInterface function) {
    auto type = dyn_cast<FunctionType>(function.getFunctionType());
    if (!type)
      return;
    SmallVector<Type> inputs(type.getInputs());
    for (Type &input : inputs)
      if (isa<BatchType>(input))
        input = pointer;
    function.setType(FunctionType::get(scope->getContext(), inputs, type.getResults()));
    for (BlockArgument argument : function.getArguments())
      if (isa<BatchType>(argument.getType()))
        argument.setType(pointer);
  });
  scope->walk([&](UnrealizedConversionCastOp cast) {
    if (cast.getNumOperands() == 1 && cast.getOperand(0).getType() == pointer && cast.getType(0) == pointer) {
      cast.getResult(0).replaceAllUsesWith(cast.getOperand(0));
      cast.erase();
    }
  });
}
