// Keys and values go to the cache: rounded to floats, or quantized as QwenDialect.td says.
#include "compiler/target/x86/cache.h"
#include "compiler/target/x86/integers.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;
using namespace qwench::qwen;

CacheHead x86::cacheHead(KernelBuilder &b, CacheType type, Value slot, Value head) {
  CacheHead result;
  result.dim = type.getDim();
  result.depth = type.getElementType().isBF16() ? 2 : 1; // of a quantized one see CacheReader::depth
  bool quantized = static_cast<bool>(type.getQuant());
  Value bytes = b.field(StepField::Cache, b.flat(b.getI8Type()));
  result.memory = quantized ? bytes : b.view(bytes, b.index(0), type.getElementType());
  std::tie(result.keys, result.values) = b.cachePlanes(type, slot, head);
  return result;
}

Value x86::placeOfColumn(KernelBuilder &b, Value column, int64_t depth) {
  return b.add(b.mul(b.div(column, kPanel), kPanel * kKeyBlock), b.mul(b.rem(column, kPanel), depth));
}

CacheBlock::CacheBlock(CacheType type) : quant(type.getQuant()), dim(type.getDim()) {
  columns = quant.groupColumns(dim), groups = dim / columns, bits = quant.codeBits();
  scalesAt = kKeyBlock * dim * bits / 8;
  zerosAt = scalesAt + groups * kKeyBlock * quant.scaleBytes();
  bytes = kKeyBlock * type.vectorBytes();
}

//===-- Floats ----------------------------------------------------------------------------------------------------===//

namespace {

/// One head's key, contiguous in the cache's float type at `source`, into its lane of a panel.
void writeFloatKey(KernelBuilder &b, const CacheHead &head, Value source, Value at, Value position) {
  Value lane = b.mul(b.rem(position, kPanel), head.depth);
  Value target = b.add(b.add(head.keys, b.mul(b.div(position, kPanel), kPanel * head.dim)), lane);
  auto type = VectorType::get({head.depth}, cast<MemRefType>(head.memory.getType()).getElementType());
  b.loop(head.dim / head.depth, 1, [&](Value step) {
    Value group = vector::LoadOp::create(b, type, source, ValueRange{b.add(at, b.mul(step, head.depth))});
    vector::StoreOp::create(b, group, head.memory, ValueRange{b.add(target, b.mul(step, kPanel * head.depth))});
  });
}

/// One head's value, `dim` f32 at `source`. Rows of one step of two positions belong to different tiles: only the row's
/// own lanes are stored, so that no tile writes what another one owns.
void writeFloatValue(KernelBuilder &b, const CacheHead &head, Value source, Value at, Value position) {
  Value block = b.add(head.values, b.mul(b.div(position, kKeyBlock), kKeyBlock * head.dim));
  Value target = b.add(block, b.mul(b.div(b.rem(position, kKeyBlock), head.depth), kPanel * head.depth));
  auto place = [&](Value column) { return b.add(target, placeOfColumn(b, column, head.depth)); };
  if (head.depth == 1) {
    b.loop(head.dim, kLanes, [&](Value i) { b.store(b.load(source, b.add(at, i)), head.memory, place(i)); });
    return;
  }
  // As integers: a CPU without bf16 would convert each lane of a masked store to f32 and back.
  auto pairs = VectorType::get({2 * kLanes}, b.getI16Type());
  Value halves = b.view(b.field(StepField::Cache, b.flat(b.getI8Type())), b.index(0), b.getI16Type());
  Value odd = b.rem(position, 2);
  SmallVector<bool> evenLanes(2 * kLanes), oddLanes(2 * kLanes);
  for (int64_t i = 0; i < 2 * kLanes; ++i)
    (i % 2 ? oddLanes : evenLanes)[i] = true;
  auto maskType = VectorType::get({2 * kLanes}, b.getI1Type());
  auto mask = [&](ArrayRef<bool> lanes) -> Value {
    return arith::ConstantOp::create(b, DenseElementsAttr::get(maskType, lanes));
  };
  Value isOdd = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, odd, b.index(1));
  Value lanes = arith::SelectOp::create(b, isOdd, mask(oddLanes), mask(evenLanes));
  b.loop(head.dim, kLanes, [&](Value i) {
    Value rounded = b.round(b.load(source, b.add(at, i)), b.getBF16Type());
    Value bits = vector::BitCastOp::create(b, VectorType::get({kLanes}, b.getI16Type()), rounded);
    Value low = arith::ExtUIOp::create(b, wordVector(b), bits);
    Value spread = vector::BitCastOp::create(b, pairs, ori(b, low, shl(b, low, 16)));
    vector::MaskedStoreOp::create(b, halves, ValueRange{place(i)}, lanes, spread);
  });
}

//===-- Codes -----------------------------------------------------------------------------------------------------===//

/// f32 of magnitude at most 448 to e4m3 (dialects/quantization/codes.h), in the low byte of each lane.
Value toE4M3(KernelBuilder &b, Value x) {
  Value bits = toBits(b, x), magnitude = andi(b, bits, 0x7fffffff);
  // 2^14 has the last place 2^-9, the step of the subnormals.
  Value subnormal = subi(b, toBits(b, b.addf(toFloats(b, magnitude), b.splat(16384.0f))), words(b, 0x46800000));
  Value normal = addi(b, subi(b, magnitude, words(b, (120u << 23) - 0x7ffff)), andi(b, shru(b, magnitude, 20), 1));
  normal = minu(b, shru(b, normal, 20), words(b, 0x7e));
  Value small = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, magnitude, words(b, 0x3c800000));
  return ori(b, arith::SelectOp::create(b, small, subnormal, normal), andi(b, shru(b, bits, 24), 0x80));
}

Value roundToInteger(KernelBuilder &b, Value x) {
  return arith::FPToSIOp::create(b, wordVector(b), math::RoundEvenOp::create(b, x));
}

Value clamp(KernelBuilder &b, Value x, int32_t low, int32_t high) {
  x = arith::MaxSIOp::create(b, x, words(b, low));
  return arith::MinSIOp::create(b, x, words(b, high));
}

} // namespace

void CacheWriter::quantizeGroup(KernelBuilder &b, Value source, Value at, Value block, Value place, int64_t group) {
  CacheBlock layout(type);
  QuantType quant = layout.quant;
  int64_t first = group * layout.columns, vectors = layout.columns / kLanes;
  bool zeroPoints = quant.getZeroPoints(), integer = quant.getStorage().isSignlessInteger();
  SmallVector<Value> x;
  Value low = b.splat(0.0f), high = b.splat(0.0f);
  for (int64_t v = 0; v < vectors; ++v) {
    x.push_back(b.load(source, b.add(at, first + v * kLanes)));
    high = b.maxf(high, x[v]);
    low = arith::MinNumFOp::create(b, low, x[v]);
  }
  Value most = b.largest(high);
  Value least = vector::ReductionOp::create(b, vector::CombiningKind::MINNUMF, low);
  Value range = zeroPoints ? b.divf(b.subf(most, least), b.f32(15))
                           : b.divf(b.maxf(most, arith::NegFOp::create(b, least)), b.f32(integer ? 127 : 448));
  Value stored = quant.getScale().isF32() ? range : arith::TruncFOp::create(b, quant.getScale(), range).getResult();
  Value scale = quant.getScale().isF32() ? range : arith::ExtFOp::create(b, b.getF32Type(), stored).getResult();
  Value positive = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, scale, b.f32(0));
  Value inverse = arith::SelectOp::create(b, positive, b.divf(b.f32(1), scale), b.f32(0));
  Value scaleMemory = b.view(bytes, b.add(block, layout.scalesAt), quant.getScale());
  b.storeScalar(stored, scaleMemory, b.add(place, group * kKeyBlock));
  Value zero;
  if (zeroPoints) {
    zero = clamp(b, roundToInteger(b, b.splat(b.mulf(arith::NegFOp::create(b, least), inverse))), 0, 15);
    Value byte = arith::TruncIOp::create(b, b.getI8Type(), vector::ExtractOp::create(b, zero, ArrayRef<int64_t>{0}));
    b.storeScalar(byte, bytes, b.add(b.add(block, layout.zerosAt + group * kKeyBlock), place));
  }
  for (int64_t v = 0; v < vectors; ++v) {
    Value scaled = b.mulf(x[v], b.splat(inverse)), code;
    if (zeroPoints)
      code = clamp(b, addi(b, roundToInteger(b, scaled), zero), 0, 15);
    else if (integer)
      code = addi(b, clamp(b, roundToInteger(b, scaled), -127, 127), words(b, 128));
    else
      code = toE4M3(b, scaled);
    Value narrow = arith::TruncIOp::create(b, b.lanes(b.getI8Type()), code);
    vector::StoreOp::create(b, narrow, rounded, ValueRange{b.index(first + v * kLanes)});
  }
}

void CacheWriter::quantize(KernelBuilder &b, Value source, Value at, Value block, Value place) {
  int64_t groups = CacheBlock(type).groups;
  for (int64_t group = 0; group < groups; ++group)
    quantizeGroup(b, source, at, block, place, group);
}

//===-- Vectors ---------------------------------------------------------------------------------------------------===//

CacheWriter::CacheWriter(KernelBuilder &b, CacheType type, int64_t scratchAt) : type(type) {
  bytes = b.field(StepField::Cache, b.flat(b.getI8Type()));
  rounded = b.scratchAt(scratchAt, type.getQuant() ? b.getI8Type() : type.getElementType());
  if (!type.getQuant())
    return;
  codeWords = b.scratchAt(scratchAt, b.getI32Type());
  cacheWords = b.view(bytes, b.index(0), b.getI32Type());
}

void CacheWriter::writeKey(KernelBuilder &b, const CacheHead &head, Value source, Value at, Value position) {
  if (!type.getQuant()) {
    b.loop(head.dim, kLanes, [&](Value i) { b.store(b.load(source, b.add(at, i)), rounded, i); });
    return writeFloatKey(b, head, rounded, b.index(0), position);
  }
  CacheBlock layout(type);
  Value block = b.add(head.keys, b.mul(b.div(position, kKeyBlock), layout.bytes)), place = b.rem(position, kKeyBlock);
  quantize(b, source, at, block, place);
  int64_t wordsOfKey = head.dim * layout.bits / 32;
  Value target = b.add(b.div(block, 4), b.add(b.mul(b.div(place, kLanes), wordsOfKey * kLanes), b.rem(place, kLanes)));
  b.loop(wordsOfKey, 1, [&](Value word) {
    Value codes;
    if (layout.bits == 8) {
      codes = b.loadScalar(codeWords, word);
    } else {
      Value low = b.loadScalar(codeWords, b.mul(word, 2)), high = b.loadScalar(codeWords, b.add(b.mul(word, 2), 1));
      Value four = arith::ConstantOp::create(b, b.getI32IntegerAttr(4));
      codes = arith::OrIOp::create(b, low, arith::ShLIOp::create(b, high, four));
    }
    b.storeScalar(codes, cacheWords, b.add(target, b.mul(word, kLanes)));
  });
}

void CacheWriter::writeValue(KernelBuilder &b, const CacheHead &head, Value source, Value at, Value position) {
  if (!type.getQuant())
    return writeFloatValue(b, head, source, at, position);
  CacheBlock layout(type);
  Value block = b.add(head.values, b.mul(b.div(position, kKeyBlock), layout.bytes)), place = b.rem(position, kKeyBlock);
  quantize(b, source, at, block, place);
  int64_t perWord = kLanes * 8 / layout.bits, chunks = head.dim / perWord; // columns of a vector of words
  Value target = b.add(b.add(block, b.mul(b.div(place, 4), 4 * kLanes)), b.rem(place, 4));
  b.loop(chunks, 1, [&](Value chunk) {
    b.loop(kLanes, 1, [&](Value lane) {
      Value column = b.add(b.mul(chunk, perWord), lane), code = b.loadScalar(rounded, column);
      if (layout.bits == 4) {
        Value four = arith::ConstantOp::create(b, b.getI8IntegerAttr(4));
        Value high = arith::ShLIOp::create(b, b.loadScalar(rounded, b.add(column, kLanes)), four);
        code = arith::OrIOp::create(b, code, high);
      }
      b.storeScalar(code, bytes, b.add(target, b.add(b.mul(chunk, kKeyBlock * kLanes), b.mul(lane, 4))));
    });
  });
}
