// Blocks of a quantized cache become f32, once for all query vectors of a tile.
#include "compiler/target/x86/cache.h"
#include "compiler/target/x86/integers.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;
using namespace qwench::qwen;

int64_t CacheReader::scratchBytes(CacheType type) {
  CacheBlock layout(type);
  return (2 * layout.groups + layout.dim) * kKeyBlock * 4;
}

CacheReader::CacheReader(KernelBuilder &b, CacheType type, int64_t scratchAt) : layout(type) {
  int64_t stats = layout.groups * kKeyBlock * 4;
  scales = b.scratchAt(scratchAt, b.getF32Type());
  offsets = b.scratchAt(scratchAt + stats, b.getF32Type());
  block = b.scratchAt(scratchAt + 2 * stats, b.getF32Type());
  cacheWords = b.view(b.field(StepField::Cache, b.flat(b.getI8Type())), b.index(0), b.getI32Type());
}

void CacheReader::readScales(KernelBuilder &b, Value start) {
  Value bytes = b.field(StepField::Cache, b.flat(b.getI8Type()));
  Value stored = b.view(bytes, b.add(start, layout.scalesAt), layout.quant.getScale());
  b.loop(layout.groups * kKeyBlock, kLanes, [&](Value i) {
    Value scale = b.load(stored, i), zero;
    b.store(scale, scales, i);
    if (layout.quant.getZeroPoints()) {
      Value raw = vector::LoadOp::create(b, b.lanes(b.getI8Type()), bytes, ValueRange{b.add(b.add(start, layout.zerosAt), i)});
      zero = convert(b, arith::ExtUIOp::create(b, wordVector(b), raw));
    } else if (layout.quant.getStorage().isSignlessInteger(8)) {
      zero = b.splat(128.0f);
    } else {
      return;
    }
    b.store(arith::NegFOp::create(b, b.mulf(zero, scale)), offsets, i);
  });
}

Value CacheReader::decode(KernelBuilder &b, Value words, int64_t shift) {
  Value code = shru(b, words, shift);
  if (shift + layout.bits < 32)
    code = andi(b, code, (1u << layout.bits) - 1);
  if (layout.quant.getStorage().isSignlessInteger())
    return convert(b, code);
  // e4m3: exponent and mantissa stand in a float's as a number 2^120 times too small.
  Value magnitude = b.mulf(toFloats(b, shl(b, andi(b, code, 0x7f), 20)), b.splat(0x1p120f));
  return toFloats(b, ori(b, toBits(b, magnitude), shl(b, andi(b, code, 0x80), 24)));
}

Value CacheReader::wordsAt(KernelBuilder &b, Value word) {
  return vector::LoadOp::create(b, wordVector(b), cacheWords, ValueRange{word});
}

/// Whether codes have an offset: code * scale + offset.
static bool hasOffset(const CacheBlock &layout) { return layout.quant.getStorage().isSignlessInteger(); }

Value CacheReader::keys(KernelBuilder &b, const CacheHead &head, Value number) {
  Value start = b.add(head.keys, b.mul(number, layout.bytes)), firstWord = b.div(start, 4);
  readScales(b, start);
  int64_t perWord = 32 / layout.bits, wordsOfGroup = layout.columns / perWord, wordsOfKey = layout.dim / perWord;
  b.loop(kKeyBlock / kLanes, 1, [&](Value part) { // 16 positions
    Value half = b.mul(b.rem(part, kPanel / kLanes), kLanes);
    Value panel = b.add(b.mul(b.div(part, kPanel / kLanes), kPanel * layout.dim), half);
    b.loop(layout.groups, 1, [&](Value group) {
      Value stat = b.add(b.mul(group, kKeyBlock), b.mul(part, kLanes));
      Value scale = b.load(scales, stat), offset = hasOffset(layout) ? b.load(offsets, stat) : Value();
      b.loop(wordsOfGroup, 1, [&](Value w) {
        Value word = b.add(b.mul(group, wordsOfGroup), w);
        Value codes = wordsAt(b, b.add(firstWord, b.mul(b.add(b.mul(part, wordsOfKey), word), kLanes)));
        for (int64_t i = 0; i < perWord; ++i) {
          // Of a word of 4-bit codes, byte i has columns i and 4 + i.
          int64_t shift = layout.bits == 8 ? 8 * i : 8 * (i % 4) + 4 * (i / 4);
          Value code = decode(b, codes, shift), column = b.add(b.mul(word, perWord), i);
          Value key = offset ? b.fma(code, scale, offset) : b.mulf(code, scale);
          b.store(key, block, b.add(panel, b.mul(column, kPanel)));
        }
      });
    });
  });
  return block;
}

Value CacheReader::values(KernelBuilder &b, const CacheHead &head, Value number) {
  Value start = b.add(head.values, b.mul(number, layout.bytes)), firstWord = b.div(start, 4);
  readScales(b, start);
  int64_t halves = 8 / layout.bits, perVector = kLanes * halves, chunks = layout.dim / perVector;
  b.loop(kKeyBlock / 4, 1, [&](Value quad) { // 4 positions
    b.loop(layout.groups, 1, [&](Value group) {
      Value stat = b.add(b.mul(group, kKeyBlock), b.mul(quad, 4));
      SmallVector<Value> scale, offset;
      for (int64_t i = 0; i < 4; ++i) {
        scale.push_back(b.splat(b.loadScalar(scales, b.add(stat, i))));
        offset.push_back(hasOffset(layout) ? b.splat(b.loadScalar(offsets, b.add(stat, i))) : Value());
      }
      // A group of 16 columns is half of a vector of 4-bit codes.
      int64_t vectors = layout.columns / kLanes;
      b.loop(vectors, 1, [&](Value v) {
        Value vector = b.add(b.mul(group, vectors), v), chunk = b.div(vector, halves);
        Value codes = wordsAt(b, b.add(firstWord, b.mul(b.add(b.mul(quad, chunks), chunk), kLanes)));
        if (halves == 2) { // the odd vector is in the high halves
          Value shift = b.splat(b.toI32(b.mul(b.rem(vector, 2), 4)));
          codes = arith::ShRUIOp::create(b, codes, shift);
        }
        for (int64_t i = 0; i < 4; ++i) {
          Value code = decode(b, codes, 8 * i);
          Value value = offset[i] ? b.fma(code, scale[i], offset[i]) : b.mulf(code, scale[i]);
          b.store(value, block, b.add(b.mul(b.add(b.mul(quad, 4), i), layout.dim), b.mul(vector, kLanes)));
        }
      });
    });
  });
  return block;
}
