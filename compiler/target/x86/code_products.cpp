// The few query vectors of one row meet blocks of a quantized cache as codes; scales and zero points meet their sums:
//   S = sum over groups of scale * ((sum of q * code) - zero * (sum of q))
//   O += sum over positions of (p * scale) * code - (sum over positions of p * scale * zero)
// Codes that are integers multiply bytes: q, and p * scale, are then numbers of 16 bits times a unit, in two bytes each. A
// block's products with floats take three times as many instructions and more time than the block takes to come from memory.
#include "compiler/target/x86/cache.h"
#include "compiler/target/x86/group_kernel.h"
#include "compiler/target/x86/integers.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;
using namespace qwench::qwen;

namespace {

/// Accumulators that stay in registers beside codes and their parts, and those of one query vector's scores.
constexpr int64_t kAccumulators = 16, kScoreAccumulators = 2;

/// Buffers in scratch, one behind the other.
struct Scratch {
  KernelBuilder &b;
  int64_t at;

  Value take(int64_t bytes, Type element) {
    Value view = b.scratchAt(at, element);
    at += llvm::alignTo(bytes, 4 * kLanes);
    return view;
  }
  Value floats(int64_t elements) { return take(4 * elements, b.getF32Type()); }
};

/// What both forms have.
class Products : public CodeProducts {
public:
  Products(KernelBuilder &b, CacheType type, int64_t vectors) : codes(b, type), layout(codes.layout), vectors(vectors) {}

  void scores(KernelBuilder &b, const CacheHead &head, Value block, Value scores) final {
    Value start = codes.keyBlock(b, head, block);
    readKeyScales(b, start);
    forVectors(kScoreAccumulators, [&](int64_t first, int64_t count) { scoresOf(b, start, first, count, scores); });
  }

  void addValues(KernelBuilder &b, const CacheHead &head, Value block, Value weights, Value out) final {
    Value start = codes.valueBlock(b, head, block);
    scaleWeights(b, start, weights);
    forVectors(accumulatorsOfValues(), [&](int64_t first, int64_t count) {
      b.loop(codes.chunks(), 1, [&](Value chunk) { addChunk(b, start, chunk, first, count, out); });
    });
  }

protected:
  virtual int64_t accumulatorsOfValues() const = 0; ///< of one query vector and chunk
  virtual void readKeyScales(KernelBuilder &, Value /*start*/) {}
  /// Scores of query vectors first .. first + count - 1.
  virtual void scoresOf(KernelBuilder &b, Value start, int64_t first, int64_t count, Value scores) = 0;
  virtual void scaleWeights(KernelBuilder &b, Value start, Value weights) = 0;
  /// Adds a chunk of columns to O of query vectors first .. first + count - 1.
  virtual void addChunk(KernelBuilder &b, Value start, Value chunk, int64_t first, int64_t count, Value out) = 0;

  void forVectors(int64_t accumulators, llvm::function_ref<void(int64_t first, int64_t count)> body) const {
    int64_t most = std::max<int64_t>(1, kAccumulators / accumulators);
    for (int64_t first = 0; first < vectors; first += most)
      body(first, std::min(most, vectors - first));
  }

  /// Index of a group in [vectors][groups].
  Value groupAt(KernelBuilder &b, int64_t vector, Value group) const { return b.add(group, vector * layout.groups); }
  /// Group of a vector of a chunk's columns: one of 16 columns is half of a chunk of 4-bit codes.
  Value groupOf(KernelBuilder &b, Value chunk, int64_t half) const {
    return b.div(b.add(b.mul(chunk, codes.chunkColumns()), half * kLanes), layout.columns);
  }
  Value outAt(KernelBuilder &b, Value chunk, int64_t vector, int64_t half) const {
    return b.add(b.mul(chunk, codes.chunkColumns()), vector * layout.dim + half * kLanes);
  }

  CacheCodes codes;
  const CacheBlock &layout;
  int64_t vectors;
};

Value splatAt(KernelBuilder &b, Value memory, Value at) { return b.splat(b.loadScalar(memory, at)); }

//===-- Floats ----------------------------------------------------------------------------------------------------===//

class FloatProducts final : public Products {
public:
  FloatProducts(KernelBuilder &b, CacheType type, int64_t vectors, int64_t scratchAt)
      : Products(b, type, vectors), scales(b, layout, scratchAt) {
    Scratch scratch{b, scratchAt + CacheScales::scratchBytes(layout)};
    scaled = scratch.floats(vectors * layout.groups * kKeyBlock);
    querySums = scratch.floats(vectors * layout.groups);
    valueSums = scratch.floats(vectors * layout.groups);
  }
  static int64_t scratchBytes(const CacheBlock &layout, int64_t vectors) {
    int64_t sums = 4 * vectors * layout.groups;
    return CacheScales::scratchBytes(layout) + kKeyBlock * sums + 2 * llvm::alignTo(sums, 4 * kLanes);
  }

  void begin(KernelBuilder &b, Value tileQueries) override {
    queries = tileQueries;
    if (!codes.integers())
      return;
    b.loop(vectors * layout.groups, 1, [&](Value i) {
      Value first = b.mul(i, layout.columns), sum = b.splat(0.0f);
      for (int64_t c = 0; c < layout.columns; c += kLanes)
        sum = b.addf(sum, b.load(queries, b.add(first, c)));
      b.storeScalar(b.sum(sum), querySums, i);
    });
  }

private:
  int64_t accumulatorsOfValues() const override { return codes.halves(); }

  void readKeyScales(KernelBuilder &b, Value start) override { scales.read(b, codes, start); }

  void scoresOf(KernelBuilder &b, Value start, int64_t first, int64_t count, Value scores) override {
    int64_t perWord = codes.codesPerWord(), wordsOfGroup = layout.columns / perWord;
    b.loop(kKeyBlock / kLanes, 1, [&](Value part) { // 16 positions
      SmallVector<Value> zeros(count, b.splat(0.0f));
      auto totals = b.loop(b.index(0), b.index(layout.groups), 1, zeros, [&](Value group, ValueRange before) {
        SmallVector<Value> none(2 * count, b.splat(0.0f));
        auto sums = b.loop(b.index(0), b.index(wordsOfGroup), 1, none, [&](Value w, ValueRange accumulators) {
          KernelBuilder::Yield next(accumulators);
          Value word = b.add(b.mul(group, wordsOfGroup), w), words = codes.keyWords(b, start, part, word);
          for (int64_t i = 0; i < perWord; ++i) {
            Value code = codes.decode(b, words, codes.keyShift(i)), column = b.add(b.mul(word, perWord), i);
            for (int64_t r = 0; r < count; ++r) {
              Value &sum = next[2 * r + i % 2];
              sum = b.fma(splatAt(b, queries, b.add(column, (first + r) * layout.dim)), code, sum);
            }
          }
          return next;
        });
        KernelBuilder::Yield next(before);
        Value stat = b.add(b.mul(group, kKeyBlock), b.mul(part, kLanes)), scale = b.load(scales.scales, stat);
        for (int64_t r = 0; r < count; ++r) {
          next[r] = b.fma(b.addf(sums[2 * r], sums[2 * r + 1]), scale, next[r]);
          if (codes.integers())
            next[r] = b.fma(splatAt(b, querySums, groupAt(b, first + r, group)), b.load(scales.offsets, stat), next[r]);
        }
        return next;
      });
      for (int64_t r = 0; r < count; ++r)
        b.store(totals[r], scores, b.add(b.mul(part, kLanes), (first + r) * kKeyBlock));
    });
  }

  void scaleWeights(KernelBuilder &b, Value start, Value weights) override {
    scales.read(b, codes, start);
    b.loop(vectors, 1, [&](Value r) {
      b.loop(layout.groups, 1, [&](Value group) {
        Value which = b.add(b.mul(r, layout.groups), group), sum = b.splat(0.0f);
        for (int64_t i = 0; i < kKeyBlock; i += kLanes) {
          Value stat = b.add(b.mul(group, kKeyBlock), i), weight = b.load(weights, b.add(b.mul(r, kKeyBlock), i));
          b.store(b.mulf(weight, b.load(scales.scales, stat)), scaled, b.add(b.mul(which, kKeyBlock), i));
          if (codes.integers())
            sum = b.fma(weight, b.load(scales.offsets, stat), sum);
        }
        if (codes.integers())
          b.storeScalar(b.sum(sum), valueSums, which);
      });
    });
  }

  void addChunk(KernelBuilder &b, Value start, Value chunk, int64_t first, int64_t count, Value out) override {
    int64_t halves = codes.halves();
    SmallVector<Value> before;
    for (int64_t r = first; r < first + count; ++r)
      for (int64_t half = 0; half < halves; ++half) {
        before.push_back(b.load(out, outAt(b, chunk, r, half)));
        if (codes.integers())
          before.back() = b.addf(before.back(), splatAt(b, valueSums, groupAt(b, r, groupOf(b, chunk, half))));
      }
    auto sums = b.loop(b.index(0), b.index(kKeyBlock / 4), 1, before, [&](Value quad, ValueRange accumulators) {
      KernelBuilder::Yield next(accumulators);
      Value words = codes.valueWords(b, start, chunk, quad);
      for (int64_t half = 0; half < halves; ++half)
        for (int64_t i = 0; i < 4; ++i) { // positions
          Value code = codes.decode(b, words, 8 * i + 4 * half), position = b.add(b.mul(quad, 4), i);
          for (int64_t r = 0; r < count; ++r) {
            Value which = groupAt(b, first + r, groupOf(b, chunk, half));
            Value &sum = next[r * halves + half];
            sum = b.fma(splatAt(b, scaled, b.add(b.mul(which, kKeyBlock), position)), code, sum);
          }
        }
      return next;
    });
    for (int64_t r = 0; r < count; ++r)
      for (int64_t half = 0; half < halves; ++half)
        b.store(sums[r * halves + half], out, outAt(b, chunk, first + r, half));
  }

  CacheScales scales;
  Value queries;              ///< Q
  Value scaled;               ///< P times the scales of a block: [vectors][groups][64]
  Value querySums, valueSums; ///< [vectors][groups]: sums of Q's columns, and of P times the offsets
};

//===-- Bytes -----------------------------------------------------------------------------------------------------===//

/// The largest number that is 256 * high + low of two signed bytes, whatever its sign.
constexpr float kMostOfTwoBytes = 127 * 256 + 127;
/// Less than this is taken for 0: its inverse times the number above is not finite.
constexpr float kLeast = 1e-30f;

/// Numbers of which `largest` has the largest magnitude become whole multiples of a unit that two bytes hold.
struct TwoBytes {
  Value unit;    ///< f32
  Value perUnit; ///< vector of its inverse

  TwoBytes(KernelBuilder &b, Value largest) : unit(b.mulf(largest, b.f32(1 / kMostOfTwoBytes))) {
    Value some = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, largest, b.f32(kLeast));
    perUnit = b.splat(arith::SelectOp::create(b, some, b.divf(b.f32(kMostOfTwoBytes), largest), b.f32(0)));
  }

  /// Stores the bytes of x, some vectors: of all the high ones from byte highAt on, of all the low ones from lowAt on. Gives
  /// the sum of the multiples of each vector, times `factors` if there are any, as floats.
  Value store(KernelBuilder &b, ArrayRef<Value> x, ArrayRef<Value> factors, Value memory, Value highAt, Value lowAt) {
    Value sum = b.splat(0.0f);
    SmallVector<Value> high, low;
    for (size_t i = 0; i < x.size(); ++i) {
      Value shifted = b.fma(x[i], perUnit, b.splat(kRounder)), multiple = b.subf(shifted, b.splat(kRounder));
      sum = factors.empty() ? b.addf(sum, multiple) : b.fma(multiple, factors[i], sum);
      low.push_back(toBits(b, shifted));
      high.push_back(addi(b, low[i], words(b, 128))); // byte 1, as the low one is signed
    }
    storeBytes(b, high, 1, memory, highAt);
    storeBytes(b, low, 0, memory, lowAt);
    return sum;
  }

  /// Stores byte `byte` of each word of the vectors.
  static void storeBytes(KernelBuilder &b, ArrayRef<Value> vectors, int64_t byte, Value memory, Value at) {
    constexpr int64_t bytes = 4 * kLanes;
    for (size_t i = 0; i < vectors.size(); i += 2) { // two at a time: a shuffle of bytes has two operands
      size_t count = std::min<size_t>(2, vectors.size() - i);
      auto type = VectorType::get({bytes}, b.getI8Type());
      Value first = vector::BitCastOp::create(b, type, vectors[i]), second = vector::BitCastOp::create(b, type, vectors[i + count - 1]);
      SmallVector<int64_t> mask;
      for (size_t lane = 0; lane < count * kLanes; ++lane)
        mask.push_back(4 * lane + byte);
      Value shuffled = vector::ShuffleOp::create(b, first, second, mask);
      vector::StoreOp::create(b, shuffled, memory, ValueRange{b.add(at, static_cast<int64_t>(i) * kLanes)});
    }
  }

  /// The product of a sum of high bytes and one of low bytes, in units.
  static Value join(KernelBuilder &b, Value high, Value low) {
    return b.fma(convert(b, high), b.splat(256.0f), convert(b, low));
  }
};

class ByteProducts final : public Products {
public:
  ByteProducts(KernelBuilder &b, CacheType type, int64_t vectors, int64_t scratchAt) : Products(b, type, vectors) {
    Scratch scratch{b, scratchAt};
    auto takeBytes = [&](int64_t count, Value &bytes, Value &words) {
      words = b.scratchAt(scratch.at, b.getI32Type());
      bytes = scratch.take(count, b.getI8Type());
    };
    takeBytes(2 * vectors * layout.dim, queryBytes, queryWords);
    takeBytes(2 * vectors * layout.groups * kKeyBlock, weightBytes, weightWords);
    queryUnits = scratch.floats(vectors);
    querySums = scratch.floats(vectors * layout.groups);
    weightUnits = scratch.floats(vectors * layout.groups);
    valueSums = scratch.floats(vectors * layout.groups);
  }
  static int64_t scratchBytes(const CacheBlock &layout, int64_t vectors) {
    auto part = [](int64_t bytes) { return llvm::alignTo(bytes, 4 * kLanes); };
    return part(2 * vectors * layout.dim) + part(2 * vectors * layout.groups * kKeyBlock) + part(4 * vectors) +
           3 * part(4 * vectors * layout.groups);
  }

  void begin(KernelBuilder &b, Value queries) override {
    b.loop(vectors, 1, [&](Value r) {
      Value most = b.splat(0.0f), first = b.mul(r, layout.dim), high = b.mul(r, 2 * layout.dim);
      for (int64_t c = 0; c < layout.dim; c += kLanes)
        most = b.maxf(most, math::AbsFOp::create(b, b.load(queries, b.add(first, c))));
      TwoBytes query(b, b.largest(most));
      b.storeScalar(query.unit, queryUnits, r);
      b.loop(layout.groups, 1, [&](Value group) {
        Value column = b.mul(group, layout.columns), at = b.add(high, column);
        SmallVector<Value> columns;
        for (int64_t c = 0; c < layout.columns; c += kLanes)
          columns.push_back(b.load(queries, b.add(first, b.add(column, c))));
        Value sum = query.store(b, columns, {}, queryBytes, at, b.add(at, layout.dim));
        b.storeScalar(b.sum(sum), querySums, b.add(b.mul(r, layout.groups), group));
      });
    });
  }

private:
  int64_t accumulatorsOfValues() const override { return 2 * codes.halves(); }

  /// A code of each byte of the words, as bytes: of 4 bits the low one (half 0) or the high one (half 1).
  Value codeBytes(KernelBuilder &b, Value read, int64_t half) const {
    if (layout.bits == 4)
      read = andi(b, shru(b, read, 4 * half), 0x0f0f0f0f);
    return vector::BitCastOp::create(b, VectorType::get({4 * kLanes}, b.getI8Type()), read);
  }

  void scoresOf(KernelBuilder &b, Value start, int64_t first, int64_t count, Value scores) override {
    int64_t perWord = codes.codesPerWord(), wordsOfGroup = layout.columns / perWord, queryWordsOf = layout.dim / 4;
    b.loop(kKeyBlock / kLanes, 1, [&](Value part) { // 16 positions
      SmallVector<Value> zeros(count, b.splat(0.0f));
      auto totals = b.loop(b.index(0), b.index(layout.groups), 1, zeros, [&](Value group, ValueRange before) {
        SmallVector<Value> none(2 * count, words(b, 0));
        auto sums = b.loop(b.index(0), b.index(wordsOfGroup), 1, none, [&](Value w, ValueRange accumulators) {
          KernelBuilder::Yield next(accumulators);
          Value word = b.add(b.mul(group, wordsOfGroup), w), read = codes.keyWords(b, start, part, word);
          for (int64_t i = 0; i < codes.halves(); ++i) {
            Value code = codeBytes(b, read, i), columns = b.add(b.mul(word, codes.halves()), i);
            for (int64_t j = 0; j < 2 * count; ++j) // high and low bytes of each query
              next[j] = dotBytes(b, next[j], code, splatAt(b, queryWords, b.add(columns, (2 * first + j) * queryWordsOf)));
          }
          return next;
        });
        KernelBuilder::Yield next(before);
        Value stat = b.add(b.mul(group, kKeyBlock), b.mul(part, kLanes));
        Value scale = codes.scales(b, start, stat), zero = arith::NegFOp::create(b, codes.zeros(b, start, stat));
        for (int64_t r = 0; r < count; ++r) {
          Value product = TwoBytes::join(b, sums[2 * r], sums[2 * r + 1]);
          product = b.fma(splatAt(b, querySums, groupAt(b, first + r, group)), zero, product);
          next[r] = b.fma(product, scale, next[r]);
        }
        return next;
      });
      for (int64_t r = 0; r < count; ++r) {
        Value score = b.mulf(totals[r], splatAt(b, queryUnits, b.index(first + r)));
        b.store(score, scores, b.add(b.mul(part, kLanes), (first + r) * kKeyBlock));
      }
    });
  }

  void scaleWeights(KernelBuilder &b, Value start, Value weights) override {
    constexpr int64_t parts = kKeyBlock / kLanes;
    b.loop(layout.groups, 1, [&](Value group) {
      SmallVector<Value> scales, zeros;
      for (int64_t i = 0; i < parts; ++i) {
        Value stat = b.add(b.mul(group, kKeyBlock), i * kLanes);
        scales.push_back(codes.scales(b, start, stat));
        zeros.push_back(arith::NegFOp::create(b, codes.zeros(b, start, stat)));
      }
      b.loop(vectors, 1, [&](Value r) {
        SmallVector<Value> scaled;
        for (int64_t i = 0; i < parts; ++i)
          scaled.push_back(b.mulf(b.load(weights, b.add(b.mul(r, kKeyBlock), i * kLanes)), scales[i]));
        Value most = scaled[0];
        for (int64_t i = 1; i < parts; ++i)
          most = b.larger(most, scaled[i]);
        TwoBytes weight(b, b.largest(most));
        Value which = b.add(b.mul(r, layout.groups), group), at = b.mul(which, 2 * kKeyBlock);
        Value sum = weight.store(b, scaled, zeros, weightBytes, at, b.add(at, kKeyBlock));
        b.storeScalar(weight.unit, weightUnits, which);
        b.storeScalar(b.sum(sum), valueSums, which);
      });
    });
  }

  void addChunk(KernelBuilder &b, Value start, Value chunk, int64_t first, int64_t count, Value out) override {
    int64_t halves = codes.halves();
    SmallVector<Value> none(2 * halves * count, words(b, 0));
    auto sums = b.loop(b.index(0), b.index(kKeyBlock / 4), 1, none, [&](Value quad, ValueRange accumulators) {
      KernelBuilder::Yield next(accumulators);
      Value read = codes.valueWords(b, start, chunk, quad);
      for (int64_t h = 0; h < halves; ++h) {
        Value code = codeBytes(b, read, h);
        for (int64_t r = 0; r < count; ++r) {
          Value at = b.add(b.mul(groupAt(b, first + r, groupOf(b, chunk, h)), 2 * kKeyBlock / 4), quad);
          for (int64_t byte = 0; byte < 2; ++byte) { // high, low
            Value &sum = next[2 * (r * halves + h) + byte];
            sum = dotBytes(b, sum, code, splatAt(b, weightWords, b.add(at, byte * kKeyBlock / 4)));
          }
        }
      }
      return next;
    });
    for (int64_t r = 0; r < count; ++r)
      for (int64_t h = 0; h < halves; ++h) {
        Value which = groupAt(b, first + r, groupOf(b, chunk, h)), at = outAt(b, chunk, first + r, h);
        Value product = TwoBytes::join(b, sums[2 * (r * halves + h)], sums[2 * (r * halves + h) + 1]);
        product = b.addf(product, splatAt(b, valueSums, which));
        b.store(b.fma(product, splatAt(b, weightUnits, which), b.load(out, at)), out, at);
      }
  }

  Value queryBytes, queryWords;   ///< [vectors][high, low][D]
  Value weightBytes, weightWords; ///< P times the scales of a block: [vectors][groups][high, low][64]
  Value queryUnits;               ///< [vectors]
  Value querySums;                ///< [vectors][groups]: sums of Q's columns, in units
  Value weightUnits, valueSums;   ///< [vectors][groups]; sums of P times scale times -(zero point), in units
};

} // namespace

std::unique_ptr<CodeProducts> CodeProducts::create(KernelBuilder &b, CacheType type, int64_t vectors, int64_t scratchAt) {
  if (b.machine.int8Dot && type.getQuant().getStorage().isSignlessInteger())
    return std::make_unique<ByteProducts>(b, type, vectors, scratchAt);
  return std::make_unique<FloatProducts>(b, type, vectors, scratchAt);
}

int64_t CodeProducts::scratchBytes(CacheType type, int64_t vectors) {
  CacheBlock layout(type);
  return std::max(FloatProducts::scratchBytes(layout, vectors), ByteProducts::scratchBytes(layout, vectors));
}
