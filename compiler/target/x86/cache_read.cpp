// Blocks of a quantized cache become floats, once for all query vectors of a tile.
#include "compiler/target/x86/cache.h"
#include "compiler/target/x86/integers.h"
#include "compiler/target/x86/micro_kernel.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;
using namespace qwench::qwen;

//===-- Codes -----------------------------------------------------------------------------------------------------===//

CacheCodes::CacheCodes(KernelBuilder &b, CacheType type)
    : layout(type), bytes(b.field(StepField::Cache, b.flat(b.getI8Type()))), words(b.view(bytes, b.index(0), b.getI32Type())) {}

Value CacheCodes::keyBlock(KernelBuilder &b, const CacheHead &head, Value block) const {
  return b.add(head.keys, b.mul(block, layout.bytes));
}

Value CacheCodes::valueBlock(KernelBuilder &b, const CacheHead &head, Value block) const {
  return b.add(head.values, b.mul(block, layout.bytes));
}

Value CacheCodes::keyWords(KernelBuilder &b, Value start, Value part, Value word) const {
  return wordsAt(b, b.add(b.div(start, 4), b.mul(b.add(b.mul(part, wordsPerKey()), word), kLanes)));
}

Value CacheCodes::valueWords(KernelBuilder &b, Value start, Value chunk, Value quad) const {
  return wordsAt(b, b.add(b.div(start, 4), b.mul(b.add(b.mul(chunk, kKeyBlock / 4), quad), kLanes)));
}

Value CacheCodes::wordsAt(KernelBuilder &b, Value word) const {
  prefetchBlock(b, words, word, 4 * kLanes);
  return vector::LoadOp::create(b, wordVector(b), words, ValueRange{word});
}

/// Asks for what lies where `length` bytes at element `at` are, whole blocks further on.
void CacheCodes::prefetchBlock(KernelBuilder &b, Value memory, Value at, int64_t length) const {
  int64_t blocks = llvm::divideCeil(b.machine.fetchCodesAhead, layout.bytes);
  prefetch(b, memory, at, length, blocks * layout.bytes, /*cacheLevel=*/2);
}

Value CacheCodes::scales(KernelBuilder &b, Value start, Value stat) const {
  Value stored = b.view(bytes, b.add(start, layout.scalesAt), layout.quant.getScale());
  prefetchBlock(b, stored, stat, 1);
  return b.load(stored, stat);
}

Value CacheCodes::zeros(KernelBuilder &b, Value start, Value stat) const {
  if (!integers())
    return {};
  if (!layout.quant.getZeroPoints()) // i8 is stored plus 128
    return b.splat(128.0f);
  Value at = b.add(b.add(start, layout.zerosAt), stat);
  prefetchBlock(b, bytes, at, 1);
  Value raw = vector::LoadOp::create(b, b.lanes(b.getI8Type()), bytes, ValueRange{at});
  return convert(b, arith::ExtUIOp::create(b, wordVector(b), raw));
}

Value CacheCodes::decode(KernelBuilder &b, Value words, int64_t shift) const {
  Value code = shru(b, words, shift);
  if (shift + layout.bits < 32)
    code = andi(b, code, (1u << layout.bits) - 1);
  if (integers())
    return convert(b, code);
  // e4m3: exponent and mantissa stand in a float's as a number 2^120 times too small.
  Value magnitude = b.mulf(toFloats(b, shl(b, andi(b, code, 0x7f), 20)), b.splat(0x1p120f));
  return toFloats(b, ori(b, toBits(b, magnitude), shl(b, andi(b, code, 0x80), 24)));
}

CacheScales::CacheScales(KernelBuilder &b, const CacheBlock &layout, int64_t scratchAt)
    : scales(b.scratchAt(scratchAt, b.getF32Type())),
      offsets(b.scratchAt(scratchAt + scratchBytes(layout) / 2, b.getF32Type())) {}

void CacheScales::read(KernelBuilder &b, const CacheCodes &codes, Value start) {
  b.loop(codes.layout.groups * kKeyBlock, kLanes, [&](Value i) {
    Value scale = codes.scales(b, start, i);
    b.store(scale, scales, i);
    if (Value zero = codes.zeros(b, start, i))
      b.store(arith::NegFOp::create(b, b.mulf(zero, scale)), offsets, i);
  });
}

//===-- Blocks as floats ------------------------------------------------------------------------------------------===//

int64_t CacheReader::scratchBytes(CacheType type) {
  CacheBlock layout(type);
  return CacheScales::scratchBytes(layout) + 4 * layout.dim * kKeyBlock;
}

CacheReader::CacheReader(KernelBuilder &b, CacheType type, Type element, int64_t scratchAt)
    : codes(b, type), element(element), scales(b, codes.layout, scratchAt),
      block(b.scratchAt(scratchAt + CacheScales::scratchBytes(codes.layout), element)) {}

Value CacheReader::value(KernelBuilder &b, Value code, Value scale, Value offset) {
  if (element.isF32())
    return offset ? b.fma(code, scale, offset) : b.mulf(code, scale);
  return offset ? roundToBF16(b, b.fma(code, scale, offset)) : productAsBF16(b, code, scale);
}

void CacheReader::storeSteps(KernelBuilder &b, ArrayRef<Value> values, Value at, int64_t stride) {
  for (size_t i = 0; i < values.size(); i += depth()) {
    Value place = b.add(at, static_cast<int64_t>(i) / depth() * stride);
    if (element.isF32())
      b.store(values[i], block, place);
    else
      vector::StoreOp::create(b, pairsOfBF16(b, values[i], values[i + 1]), block, ValueRange{place});
  }
}

Value CacheReader::keys(KernelBuilder &b, const CacheHead &head, Value number) {
  Value start = codes.keyBlock(b, head, number);
  scales.read(b, codes, start);
  const CacheBlock &layout = codes.layout;
  int64_t perWord = codes.codesPerWord(), wordsOfGroup = layout.columns / perWord;
  b.loop(kKeyBlock / kLanes, 1, [&](Value part) { // 16 positions
    Value half = b.mul(b.rem(part, kPanel / kLanes), kLanes * depth());
    Value panel = b.add(b.mul(b.div(part, kPanel / kLanes), kPanel * layout.dim), half);
    b.loop(layout.groups, 1, [&](Value group) {
      Value stat = b.add(b.mul(group, kKeyBlock), b.mul(part, kLanes));
      Value scale = b.load(scales.scales, stat), offset = codes.integers() ? b.load(scales.offsets, stat) : Value();
      b.loop(wordsOfGroup, 1, [&](Value w) {
        Value word = b.add(b.mul(group, wordsOfGroup), w);
        Value words = codes.keyWords(b, start, part, word);
        SmallVector<Value> columns;
        for (int64_t i = 0; i < perWord; ++i)
          columns.push_back(value(b, codes.decode(b, words, codes.keyShift(i)), scale, offset));
        storeSteps(b, columns, b.add(panel, b.mul(word, perWord * kPanel)), kPanel * depth());
      });
    });
  });
  return block;
}

Value CacheReader::values(KernelBuilder &b, const CacheHead &head, Value number) {
  Value start = codes.valueBlock(b, head, number);
  scales.read(b, codes, start);
  const CacheBlock &layout = codes.layout;
  int64_t halves = codes.halves();
  b.loop(kKeyBlock / 4, 1, [&](Value quad) { // 4 positions
    b.loop(layout.groups, 1, [&](Value group) {
      Value stat = b.add(b.mul(group, kKeyBlock), b.mul(quad, 4));
      SmallVector<Value> scale, offset;
      for (int64_t i = 0; i < 4; ++i) {
        scale.push_back(b.splat(b.loadScalar(scales.scales, b.add(stat, i))));
        offset.push_back(codes.integers() ? b.splat(b.loadScalar(scales.offsets, b.add(stat, i))) : Value());
      }
      // A group of 16 columns is half of a vector of 4-bit codes.
      int64_t vectors = layout.columns / kLanes;
      b.loop(vectors, 1, [&](Value v) {
        Value vector = b.add(b.mul(group, vectors), v);
        Value words = codes.valueWords(b, start, b.div(vector, halves), quad);
        if (halves == 2) { // the odd vector is in the high halves
          Value shift = b.splat(b.toI32(b.mul(b.rem(vector, 2), 4)));
          words = arith::ShRUIOp::create(b, words, shift);
        }
        SmallVector<Value> positions;
        for (int64_t i = 0; i < 4; ++i)
          positions.push_back(value(b, codes.decode(b, words, 8 * i), scale[i], offset[i]));
        Value column = b.mul(vector, kLanes);
        storeSteps(b, positions, b.add(b.mul(quad, 4 * kPanel), placeOfColumn(b, column, depth())), kPanel * depth());
      });
    });
  });
  return block;
}
