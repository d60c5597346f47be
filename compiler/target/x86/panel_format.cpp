#include "compiler/target/x86/panel_format.h"

#include "compiler/target/x86/integers.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;

//===-- Format ----------------------------------------------------------------------------------------------------===//

bool x86::hasRowScales(qwen::QuantType type) { return type.getRowScales() || type.getGroup() == 0; }

PanelFormat PanelFormat::of(qwen::QuantType type, int64_t group) {
  PanelFormat f;
  f.bits = type.codeBits();
  f.lookup = isa<Float4E2M1FNType>(type.getStorage());
  f.zeroPoints = type.getZeroPoints();
  f.rowScales = hasRowScales(type);
  f.scale = type.getGroup() == 0 ? Type() : type.getScale();
  f.group = group;
  // What makes every code unsigned: codes of 8 bits are stored plus 128, those of i4 plus 8; twice an e2m1 is at least
  // -12, and a code of i4 less its zero point at least -15. Zero points of 8 bits do not fit a byte so.
  f.bias = f.bits == 8 ? (f.zeroPoints ? 0 : 128) : (f.lookup || f.zeroPoints ? 16 : 8);
  f.factor = f.lookup ? 0.5f : 1.0f;
  return f;
}

PanelFormat PanelFormat::unpacked(MLIRContext *context) const {
  PanelFormat f = *this;
  f.bits = 8;
  f.lookup = f.zeroPoints = f.rowScales = false;
  f.scale = Float32Type::get(context);
  f.factor = 1;
  return f;
}

PanelFormat PanelFormat::unpackedPairs(MLIRContext *context) const {
  PanelFormat f = unpacked(context);
  f.scale = IntegerType::get(context, 16);
  return f;
}

bool PanelFormat::pairsFit(const Machine &machine, int64_t groups, int64_t groupsPerScale) const {
  constexpr int64_t mostCode = 12, mostActivation = 127;
  return machine.int8Dot && lookup && rowScales && scale && isa<Float8E4M3FNType>(scale) && groups % 2 == 0 && groupsPerScale % 2 == 0 &&
         group * mostCode * mostActivation <= INT16_MAX &&
         groupsPerScale * group * mostCode * mostActivation * kMostPairScale <= INT32_MAX;
}

int64_t PanelFormat::codesAt() const {
  return kPanel * ((scale ? scale.getIntOrFloatBitWidth() / 8 : 0) + (zeroPoints ? 1 : 0));
}

std::string PanelFormat::name() const {
  std::string text;
  llvm::raw_string_ostream out(text);
  out << (lookup ? "f4" : bits == 4 ? "i4" : "i8");
  if (bits == 8 && !zeroPoints)
    out << "b" << bias;
  out << ".g" << group;
  if (scale)
    out << "." << scale;
  if (zeroPoints)
    out << ".zeros";
  return text;
}

//===-- Reader ----------------------------------------------------------------------------------------------------===//

float x86::relativeTo(Type scale) { return isa<Float8E4M3FNType>(scale) ? 256 : 1; }

float PanelFormat::sumFactor() const { return factor * (scale ? relativeTo(scale) : 1); }

Value x86::scalesToFloat(KernelBuilder &b, Value raw, Type scale) {
  Value relative = scalesToRelative(b, raw, scale);
  if (relativeTo(scale) == 1)
    return relative;
  return b.mulf(relative, vector::BroadcastOp::create(b, relative.getType(), b.f32(relativeTo(scale))));
}

Value x86::scalesToRelative(KernelBuilder &b, Value raw, Type scale) {
  int64_t lanes = cast<VectorType>(raw.getType()).getNumElements() * 8 / scale.getIntOrFloatBitWidth();
  auto as = [&](Type element) { return VectorType::get({lanes}, element); };
  if (scale.isF32())
    return vector::BitCastOp::create(b, as(scale), raw);
  if (scale.isF16()) {
    Value narrow = vector::BitCastOp::create(b, as(scale), raw);
    return arith::ExtFOp::create(b, as(b.getF32Type()), narrow);
  }
  auto constant = [&](Type element, uint64_t value) { return integers(b, as(element), value); };
  if (scale.isBF16()) { // the upper half of an f32; as a type, LLVM would call functions for it on some CPUs
    Value half = vector::BitCastOp::create(b, as(b.getIntegerType(16)), raw);
    Value wide = arith::ExtUIOp::create(b, as(b.getI32Type()), half);
    Value bits = arith::ShLIOp::create(b, wide, constant(b.getI32Type(), 16));
    return vector::BitCastOp::create(b, as(b.getF32Type()), bits);
  }
  if (isa<Float8E8M0FNUType>(scale)) { // the exponent of an f32
    Value wide = arith::ExtUIOp::create(b, as(b.getI32Type()), raw);
    Value bits = arith::ShLIOp::create(b, wide, constant(b.getI32Type(), 23));
    return vector::BitCastOp::create(b, as(b.getF32Type()), bits);
  }
  // f8E4M3FN: sign, exponent and mantissa stand in a half's as a number 2^8 times too small, subnormals too.
  assert(isa<Float8E4M3FNType>(scale));
  Type i16 = b.getIntegerType(16);
  Value shifted = arith::ShLIOp::create(b, arith::ExtSIOp::create(b, as(i16), raw), constant(i16, 7));
  Value half = vector::BitCastOp::create(b, as(b.getF16Type()), arith::AndIOp::create(b, shifted, constant(i16, 0xbfff)));
  return arith::ExtFOp::create(b, as(b.getF32Type()), half);
}

Value x86::twiceE2M1(KernelBuilder &b, Value codes) {
  auto constant = [&](uint8_t value) { return integers(b, cast<VectorType>(codes.getType()), value); };
  // Twice the magnitudes are 0, 1, 2, 3, 4, 6, 8 and 12: the code, and 1, 2 and 5 more for the last three.
  Value magnitude = arith::AndIOp::create(b, codes, constant(7)), sum = magnitude;
  for (auto [code, more] : {std::pair(5, 1), std::pair(6, 2), std::pair(7, 5)}) {
    Value equal = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, magnitude, constant(code));
    sum = arith::AddIOp::create(b, sum, arith::SelectOp::create(b, equal, constant(more), constant(0)));
  }
  Value negative = arith::CmpIOp::create(b, arith::CmpIPredicate::ugt, codes, constant(7));
  return arith::SelectOp::create(b, negative, arith::SubIOp::create(b, constant(0), sum), sum);
}

Halves PanelReader::scales(Value at) {
  Halves result = relativeScales(at);
  if (format.sumFactor() != 1)
    for (Value &scale : result)
      scale = b.mulf(scale, b.splat(format.sumFactor()));
  return result;
}

Halves PanelReader::relativeScales(Value at) {
  int64_t bytes = kLanes * format.scale.getIntOrFloatBitWidth() / 8;
  Halves result;
  for (int64_t j = 0; j < 2; ++j) {
    Value raw = vector::LoadOp::create(b, VectorType::get({bytes}, b.getI8Type()), memory, ValueRange{b.add(at, j * bytes)});
    result[j] = scalesToRelative(b, raw, format.scale);
  }
  return result;
}

Halves PanelReader::pairScales(Value at) {
  auto load = [&](int64_t half) -> Value {
    auto bytes = VectorType::get({4 * kLanes}, b.getI8Type());
    Value raw = vector::LoadOp::create(b, bytes, memory, ValueRange{b.add(at, half * 4 * kLanes)});
    return vector::BitCastOp::create(b, VectorType::get({2 * kLanes}, b.getIntegerType(16)), raw);
  };
  return {load(0), load(1)};
}

Halves x86::readRowScales(KernelBuilder &b, Value memory, Value at) {
  Halves result;
  for (int64_t j = 0; j < 2; ++j) {
    auto type = VectorType::get({4 * kLanes}, b.getI8Type());
    Value raw = vector::LoadOp::create(b, type, memory, ValueRange{b.add(at, 4 * kLanes * j)});
    result[j] = vector::BitCastOp::create(b, b.lanes(b.getF32Type()), raw);
  }
  return result;
}

Halves PanelReader::zeros(Value at) {
  if (!format.zeroPoints)
    return {};
  Value start = b.add(at, format.codesAt() - kPanel);
  Halves result;
  for (int64_t j = 0; j < 2; ++j) {
    Value raw = vector::LoadOp::create(b, b.lanes(b.getI8Type()), memory, ValueRange{b.add(start, j * kLanes)});
    Value wide = arith::ExtUIOp::create(b, b.lanes(b.getI32Type()), raw);
    if (zerosInStart()) {
      result[j] = wide;
      continue;
    }
    Value four = arith::MulIOp::create(b, wide, words(b, 0x01010101)); // a byte for each column
    auto bytes = VectorType::get({4 * kLanes}, b.getI8Type());
    result[j] = subi(b, vector::BitCastOp::create(b, bytes, four), integers(b, bytes, format.bias));
  }
  return result;
}

Halves PanelReader::step(Value at, const Halves &zeros) {
  auto bytes = VectorType::get({4 * kLanes}, b.getI8Type());
  auto load = [&](Value from) -> Value { return vector::LoadOp::create(b, bytes, memory, ValueRange{from}); };
  if (format.bits == 8)
    return {load(at), load(b.add(at, 4 * kLanes))};
  auto constant = [&](uint8_t value) { return integers(b, bytes, value); };
  Value raw = load(at);
  if (format.lookup && b.machine.byteTable) {
    // An index's bits above the code may be anything; in those of the upper codes a shift of words leaves a neighbour's.
    auto halves = VectorType::get({2 * kLanes}, b.getIntegerType(16));
    Value shifted = arith::ShRUIOp::create(b, vector::BitCastOp::create(b, halves, raw), integers(b, halves, 4));
    return {lookUp(raw), lookUp(vector::BitCastOp::create(b, bytes, shifted))};
  }
  Halves codes = {arith::AndIOp::create(b, raw, constant(15)), arith::ShRUIOp::create(b, raw, constant(4))};
  if (!format.lookup) {
    if (format.zeroPoints)
      for (int64_t j = 0; j < 2; ++j)
        codes[j] = arith::SubIOp::create(b, codes[j], zeros[j]);
    return codes;
  }
  for (Value &code : codes) {
    if (!b.machine.byteShuffle) {
      code = arith::AddIOp::create(b, twiceE2M1(b, code), constant(format.bias));
      continue;
    }
    code = lookUp(code);
  }
  return codes;
}

Value PanelReader::lookUp(Value codes) {
  static constexpr int8_t values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  SmallVector<int8_t> table(4 * kLanes);
  for (size_t i = 0; i < table.size(); ++i)
    table[i] = static_cast<int8_t>(values[i % 16] + format.bias);
  Type bytes = codes.getType();
  Value entries = arith::ConstantOp::create(b, DenseElementsAttr::get(cast<VectorType>(bytes), ArrayRef<int8_t>(table)));
  StringRef intrinsic = b.machine.byteTable ? "llvm.x86.avx512.permvar.qi.512" : "llvm.x86.avx512.pshuf.b.512";
  return LLVM::CallIntrinsicOp::create(b, bytes, b.getStringAttr(intrinsic), ValueRange{entries, codes}).getResult(0);
}

Halves PanelReader::start(Value sum, const Halves &zeros) {
  Value negated = subi(b, b.splat(sum), words(b, kSumOffset));
  auto down = [&](int64_t factor) { return arith::ShRSIOp::create(b, negated, words(b, llvm::Log2_64(factor))).getResult(); };
  if (zerosInStart()) {
    negated = down(kSumFactor);
    return {arith::MulIOp::create(b, negated, zeros[0]), arith::MulIOp::create(b, negated, zeros[1])};
  }
  Value all = format.bias < kSumFactor ? down(kSumFactor / format.bias) : shl(b, negated, llvm::Log2_64(format.bias / kSumFactor));
  return {all, all};
}
