#include "compiler/target/gpu/token_keys.h"

#include "runtime/abi/token_weight.h"

using namespace mlir;

namespace qwench::gpu {

Value likeShape(KernelBuilder &b, Value shape, Value scalar) {
  auto type = dyn_cast<VectorType>(shape.getType());
  return type ? b.splat(scalar, type.getNumElements()) : scalar;
}

/// `element` in the shape of a value.
static Type typeLike(KernelBuilder &b, Value shape, Type element) {
  auto type = dyn_cast<VectorType>(shape.getType());
  return type ? Type(b.vectorOf(type.getNumElements(), element)) : element;
}

Value toI64(KernelBuilder &b, Value integer) {
  return arith::ExtSIOp::create(b, typeLike(b, integer, b.getI64Type()), integer);
}

Value consecutive(KernelBuilder &b, Value first) {
  auto type = b.vectorOf(kPiece, first.getType());
  SmallVector<Attribute> numbers;
  for (int64_t i = 0; i < kPiece; ++i)
    numbers.push_back(IntegerAttr::get(first.getType(), i));
  return b.add(b.splat(first, kPiece), arith::ConstantOp::create(b, DenseElementsAttr::get(type, numbers)));
}

/// The bits of a negative float fall where the float rises: all but the sign are turned over. Its own
/// inverse.
static Value turnNegative(KernelBuilder &b, Value bits) {
  Value sign = arith::ShRSIOp::create(b, bits, likeShape(b, bits, b.i32(31)));
  return arith::XOrIOp::create(b, bits, b.both(sign, likeShape(b, bits, b.i32(INT_MAX))));
}

/// How many keys there are of numbers above -infinity, as bits.
constexpr auto kNumbers =
    static_cast<int32_t>(static_cast<uint32_t>(kInfinityKey) - static_cast<uint32_t>(kMinusInfinityKey));

Value tokenKeys(KernelBuilder &b, Value logits, Value firstId, Value candidates) {
  auto all = [&](int32_t value) { return b.splat(b.i32(value), kPiece); };
  Value bits = arith::BitcastOp::create(b, b.vectorOf(kPiece, b.getI32Type()), logits);
  Value keys = turnNegative(b, b.select(b.equal(bits, all(INT_MIN)), all(0), bits)); // -0 is 0
  Value left = b.sub(b.splat(candidates, kPiece), b.add(consecutive(b, firstId), all(1))); // negative of what is no candidate
  Value above = b.sub(keys, all(kMinusInfinityKey + 1)); // of NaN beyond both ends, so that one comparison finds them
  // That of others as well: a condition takes two of the scalar registers that CDNA has few of.
  above = arith::OrIOp::create(b, above, arith::ShRSIOp::create(b, left, all(31)));
  Value number = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, above, all(kNumbers));
  return b.select(number, keys, all(kNoKey));
}

Value logitOfKey(KernelBuilder &b, Value key) {
  return arith::BitcastOp::create(b, typeLike(b, key, b.getF32Type()), turnNegative(b, key));
}

Value TokenWeights::of(KernelBuilder &b, Value logits) const {
  auto all = [&](double value) { return likeShape(b, logits, b.f32(value)); };
  auto toInteger = [&](Value value) {
    return toI64(b, arith::FPToSIOp::create(b, typeLike(b, value, b.getI32Type()), value));
  };
  Value power = b.mulf(b.subf(logits, likeShape(b, logits, top)), likeShape(b, logits, scale));
  power = arith::MinNumFOp::create(b, b.maxf(power, all(kLeastPower)), all(0)); // NaN is the least
  Value whole = b.subf(b.addf(power, all(kWholeNumbers)), all(kWholeNumbers)), x = b.subf(power, whole);
  Value sum = all(kPowerSeries[6]);
  for (int k = 5; k >= 0; --k)
    sum = b.addf(b.mulf(sum, x), all(kPowerSeries[k]));
  Value bits = arith::ConstantOp::create(b, b.getI64IntegerAttr(16));
  Value mantissa = arith::ShLIOp::create(b, toInteger(b.mulf(sum, all(0x1p24))), likeShape(b, logits, bits));
  return arith::ShRUIOp::create(b, mantissa, toInteger(arith::NegFOp::create(b, whole)));
}

} // namespace qwench::gpu
