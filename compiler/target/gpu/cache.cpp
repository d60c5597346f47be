#include "compiler/target/gpu/cache.h"

#include "compiler/target/gpu/code_values.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::gpu {

CacheHead cacheHead(KernelBuilder &b, CacheType type, Value slot, Value head) {
  Value capacity = b.field(StepField::CacheCapacity, b.getIndexType());
  auto [keys, values] = b.cachePlanes(type, slot, head);
  return {{b, type, keys, capacity}, {b, type, values, capacity}};
}

CachePlane::CachePlane(KernelBuilder &b, CacheType type, Value start, Value capacity)
    : dim(type.getDim()), quant(type.getQuant()), start(start) {
  bytes = b.field(StepField::Cache, b.flat(b.getI8Type()));
  if (!quant) {
    memory = b.view(bytes, b.index(0), type.getElementType());
    return;
  }
  words = b.view(bytes, b.index(0), b.getI32Type());
  scales = b.view(bytes, b.index(0), quant.getScale());
  Value scalesAt = b.add(start, b.mul(capacity, dim * quant.codeBits() / 8));
  firstWord = b.div(start, 4);
  firstScale = b.div(scalesAt, quant.scaleBytes());
  firstZero = b.add(scalesAt, b.mul(capacity, groups() * quant.scaleBytes()));
}

/// Word of the codes of a position from a column on.
Value CachePlane::codeWord(KernelBuilder &b, Value position, Value column) const {
  int64_t perWord = 32 / quant.codeBits();
  return b.add(b.add(firstWord, b.mul(position, dim / perWord)), b.div(column, perWord));
}

/// Number of a column's group of the plane.
Value CachePlane::group(KernelBuilder &b, Value position, Value column) const {
  return b.add(b.mul(position, groups()), b.div(column, quant.groupColumns(dim)));
}

//===-- Reading ---------------------------------------------------------------------------------------------------===//

Value CachePlane::load(KernelBuilder &b, Value position, Value column) const {
  if (!quant)
    return b.load(memory, b.add(place(b, position), column), kPiece);
  int64_t bits = quant.codeBits(), count = bits * kPiece / 32;
  bool integer = quant.getStorage().isSignlessInteger();
  Value raw = vector::LoadOp::create(b, b.vectorOf(count, b.getI32Type()), words, ValueRange{codeWord(b, position, column)}, false,
                                     llvm::MaybeAlign(4 * count));
  Value which = group(b, position, column), scale = b.load(scales, b.add(firstScale, which));
  Value codes = !integer ? e4m3ToFloat(b, raw) : integersToFloat(b, raw, bits, 0, bits == 8 ? 128 : 0);
  if (quant.getZeroPoints()) {
    Value zero = arith::ExtUIOp::create(b, b.getI32Type(), b.loadScalar(bytes, b.add(firstZero, which)));
    Value number = arith::UIToFPOp::create(b, b.getF32Type(), zero);
    codes = b.subf(codes, b.splat(number, kPiece));
  }
  return b.mulf(codes, b.splat(integer ? scale : b.mulf(scale, b.f32(kE4M3Factor)), kPiece));
}

Value CachePlane::loadBF16(KernelBuilder &b, Value position, Value column) const {
  if (!quant && cast<MemRefType>(memory.getType()).getElementType().isBF16())
    return b.loadRaw(memory, b.add(place(b, position), column));
  return arith::TruncFOp::create(b, b.vectorOf(kPiece, b.getBF16Type()), load(b, position, column));
}

//===-- Writing ---------------------------------------------------------------------------------------------------===//

namespace {

Value allWords(KernelBuilder &b, uint32_t value) {
  return arith::ConstantOp::create(b, DenseElementsAttr::get(b.vectorOf(kPiece, b.getI32Type()), APInt(32, value)));
}
Value toBits(KernelBuilder &b, Value x) { return vector::BitCastOp::create(b, b.vectorOf(kPiece, b.getI32Type()), x); }
Value floats(KernelBuilder &b, Value bits) { return vector::BitCastOp::create(b, b.floats(kPiece), bits); }

/// The integers nearest to f32 of less than 2^22, ties to even: the last place of 1.5 * 2^23 is 1, the addition rounds.
Value roundToInteger(KernelBuilder &b, Value x) {
  Value sum = b.addf(x, b.splat(b.f32(12582912), kPiece));
  return arith::SubIOp::create(b, toBits(b, sum), allWords(b, 0x4b400000));
}

Value clamp(KernelBuilder &b, Value x, int32_t low, int32_t high) {
  Value most = arith::MinSIOp::create(b, x, allWords(b, high));
  return arith::MaxSIOp::create(b, most, allWords(b, low));
}

/// f32 of magnitude at most 448 to e4m3 (dialects/quantization/codes.h).
Value toE4M3(KernelBuilder &b, Value x) {
  auto both = [&](Value bits, uint32_t mask) -> Value { return arith::AndIOp::create(b, bits, allWords(b, mask)); };
  auto down = [&](Value bits, uint32_t by) -> Value { return arith::ShRUIOp::create(b, bits, allWords(b, by)); };
  Value bits = toBits(b, x), magnitude = both(bits, 0x7fffffff);
  // 2^14 has the last place 2^-9, the step of the subnormals.
  Value sum = toBits(b, b.addf(floats(b, magnitude), b.splat(b.f32(16384), kPiece)));
  Value subnormal = arith::SubIOp::create(b, sum, allWords(b, 0x46800000));
  Value rounding = arith::AddIOp::create(b, allWords(b, 0x7ffff - (120u << 23)), both(down(magnitude, 20), 1));
  Value normal = down(arith::AddIOp::create(b, magnitude, rounding), 20);
  normal = arith::MinUIOp::create(b, normal, allWords(b, 0x7e));
  Value small = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, magnitude, allWords(b, 0x3c800000));
  Value code = arith::SelectOp::create(b, small, subnormal, normal);
  return arith::OrIOp::create(b, code, both(down(bits, 24), 0x80));
}

/// The words of 8 codes: bytes, or nibbles of which byte i has codes i and 4 + i.
Value packCodes(KernelBuilder &b, Value codes, int64_t bits) {
  SmallVector<uint32_t> places;
  for (int64_t i = 0; i < kPiece; ++i)
    places.push_back(i % 4 * 8 + (bits == 4 ? i / 4 * 4 : 0));
  Value by = arith::ConstantOp::create(b, DenseElementsAttr::get(b.vectorOf(kPiece, b.getI32Type()), ArrayRef<uint32_t>(places)));
  Value placed = arith::ShLIOp::create(b, codes, by);
  SmallVector<Value> result;
  for (int64_t word = 0, n = bits * kPiece / 32; word < n; ++word) {
    int64_t each = kPiece / n;
    auto order = llvm::to_vector(llvm::seq(word * each, (word + 1) * each));
    Value part = vector::ShuffleOp::create(b, placed, placed, order);
    result.push_back(vector::ReductionOp::create(b, vector::CombiningKind::OR, part));
  }
  return vector::FromElementsOp::create(b, b.vectorOf(result.size(), b.getI32Type()), result);
}

} // namespace

void CachePlane::quantize(KernelBuilder &b, Value position, llvm::function_ref<Value(Value)> piece) const {
  using Reduction = KernelBuilder::Reduction;
  int64_t pieces = dim / kPiece, bits = quant.codeBits(), columns = quant.groupColumns(dim);
  int64_t lanes = columns == dim ? 0 : columns / kPiece; // of a group; 0: all, those behind the last piece repeat it
  bool zeroPoints = quant.getZeroPoints(), integer = quant.getStorage().isSignlessInteger();
  Value mine = b.less(b.lane, b.index(pieces)), column = b.mul(b.min(b.lane, b.index(pieces - 1)), kPiece);
  Value x = piece(column), none = b.f32(0);
  auto most = [&](Value v) {
    Value largest = vector::ReductionOp::create(b, vector::CombiningKind::MAXNUMF, v);
    return b.reduce(Reduction::MAXNUMF, b.maxf(largest, none), lanes);
  };
  Value high = most(x), minusLow = most(arith::NegFOp::create(b, x));
  Value range = zeroPoints ? b.divf(b.addf(high, minusLow), b.f32(15)) : b.divf(b.maxf(high, minusLow), b.f32(integer ? 127 : 448));
  bool wide = quant.getScale().isF32();
  Value stored = wide ? range : arith::TruncFOp::create(b, quant.getScale(), range).getResult();
  Value scale = wide ? range : arith::ExtFOp::create(b, b.getF32Type(), stored).getResult();
  Value positive = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, scale, none);
  Value inverse = b.select(positive, b.divf(b.f32(1), scale), none);
  Value scaled = b.mulf(x, b.splat(inverse, kPiece)), zero, codes;
  if (zeroPoints) {
    zero = clamp(b, roundToInteger(b, b.splat(b.mulf(minusLow, inverse), kPiece)), 0, 15);
    codes = clamp(b, arith::AddIOp::create(b, roundToInteger(b, scaled), zero), 0, 15);
  } else {
    codes = integer ? arith::AddIOp::create(b, clamp(b, roundToInteger(b, scaled), -127, 127), allWords(b, 128)).getResult()
                    : toE4M3(b, scaled);
  }
  Value packed = packCodes(b, codes, bits);
  b.when(mine, [&] {
    vector::StoreOp::create(b, packed, words, ValueRange{codeWord(b, position, column)}, false, llvm::MaybeAlign(bits * kPiece / 8));
    b.when(b.equal(b.rem(b.lane, lanes ? lanes : b.device.subgroupSize), b.index(0)), [&] {
      Value which = group(b, position, column);
      b.storeScalar(stored, scales, b.add(firstScale, which));
      if (zeroPoints)
        b.storeScalar(arith::TruncIOp::create(b, b.getI8Type(), b.extract(zero, 0)), bytes, b.add(firstZero, which));
    });
  });
}

} // namespace qwench::gpu
