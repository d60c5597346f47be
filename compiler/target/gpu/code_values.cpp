#include "compiler/target/gpu/code_values.h"

using namespace mlir;

namespace qwench::gpu {

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

/// The same bits of each word, which begin at bit `from`, moved to begin at bit `to`. `mask`: of where they go.
Value moved(KernelBuilder &b, Value in, int64_t from, int64_t to, uint32_t mask) {
  const int64_t n = cast<VectorType>(in.getType()).getNumElements();
  Value by = words(b, std::abs(to - from), n);
  if (to > from)
    in = arith::ShLIOp::create(b, in, by);
  else if (to < from)
    in = arith::ShRUIOp::create(b, in, by);
  return arith::AndIOp::create(b, in, words(b, mask, n));
}

/// Sign and rest of the codes that begin at bit `first` of both halves of each word, `restBits` and above it a sign, as those of
/// floats of 16 bits whose mantissa has `mantissa` bits more than the code's.
Value floatBits(KernelBuilder &b, Value in, int64_t first, int64_t restBits, int64_t mantissa) {
  uint32_t rest = ((1u << restBits) - 1) << mantissa;
  return arith::OrIOp::create(b, moved(b, in, first, mantissa, rest << 16 | rest),
                              moved(b, in, first + restBits, 15, 0x80008000));
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

/// In each half a code's sign, exponent and mantissa stand in those of an f16, as a number 2^8 (e4m3) or 2^14 (e2m1) times too small,
/// subnormals too.
static Value smallFloatsToFloat(KernelBuilder &b, Value pair, int64_t first, int64_t restBits, int64_t mantissa) {
  // Of each word the halves are made of bytes 0 and 2, then of 1 and 3.
  Value even = halvesToFloat(b, floatBits(b, pair, first, restBits, mantissa));
  Value odd = halvesToFloat(b, floatBits(b, pair, first + 8, restBits, mantissa));
  return shuffle(b, even, odd, {0, 4, 1, 5, 2, 6, 3, 7});
}

Value e4m3ToFloat(KernelBuilder &b, Value pair) { return smallFloatsToFloat(b, pair, 0, 7, 7); }

Value e2m1ToFloat(KernelBuilder &b, Value pair, int64_t nibble) { return smallFloatsToFloat(b, pair, 4 * nibble, 3, 9); }

//===-- Pairs of bf16 ---------------------------------------------------------------------------------------------===//

/// The bf16 whose bits of(first) gives of the codes that begin at bit `first` of the words' halves, for both bytes of a half.
static Value pairsOf(KernelBuilder &b, int64_t first, llvm::function_ref<Value(int64_t)> of) {
  Value even = of(first), odd = of(first + 8);
  const bool one = cast<VectorType>(even.getType()).getNumElements() == 1;
  Value words = shuffle(b, even, odd, one ? ArrayRef<int64_t>{0, 1} : ArrayRef<int64_t>{0, 2, 1, 3});
  return vector::BitCastOp::create(b, b.vectorOf(one ? kPiece / 2 : kPiece, b.getBF16Type()), words);
}

static Value timesPower(KernelBuilder &b, Value pairs, double power) {
  auto factor = b.getFloatAttr(b.getBF16Type(), power);
  auto type = cast<VectorType>(pairs.getType());
  return b.mulf(pairs, arith::ConstantOp::create(b, DenseElementsAttr::get(type, factor.getValue())));
}

Value integersToPairs(KernelBuilder &b, Value pair, int64_t bits, int64_t nibble) {
  // Seven bits of a code in the mantissa of 128 are 128 and those bits.
  const uint32_t all = (1u << std::min<int64_t>(bits, 7)) - 1, both = 0x00010001;
  Value low = pairsOf(b, 4 * nibble, [&](int64_t first) -> Value {
    return arith::OrIOp::create(b, moved(b, pair, first, 0, all * both), words(b, 0x4300 * both, 2));
  });
  if (bits < 8)
    return b.subf(low, pairsOf(b, 0, [&](int64_t) { return words(b, 0x4308 * both, 2); })); // 136
  // Without the eighth, 256 is to be subtracted: one bit of bf16 more than 128.
  Value bias = pairsOf(b, 0, [&](int64_t first) -> Value {
    return arith::XOrIOp::create(b, moved(b, pair, first + 7, 7, 0x80 * both), words(b, 0x4380 * both, 2));
  });
  return b.subf(low, bias);
}

/// By so much is a number smaller that has a small float's bits where those of bf16 are, and not those of f16.
constexpr double kBeneathF16 = 0x1p112;

/// The numbers that bf16 has with the bits of small floats.
static Value smallPairs(KernelBuilder &b, Value pair, int64_t first, int64_t restBits, int64_t mantissa) {
  return pairsOf(b, first, [&](int64_t at) { return floatBits(b, pair, at, restBits, mantissa); });
}

Value e4m3ToPairs(KernelBuilder &b, Value pair) { return timesPower(b, smallPairs(b, pair, 0, 7, 4), kBeneathF16); }

Value e2m1ToPairs(KernelBuilder &b, Value pair, int64_t nibble) {
  return timesPower(b, smallPairs(b, pair, 4 * nibble, 3, 6), kBeneathF16);
}

Value e2m1ToPairs(KernelBuilder &b, Value pair, int64_t nibble, Value scales, int64_t which) {
  Value word = vector::BitCastOp::create(b, b.vectorOf(1, b.getI32Type()), scales);
  Value factors = timesPower(b, e4m3ToPairs(b, word), kE4M3Factor * kBeneathF16);
  Value factor = b.extract(factors, llvm::find(kPairOrder, which) - kPairOrder);
  return b.mulf(smallPairs(b, pair, 4 * nibble, 3, 6), b.splat(factor, kPiece));
}

//===-- Scales ----------------------------------------------------------------------------------------------------===//

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

} // namespace qwench::gpu
