#include "compiler/target/x86/kernel_builder.h"

#include "compiler/target/x86/integers.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;
using namespace qwench::qwen;

/// 2^(n + f): `rounded` is n + kRounder, n an integer, and f is in -0.5 .. 0.5.
static Value powerOfTwo(KernelBuilder &b, Value rounded, Value f) {
  constexpr float coefficients[] = {1.00000012f,   0.693146944f,   0.240221202f,
                                    0.0555071346f, 0.00967554748f, 0.00132764713f};
  Value power = b.splat(coefficients[5]);
  for (int i = 4; i >= 0; --i)
    power = b.fma(power, f, b.splat(coefficients[i]));
  return toFloats(b, addi(b, toBits(b, power), shl(b, toBits(b, rounded), 23)));
}

Value KernelBuilder::exp2(Value x) {
  x = larger(x, splat(-126.0f));
  Value rounder = splat(kRounder), rounded = addf(x, rounder);
  return powerOfTwo(*this, rounded, subf(x, subf(rounded, rounder)));
}

Value KernelBuilder::exp(Value x) {
  x = larger(x, splat(-87.0f));
  Value rounder = splat(kRounder), perUnit = splat(1.44269504f), rounded = fma(x, perUnit, rounder);
  return powerOfTwo(*this, rounded, fma(x, perUnit, subf(rounder, rounded)));
}

Value KernelBuilder::swiglu(Value gate, Value up) {
  Value negated = smaller(arith::NegFOp::create(*this, gate), splat(87.0f));
  return mulf(divf(gate, addf(splat(1.0f), exp(negated))), up);
}

Value KernelBuilder::largest(Value vector) {
  for (int64_t half = kLanes / 2; half; half /= 2) {
    auto part = [&](int64_t first) -> Value {
      return vector::ExtractStridedSliceOp::create(*this, vector, ArrayRef(first), ArrayRef(half), ArrayRef<int64_t>(1));
    };
    vector = maxf(part(0), part(half));
  }
  return vector::ExtractOp::create(*this, vector, ArrayRef<int64_t>{0});
}

Value KernelBuilder::load(Value memory, Value at) {
  Type element = cast<MemRefType>(memory.getType()).getElementType();
  Value raw = vector::LoadOp::create(*this, lanes(element), memory, ValueRange{at});
  return element.isF32() ? raw : arith::ExtFOp::create(*this, lanes(getF32Type()), raw).getResult();
}

Value KernelBuilder::round(Value vector, Type element) {
  if (machine.bf16Dot || !element.isBF16())
    return arith::TruncFOp::create(*this, lanes(element), vector);
  Value bits = toBits(*this, vector), odd = andi(*this, shru(*this, bits, 16), 1);
  Value sum = addi(*this, addi(*this, bits, words(*this, 0x7fff)), odd);
  Value nan = arith::CmpFOp::create(*this, arith::CmpFPredicate::UNO, vector, vector);
  Value kept = arith::SelectOp::create(*this, nan, words(*this, 0x7fc00000), sum);
  Value half = arith::TruncIOp::create(*this, lanes(getI16Type()), shru(*this, kept, 16));
  return vector::BitCastOp::create(*this, lanes(element), half);
}

void KernelBuilder::store(Value vector, Value memory, Value at) {
  Type element = cast<MemRefType>(memory.getType()).getElementType();
  if (!element.isF32())
    vector = round(vector, element);
  vector::StoreOp::create(*this, vector, memory, ValueRange{at});
}

void KernelBuilder::callShared(StringRef name, ValueRange operands,
                               llvm::function_ref<void(KernelBuilder &, ValueRange)> body) {
  auto function = module.lookupSymbol<func::FuncOp>(name);
  if (!function) {
    KernelBuilder b(getLoc(), getContext());
    b.module = module, b.machine = machine;
    b.setInsertionPointToEnd(module.getBody());
    function = func::FuncOp::create(b, name, b.getFunctionType(operands.getTypes(), {}));
    function.setPrivate();
    function->setAttr("passthrough", b.getStrArrayAttr({"noinline"}));
    b.setInsertionPointToStart(function.addEntryBlock());
    body(b, function.getArguments());
    func::ReturnOp::create(b);
  }
  func::CallOp::create(*this, function, operands);
}
