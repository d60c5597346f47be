#include "compiler/target/gpu/weight_panel.h"

#include "dialects/quantization/type.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::gpu {

//===-- Codes to floats -------------------------------------------------------------------------------------------===//

namespace {

Value constantWords(KernelBuilder &b, llvm::function_ref<uint32_t(int64_t)> value, int64_t n) {
  SmallVector<uint32_t> values;
  for (int64_t i = 0; i < n; ++i)
    values.push_back(value(i));
  return arith::ConstantOp::create(b, DenseElementsAttr::get(b.vectorOf(n, b.getI32Type()), ArrayRef<uint32_t>(values)));
}

Value constantFloats(KernelBuilder &b, llvm::function_ref<double(int64_t)> value, int64_t n) {
  SmallVector<float> values;
  for (int64_t i = 0; i < n; ++i)
    values.push_back(static_cast<float>(value(i)));
  return arith::ConstantOp::create(b, DenseElementsAttr::get(b.floats(n), ArrayRef<float>(values)));
}

Value words(KernelBuilder &b, uint32_t value, int64_t n) {
  return constantWords(b, [=](int64_t) { return value; }, n);
}

/// The bits of a vector as floats of a 16-bit type, in f32.
Value extend(KernelBuilder &b, Value bits, Type element) {
  auto type = cast<VectorType>(bits.getType());
  int64_t n = type.getNumElements() * type.getElementTypeBitWidth() / 16;
  Value floats = vector::BitCastOp::create(b, b.vectorOf(n, element), bits);
  return arith::ExtFOp::create(b, b.floats(n), floats);
}

/// f32 of halves in words: the low ones and the high ones of each.
Value halvesToFloat(KernelBuilder &b, Value halves) { return extend(b, halves, b.getF16Type()); }

Value shuffle(KernelBuilder &b, Value x, Value y, ArrayRef<int64_t> order) { return vector::ShuffleOp::create(b, x, y, order); }

/// e2m1 codes in nibbles of bytes as f32 times 2^-14: sign, exponent and mantissa stand in a half's as a number 2^14 times
/// too small, subnormals too.
Value e2m1ToFloat(KernelBuilder &b, Value pair, int64_t nibble) {
  // Of each word the halves are made of bytes 0 and 2, then of 1 and 3; a code goes to bits 9 to 11 (its sign to 15) of its half.
  auto halves = [&](int64_t byte) {
    auto moved = [&](int64_t from, int64_t to, uint32_t mask) -> Value {
      Value by = words(b, std::abs(to - from), 2), shifted = pair;
      if (to > from)
        shifted = arith::ShLIOp::create(b, pair, by);
      else if (to < from)
        shifted = arith::ShRUIOp::create(b, pair, by);
      return arith::AndIOp::create(b, shifted, words(b, mask, 2));
    };
    int64_t first = 8 * byte + 4 * nibble;
    return halvesToFloat(b, arith::OrIOp::create(b, moved(first, 9, 0x0e000e00), moved(first + 3, 15, 0x80008000)));
  };
  return shuffle(b, halves(0), halves(1), {0, 4, 1, 5, 2, 6, 3, 7});
}

} // namespace

Value integersToFloat(KernelBuilder &b, Value pair, int64_t bits, int64_t nibble, double bias) {
  // A code at bit p of the mantissa of 2^(23 - p) is 2^(23 - p) + code: one operation puts it there, one subtracts.
  // Bytes 0 and 1 of a word stay in their place, bytes 2 and 3 are moved down first.
  bool one = cast<VectorType>(pair.getType()).getNumElements() == 1;
  auto place = [&](int64_t i) { return i % 2 * 8 + (bits == 4 ? 4 * (one ? i / 4 : nibble) : 0); };
  uint32_t mask = (1u << bits) - 1;
  int64_t other = one ? 0 : 1;
  Value spread = shuffle(b, pair, pair, {0, 0, 0, 0, other, other, other, other});
  Value low = arith::ShRUIOp::create(b, spread, constantWords(b, [](int64_t i) { return i % 4 / 2 * 16; }, kPiece));
  Value code = arith::AndIOp::create(b, low, constantWords(b, [&](int64_t i) { return mask << place(i); }, kPiece));
  Value magic = constantWords(b, [&](int64_t i) { return uint32_t(127 + 23 - place(i)) << 23; }, kPiece);
  Value number = vector::BitCastOp::create(b, b.floats(kPiece), arith::OrIOp::create(b, code, magic));
  return b.subf(number, constantFloats(b, [&](int64_t i) { return double(1 << (23 - place(i))) + bias; }, kPiece));
}

Value e4m3ToFloat(KernelBuilder &b, Value pair) {
  // Sign, exponent and mantissa stand in a half's as a number 2^8 times too small, subnormals too.
  auto halves = [&](Value high) { // codes in the upper bytes
    Value sign = arith::AndIOp::create(b, high, words(b, 0x80008000, 2));
    Value rest = arith::AndIOp::create(b, arith::ShRUIOp::create(b, high, words(b, 1, 2)), words(b, 0x3f803f80, 2));
    return halvesToFloat(b, arith::OrIOp::create(b, sign, rest));
  };
  Value even = halves(arith::ShLIOp::create(b, pair, words(b, 8, 2))), odd = halves(pair);
  return shuffle(b, even, odd, {0, 4, 1, 5, 2, 6, 3, 7});
}

Value scalesToFloat(KernelBuilder &b, Value bytes, Type scale) {
  int64_t n = cast<VectorType>(bytes.getType()).getNumElements() * 8 / scale.getIntOrFloatBitWidth();
  if (scale.isF32())
    return vector::BitCastOp::create(b, b.floats(n), bytes);
  if (scale.isF16() || scale.isBF16())
    return extend(b, bytes, scale);
  Value wide = arith::ExtUIOp::create(b, b.vectorOf(n, b.getI32Type()), bytes);
  if (isa<Float8E8M0FNUType>(scale)) // the exponent of an f32; 2^-127 becomes 0
    return vector::BitCastOp::create(b, b.floats(n), arith::ShLIOp::create(b, wide, words(b, 23, n)));
  // e4m3 scales have no sign.
  Type i16 = b.getI16Type();
  Value half = arith::TruncIOp::create(b, b.vectorOf(n, i16), arith::ShLIOp::create(b, wide, words(b, 7, n)));
  return b.mulf(extend(b, half, b.getF16Type()), b.splat(b.f32(256), n));
}

//===-- Panels ----------------------------------------------------------------------------------------------------===//

LayoutAttr WeightPanel::layout(QuantType type, bool pairHalves) {
  int64_t align = std::max<int64_t>(type.getGroup(), 16);
  return LayoutAttr::get(type.getContext(), "planes", rowsOf(type), kPiece, align, pairHalves);
}

WeightPanel::WeightPanel(KernelBuilder &b, const PackedWeight &weight)
    : type(weight.quant()), pairHalves(weight.layout.getPairHalves()), stride(weight.panelStride()),
      parts(quantization::panelParts(quantization::formatOf(type), rows(), weight.layout.paddedInputs(weight.inputs()), true)),
      memory(weight.memory), memoryWords(b.view(memory, b.index(0), b.getI32Type())) {
  outputs = pairHalves ? weight.outputs() / 2 : weight.outputs();
}

/// The bytes of group `group` of a part that begins `part` bytes behind the panel's start: read as words if they are whole ones.
Value WeightPanel::group(KernelBuilder &b, Value start, Value group, int64_t part, int64_t bytes) const {
  auto type = b.vectorOf(bytes, b.getI8Type());
  if (bytes % 4) {
    Value at = b.add(b.add(b.mul(start, 4), part), b.mul(group, bytes));
    return vector::LoadOp::create(b, type, memory, ValueRange{at}, false, llvm::MaybeAlign(bytes));
  }
  Value at = b.add(b.add(start, part / 4), b.mul(group, bytes / 4));
  Value raw = vector::LoadOp::create(b, b.vectorOf(bytes / 4, b.getI32Type()), memoryWords, ValueRange{at}, false,
                                     llvm::MaybeAlign(bytes));
  return vector::BitCastOp::create(b, type, raw);
}

SmallVector<Value> WeightPanel::load(KernelBuilder &b, Value start, Value column) const {
  Values loaded;
  Value at = b.add(start, b.div(column, kPiece / 4)); // 4 words are 8 columns
  loaded.push_back(vector::LoadOp::create(b, b.vectorOf(4, b.getI32Type()), memoryWords, ValueRange{at}, false, llvm::MaybeAlign(16)));
  if (type.getGroup() == 0)
    return loaded;
  Value which = b.div(column, type.getGroup());
  loaded.push_back(group(b, start, which, parts.scales, parts.scalesStride));
  if (type.getZeroPoints())
    loaded.push_back(group(b, start, which, parts.zeros, parts.zerosStride));
  return loaded;
}

double WeightPanel::codeFactor() const {
  return isa<Float4E2M1FNType>(type.getStorage()) ? 0x1p14 : isa<Float8E4M3FNType>(type.getStorage()) ? kE4M3Factor : 1;
}

SmallVector<Value> WeightPanel::codes(KernelBuilder &b, ValueRange loaded) const {
  int64_t bits = type.codeBits();
  double bias = type.getZeroPoints() ? 0 : 1 << (bits - 1);
  Values result, zeros;
  if (type.getZeroPoints()) {
    Value wide = arith::ExtUIOp::create(b, b.vectorOf(rows(), b.getI32Type()), loaded[2]);
    zeros = extractAll(b, arith::UIToFPOp::create(b, b.floats(rows()), wide));
  }
  for (int64_t row = 0; row < rows(); ++row) {
    // A step of 4-bit codes holds rows 0 and 1 in its low nibbles, 2 and 3 in the high ones.
    int64_t half = row % 2, nibble = row / 2;
    Value pair = shuffle(b, loaded[0], loaded[0], {2 * half, 2 * half + 1});
    Value code = isa<Float8E4M3FNType>(type.getStorage())   ? e4m3ToFloat(b, pair)
                 : isa<Float4E2M1FNType>(type.getStorage()) ? e2m1ToFloat(b, pair, nibble)
                                                            : integersToFloat(b, pair, bits, nibble, bias);
    result.push_back(zeros.empty() ? code : b.subf(code, b.splat(zeros[row], kPiece)));
  }
  return result;
}

SmallVector<Value> WeightPanel::extractAll(KernelBuilder &b, Value vector) const {
  Values elements;
  for (int64_t i = 0; i < rows(); ++i)
    elements.push_back(b.extract(vector, i));
  return elements;
}

SmallVector<Value> WeightPanel::scales(KernelBuilder &b, ValueRange loaded) const {
  if (type.getGroup() == 0)
    return {};
  Value scales = scalesToFloat(b, loaded[1], type.getScale());
  if (codeFactor() != 1)
    scales = b.mulf(scales, b.splat(b.f32(codeFactor()), rows()));
  return extractAll(b, scales);
}

SmallVector<Value> WeightPanel::values(KernelBuilder &b, ValueRange loaded) const {
  Values result = codes(b, loaded), factors = scales(b, loaded);
  for (auto [value, factor] : llvm::zip(result, factors))
    value = b.mulf(value, b.splat(factor, kPiece));
  return result;
}

SmallVector<Value> WeightPanel::rowScales(KernelBuilder &b, Value start) const {
  if (!hasRowScales(type))
    return {};
  Value scales = scalesToFloat(b, group(b, start, b.index(0), parts.rowScales, 4 * rows()), b.getF32Type());
  if (type.getGroup() == 0 && codeFactor() != 1)
    scales = b.mulf(scales, b.splat(b.f32(codeFactor()), rows()));
  return extractAll(b, scales);
}

Value WeightPanel::rowScale(KernelBuilder &b, Value matrix, Value row) const {
  auto [panel, lane] = place(b, row);
  Value at = b.add(b.add(start(b, matrix, panel), parts.rowScales / 4), lane);
  Value scale = b.loadScalar(b.view(memory, b.index(0), b.getF32Type()), at);
  return type.getGroup() == 0 && codeFactor() != 1 ? b.mulf(scale, b.f32(codeFactor())) : scale;
}

std::pair<Value, Value> WeightPanel::place(KernelBuilder &b, Value row) const {
  if (!pairHalves)
    return {b.div(row, rows()), b.rem(row, rows())};
  Value half = b.div(row, outputs), inHalf = b.rem(row, outputs), perHalf = b.index(rows() / 2);
  return {b.div(inHalf, rows() / 2), b.add(b.mul(half, perHalf), b.rem(inHalf, rows() / 2))};
}

} // namespace qwench::gpu
