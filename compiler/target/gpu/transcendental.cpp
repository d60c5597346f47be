// Functions that GPUs have only as approximations or in vendors' libraries, as polynomials in f64. They run a few times
// a row (rope_table), where their cost is nothing.
#include "compiler/target/gpu/kernel_builder.h"

using namespace mlir;

namespace qwench::gpu {

namespace {

/// f64 arithmetic without rounding surprises: no fast-math flags.
class Doubles {
public:
  explicit Doubles(KernelBuilder &b) : b(b) {}

  Value constant(double value) { return arith::ConstantOp::create(b, b.getF64FloatAttr(value)); }
  /// The nearest whole number of a value below 2^50 in magnitude, as f64.
  Value nearest(Value x) {
    Value magic = constant(0x1.8p52);
    return b.subf(b.addf(x, magic), magic);
  }
  /// c[0] + c[1] x + c[2] x^2 + ...
  Value polynomial(Value x, ArrayRef<double> c) {
    Value sum = constant(c.back());
    for (double coefficient : llvm::reverse(c.drop_back()))
      sum = b.fma(sum, x, constant(coefficient));
    return sum;
  }
  Value toI64(Value x) { return arith::FPToSIOp::create(b, b.getI64Type(), x); }
  Value bits(Value x) { return arith::BitcastOp::create(b, b.getI64Type(), x); }
  Value fromBits(Value x) { return arith::BitcastOp::create(b, b.getF64Type(), x); }
  Value integer(int64_t value) { return arith::ConstantOp::create(b, b.getI64IntegerAttr(value)); }

private:
  KernelBuilder &b;
};

/// log2 of a positive, normal x: exponent, and ln of the mantissa in [sqrt(1/2), sqrt(2)) by the series of atanh, whose
/// argument is at most 0.172: 11 terms leave 2e-18.
Value log2(KernelBuilder &b, Value x) {
  Doubles d(b);
  Value bits = d.bits(x);
  Value exponent = arith::SubIOp::create(b, arith::ShRUIOp::create(b, bits, d.integer(52)), d.integer(1023));
  Value fraction = arith::AndIOp::create(b, bits, d.integer((int64_t(1) << 52) - 1));
  Value mantissa = d.fromBits(arith::OrIOp::create(b, fraction, d.integer(int64_t(1023) << 52)));
  Value high = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, mantissa, d.constant(1.4142135623730951));
  mantissa = b.select(high, b.mulf(mantissa, d.constant(0.5)), mantissa);
  Value whole = arith::SIToFPOp::create(b, b.getF64Type(), exponent);
  whole = b.select(high, b.addf(whole, d.constant(1)), whole);
  Value s = b.divf(b.subf(mantissa, d.constant(1)), b.addf(mantissa, d.constant(1)));
  SmallVector<double> series;
  for (int k = 0; k < 11; ++k)
    series.push_back(2.0 / (2 * k + 1) * 1.4426950408889634);
  return b.fma(s, d.polynomial(b.mulf(s, s), series), whole);
}

/// 2^x for |x| < 1000: Taylor's series over half a binade leaves 1e-17.
Value power2(KernelBuilder &b, Value x) {
  Doubles d(b);
  Value whole = d.nearest(x);
  SmallVector<double> series{1};
  for (int k = 1; k <= 13; ++k)
    series.push_back(series.back() * 0.6931471805599453 / k);
  Value fraction = d.polynomial(b.subf(x, whole), series);
  Value exponent = arith::AddIOp::create(b, d.toI64(whole), d.integer(1023));
  return b.mulf(fraction, d.fromBits(arith::ShLIOp::create(b, exponent, d.integer(52))));
}

} // namespace

Value emitPower(KernelBuilder &b, Value base, Value exponent) { return power2(b, b.mulf(log2(b, base), exponent)); }

std::pair<Value, Value> emitSineCosine(KernelBuilder &b, Value angle) {
  Doubles d(b);
  Value x = arith::ExtFOp::create(b, b.getF64Type(), angle);
  Value turns = d.nearest(b.mulf(x, d.constant(0.6366197723675814)));
  // pi / 2 in two parts: the reduced angle is right to 1e-16 for angles up to 2^20.
  Value r = b.fma(turns, d.constant(-1.5707963267948966), x);
  r = b.fma(turns, d.constant(-6.123233995736766e-17), r);
  Value square = b.mulf(r, r);
  Value sine = b.mulf(r, d.polynomial(square, {1.0, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800,
                                               1.0 / 6227020800}));
  Value cosine = d.polynomial(square, {1.0, -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800, 1.0 / 479001600,
                                       -1.0 / 87178291200});
  Value quarter = d.toI64(turns);
  auto bit = [&](Value v, int64_t mask) -> Value {
    Value kept = arith::AndIOp::create(b, v, d.integer(mask));
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, kept, d.integer(0));
  };
  Value odd = bit(quarter, 1), next = arith::AddIOp::create(b, quarter, d.integer(1));
  auto withSign = [&](Value negative, Value v) { return b.select(negative, arith::NegFOp::create(b, v), v); };
  Value s = withSign(bit(quarter, 2), b.select(odd, cosine, sine));
  Value c = withSign(bit(next, 2), b.select(odd, sine, cosine));
  return {arith::TruncFOp::create(b, b.getF32Type(), s), arith::TruncFOp::create(b, b.getF32Type(), c)};
}

} // namespace qwench::gpu
