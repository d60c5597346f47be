// Blocks of a quantized cache become floats, once for all query vectors of a tile; or meet the few query vectors of one row as
// codes, and scales and zero points meet their sums:
//   S = sum over groups of scale * (sum of q * code) + offset * (sum of q)
//   O += sum over positions of (p * scale) * code + (sum of p * offset)
#include "compiler/target/x86/cache.h"
#include "compiler/target/x86/integers.h"
#include "compiler/target/x86/micro_kernel.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;
using namespace qwench::qwen;

int64_t CacheReader::scratchBytes(CacheType type, int64_t vectors) {
  CacheBlock layout(type);
  return 4 * ((2 * layout.groups + layout.dim) * kKeyBlock + vectors * layout.groups * (kKeyBlock + 2 * kLanes));
}

CacheReader::CacheReader(KernelBuilder &b, CacheType type, Type element, int64_t vectors, int64_t scratchAt)
    : layout(type), element(element), vectors(vectors) {
  auto take = [&](int64_t elements, Type element = {}) {
    Value view = b.scratchAt(scratchAt, element ? element : Type(b.getF32Type()));
    scratchAt += 4 * elements;
    return view;
  };
  int64_t stats = layout.groups * kKeyBlock;
  scales = take(stats), offsets = take(stats);
  block = take(layout.dim * kKeyBlock, element);
  scaled = take(vectors * stats);
  querySums = take(vectors * layout.groups * kLanes);
  valueSums = take(vectors * layout.groups * kLanes);
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
  // Unlike a stream that is but multiplied, one of codes that take many instructions each gains on every CPU.
  prefetch(b, cacheWords, word, 4 * kLanes, Machine().fetchAhead);
  return vector::LoadOp::create(b, wordVector(b), cacheWords, ValueRange{word});
}

/// Whether codes have an offset: code * scale + offset.
static bool hasOffset(const CacheBlock &layout) { return layout.quant.getStorage().isSignlessInteger(); }

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
  Value start = b.add(head.keys, b.mul(number, layout.bytes)), firstWord = b.div(start, 4);
  readScales(b, start);
  int64_t perWord = 32 / layout.bits, wordsOfGroup = layout.columns / perWord, wordsOfKey = layout.dim / perWord;
  b.loop(kKeyBlock / kLanes, 1, [&](Value part) { // 16 positions
    Value half = b.mul(b.rem(part, kPanel / kLanes), kLanes * depth());
    Value panel = b.add(b.mul(b.div(part, kPanel / kLanes), kPanel * layout.dim), half);
    b.loop(layout.groups, 1, [&](Value group) {
      Value stat = b.add(b.mul(group, kKeyBlock), b.mul(part, kLanes));
      Value scale = b.load(scales, stat), offset = hasOffset(layout) ? b.load(offsets, stat) : Value();
      b.loop(wordsOfGroup, 1, [&](Value w) {
        Value word = b.add(b.mul(group, wordsOfGroup), w);
        Value codes = wordsAt(b, b.add(firstWord, b.mul(b.add(b.mul(part, wordsOfKey), word), kLanes)));
        SmallVector<Value> columns;
        for (int64_t i = 0; i < perWord; ++i) {
          // Of a word of 4-bit codes, byte i has columns i and 4 + i.
          int64_t shift = layout.bits == 8 ? 8 * i : 8 * (i % 4) + 4 * (i / 4);
          columns.push_back(value(b, decode(b, codes, shift), scale, offset));
        }
        storeSteps(b, columns, b.add(panel, b.mul(word, perWord * kPanel)), kPanel * depth());
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
        SmallVector<Value> positions;
        for (int64_t i = 0; i < 4; ++i)
          positions.push_back(value(b, decode(b, codes, 8 * i), scale[i], offset[i]));
        Value column = b.mul(vector, kLanes);
        storeSteps(b, positions, b.add(b.mul(quad, 4 * kPanel), placeOfColumn(b, column, depth())), kPanel * depth());
      });
    });
  });
  return block;
}

//===-- Products with codes ---------------------------------------------------------------------------------------===//

/// Query vectors whose sums stay in registers beside two vectors of codes.
static constexpr int64_t kVectors = 8;

void CacheReader::sumQueries(KernelBuilder &b, Value queries) {
  if (!hasOffset(layout))
    return;
  b.loop(vectors * layout.groups, 1, [&](Value i) {
    Value first = b.mul(i, layout.columns), sum = b.splat(0.0f);
    for (int64_t c = 0; c < layout.columns; c += kLanes)
      sum = b.addf(sum, b.load(queries, b.add(first, c)));
    b.store(b.splat(b.sum(sum)), querySums, b.mul(i, kLanes));
  });
}

void CacheReader::scores(KernelBuilder &b, const CacheHead &head, Value number, Value queries, Value scores) {
  Value start = b.add(head.keys, b.mul(number, layout.bytes));
  readScales(b, start);
  for (int64_t first = 0; first < vectors; first += kVectors)
    scoresOf(b, start, queries, first, std::min(kVectors, vectors - first), scores);
}

/// Scores of query vectors first .. first + count - 1.
void CacheReader::scoresOf(KernelBuilder &b, Value start, Value queries, int64_t first, int64_t count, Value scores) {
  int64_t perWord = 32 / layout.bits, wordsOfGroup = layout.columns / perWord, wordsOfKey = layout.dim / perWord;
  Value firstWord = b.div(start, 4);
  b.loop(kKeyBlock / kLanes, 1, [&](Value part) { // 16 positions
    SmallVector<Value> zeros(count, b.splat(0.0f));
    auto totals = b.loop(b.index(0), b.index(layout.groups), 1, zeros, [&](Value group, ValueRange before) {
      SmallVector<Value> none(2 * count, b.splat(0.0f));
      auto sums = b.loop(b.index(0), b.index(wordsOfGroup), 1, none, [&](Value w, ValueRange accumulators) {
        KernelBuilder::Yield next(accumulators);
        Value word = b.add(b.mul(group, wordsOfGroup), w);
        Value codes = wordsAt(b, b.add(firstWord, b.mul(b.add(b.mul(part, wordsOfKey), word), kLanes)));
        for (int64_t i = 0; i < perWord; ++i) {
          int64_t shift = layout.bits == 8 ? 8 * i : 8 * (i % 4) + 4 * (i / 4);
          Value code = decode(b, codes, shift), column = b.add(b.mul(word, perWord), i);
          for (int64_t r = 0; r < count; ++r) {
            Value q = b.splat(b.loadScalar(queries, b.add(column, (first + r) * layout.dim)));
            Value &sum = next[2 * r + i % 2];
            sum = b.fma(q, code, sum);
          }
        }
        return next;
      });
      KernelBuilder::Yield next(before);
      Value stat = b.add(b.mul(group, kKeyBlock), b.mul(part, kLanes)), scale = b.load(scales, stat);
      for (int64_t r = 0; r < count; ++r) {
        next[r] = b.fma(b.addf(sums[2 * r], sums[2 * r + 1]), scale, next[r]);
        if (hasOffset(layout)) {
          Value sum = b.load(querySums, b.mul(b.add(group, (first + r) * layout.groups), kLanes));
          next[r] = b.fma(sum, b.load(offsets, stat), next[r]);
        }
      }
      return next;
    });
    for (int64_t r = 0; r < count; ++r)
      b.store(totals[r], scores, b.add(b.mul(part, kLanes), (first + r) * kKeyBlock));
  });
}

void CacheReader::addValues(KernelBuilder &b, const CacheHead &head, Value number, Value weights, Value out) {
  Value start = b.add(head.values, b.mul(number, layout.bytes));
  readScales(b, start);
  b.loop(vectors, 1, [&](Value r) {
    b.loop(layout.groups, 1, [&](Value group) {
      Value which = b.add(b.mul(r, layout.groups), group), sum = b.splat(0.0f);
      for (int64_t i = 0; i < kKeyBlock; i += kLanes) {
        Value stat = b.add(b.mul(group, kKeyBlock), i), weight = b.load(weights, b.add(b.mul(r, kKeyBlock), i));
        b.store(b.mulf(weight, b.load(scales, stat)), scaled, b.add(b.mul(which, kKeyBlock), i));
        if (hasOffset(layout))
          sum = b.fma(weight, b.load(offsets, stat), sum);
      }
      if (hasOffset(layout))
        b.store(b.splat(b.sum(sum)), valueSums, b.mul(which, kLanes));
    });
  });
  for (int64_t first = 0; first < vectors; first += kVectors)
    addValuesOf(b, start, first, std::min(kVectors, vectors - first), out);
}

/// Adds to O of query vectors first .. first + count - 1.
void CacheReader::addValuesOf(KernelBuilder &b, Value start, int64_t first, int64_t count, Value out) {
  int64_t halves = 8 / layout.bits, chunkColumns = kLanes * halves, chunks = layout.dim / chunkColumns;
  Value firstWord = b.div(start, 4);
  b.loop(chunks, 1, [&](Value chunk) {
    // A group of 16 columns is half of a chunk of 4-bit codes.
    auto groupOf = [&](int64_t half) { return b.div(b.add(b.mul(chunk, chunkColumns), half * kLanes), layout.columns); };
    auto outAt = [&](int64_t r, int64_t half) {
      return b.add(b.mul(chunk, chunkColumns), (first + r) * layout.dim + half * kLanes);
    };
    SmallVector<Value> before;
    for (int64_t r = 0; r < count; ++r)
      for (int64_t half = 0; half < halves; ++half) {
        Value o = b.load(out, outAt(r, half));
        if (hasOffset(layout))
          o = b.addf(o, b.load(valueSums, b.mul(b.add(groupOf(half), (first + r) * layout.groups), kLanes)));
        before.push_back(o);
      }
    auto sums = b.loop(b.index(0), b.index(kKeyBlock / 4), 1, before, [&](Value quad, ValueRange accumulators) {
      KernelBuilder::Yield next(accumulators);
      Value codes = wordsAt(b, b.add(firstWord, b.mul(b.add(b.mul(quad, chunks), chunk), kLanes)));
      for (int64_t half = 0; half < halves; ++half)
        for (int64_t i = 0; i < 4; ++i) { // positions
          Value code = decode(b, codes, 8 * i + 4 * half);
          for (int64_t r = 0; r < count; ++r) {
            Value which = b.add(groupOf(half), (first + r) * layout.groups);
            Value p = b.splat(b.loadScalar(scaled, b.add(b.mul(which, kKeyBlock), b.add(b.mul(quad, 4), i))));
            Value &sum = next[r * halves + half];
            sum = b.fma(p, code, sum);
          }
        }
      return next;
    });
    for (int64_t r = 0; r < count; ++r)
      for (int64_t half = 0; half < halves; ++half)
        b.store(sums[r * halves + half], out, outAt(r, half));
  });
}
