// Drawing tokens: a block takes a row of logits.
//
// Nothing is sorted: what top-k and top-p keep is a threshold, and how many of the logits that are equal to it, found three bits
// of the key at a time. With top-k about k runs are read for it. The token is found by bisection over ids.
#include "compiler/target/gpu/kernels.h"
#include "compiler/target/gpu/logit_runs.h"
#include "runtime/abi/program.h"
#include "runtime/abi/token_weight.h"

#include <cfloat>
#include <cmath>
#include <cstddef>

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::gpu {

namespace {

using Yield = KernelBuilder::Yield;

/// What is kept of the candidates: those whose key is greater, and the first `equal` by id of those whose key is equal.
struct Threshold {
  Value key, equal; ///< i64
};

/// Sums of what is kept, or of what a piece holds of it; i64.
struct Kept {
  Value weight; ///< of those above the threshold
  Value equal;  ///< how many are at it
};

/// The tile's draw.
class Draw {
public:
  explicit Draw(KernelBuilder &b) : b(b) {}
  /// A member of QwenchDraw, f64. Read where it is used: nothing of it takes a register before.
  Value member(size_t offset) const;
  Value whole(size_t offset) const { return arith::FPToSIOp::create(b, b.getI64Type(), member(offset)); }

private:
  KernelBuilder &b;
};

Value Draw::member(size_t offset) const {
  constexpr int64_t members = sizeof(QwenchDraw) / sizeof(double);
  Value draws = b.field(StepField::Draws, b.flat(b.getF64Type()));
  return b.loadScalar(draws, b.add(b.mul(b.tile, members), static_cast<int64_t>(offset / sizeof(double))));
}

class Sampler : LogitRuns {
public:
  Sampler(KernelBuilder &b, const Buffer &in, const Draw &draw)
      : LogitRuns(b, in, b.mul(b.toIndex(draw.whole(offsetof(QwenchDraw, row))), in.stride),
                  arith::TruncIOp::create(b, b.getI32Type(), draw.whole(offsetof(QwenchDraw, candidates)))),
        draw(draw), top(greatest()) {}

  /// The token, in all threads: i32.
  Value emit();

private:
  Value real(double value) { return arith::ConstantOp::create(b, b.getF64FloatAttr(value)); }
  Value toReal(Value integer) { return arith::SIToFPOp::create(b, b.getF64Type(), integer); }
  Value toInteger(Value real) { return arith::FPToSIOp::create(b, i64, real); }
  Value below(Value x, Value y) { return arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x, y); }

  // As runtime/abi/token_weight.h does it.
  Value scaleOf(Value temperature);
  Value shareOf(Value share, Value total);
  Value placeOf(Value total);
  /// Weights of the logits of which a condition holds, 0 of the others.
  Value weightsWhere(Value condition, Value logits);
  Value weightOfKey(Value key) { return weights.of(b, logitOfKey(b, narrow(key))); }
  Value weightFrom(Value key);
  Value maximaFrom(Value key);

  Threshold likeliest(Value k);
  Threshold share(Value p, Threshold from);
  Threshold threshold();
  Kept keptOf(Value logits, Value keys);
  void sumRuns();
  Kept before(Value run);
  Value placeAfter(const Kept &sums);
  Value search();
  Value drawn();
  Value likeliestToken();

  Draw draw;
  Value top; ///< the likeliest's key; i64
  TokenWeights weights;
  Threshold kept;
  Value least, equalWeight;   ///< what is kept weighs at least this; one at the threshold weighs this
  Value runWeights, runEqual; ///< workgroup memory: what is kept of each run
};

//===-- Weights ---------------------------------------------------------------------------------------------------===//

Value Sampler::scaleOf(Value temperature) {
  Value inverse = b.divf(real(1.4426950408889634), temperature);
  inverse = arith::MinNumFOp::create(b, b.maxf(inverse, real(FLT_MIN)), real(FLT_MAX));
  return arith::TruncFOp::create(b, b.getF32Type(), inverse);
}

Value Sampler::shareOf(Value share, Value total) {
  Value wanted = b.mulf(share, toReal(total)), whole = toInteger(wanted);
  return b.add(whole, ones(below(toReal(whole), wanted)));
}

Value Sampler::placeOf(Value total) {
  Value place = b.mulf(draw.member(offsetof(QwenchDraw, uniform)), toReal(total));
  return b.min(toInteger(place), b.sub(total, integer(1)));
}

Value Sampler::weightsWhere(Value condition, Value logits) {
  return weights.of(b, b.select(condition, logits, b.splat(b.f32(-INFINITY), kPiece)));
}

/// What the candidates whose key is at least this weigh together.
Value Sampler::weightFrom(Value key) {
  Value least = narrow(key);
  auto mine = overRuns(least, integer(0), [&](Value run, ValueRange sum) {
    auto [logits, keys] = read(run);
    return Yield{b.add(sum[0], total(weightsWhere(atLeast(keys, b.splat(least, kPiece)), logits)))};
  });
  return blockSums(subgroupSum(mine[0], 3))[0];
}

//===-- Thresholds ------------------------------------------------------------------------------------------------===//

/// What the greatest candidates of the runs weigh together whose key is at least this: at most what weightFrom() says.
Value Sampler::maximaFrom(Value key) {
  auto mine = overThreads(b.index(count()), integer(0), [&](Value run, Value inside, ValueRange sum) {
    Value most = maximum(run), counts = b.both(inside, atLeast(most, narrow(key)));
    return Yield{b.add(sum[0], b.select(counts, weights.of(b, logitOfKey(b, most)), integer(0)))};
  });
  return blockSums(subgroupSum(mine[0], 3))[0];
}

/// The k likeliest. The k-th greatest of the runs' greatest logits is not above the k-th of all.
Threshold Sampler::likeliest(Value k) {
  Value end = next(top);
  Value bound = bisect(integer(kNoKey), end, [&](Value key) { return atLeast(countRunsFrom(key), k); });
  keep(bound);
  auto [key, above] = reach(bound, end, k, [&](Value inside, Value) { return ones(inside); });
  Value equal = b.sub(k, above);
  return {key, b.select(b.equal(key, integer(kNoKey)), integer(0), equal)}; // there are fewer than k
}

/// Of what is kept, the likeliest that weigh a share of it.
Threshold Sampler::share(Value p, Threshold from) {
  Value all = b.add(weightFrom(next(from.key)), b.mul(from.equal, weightOfKey(from.key)));
  Value wanted = b.max(shareOf(p, all), integer(1));
  Value bound = bisect(from.key, next(top), [&](Value key) { return atLeast(maximaFrom(key), wanted); });
  keep(bound);
  auto [key, above] = reach(bound, next(top), wanted, [&](Value inside, Value logits) { return weightsWhere(inside, logits); });
  Value missing = b.sub(wanted, above), each = b.max(weightOfKey(key), integer(1));
  // The quotient is below 2^22: in f64 it is exact, or between its neighbours.
  Value whole = toInteger(b.divf(toReal(missing), toReal(each)));
  return {key, b.add(whole, ones(b.less(b.mul(whole, each), missing)))};
}

Threshold Sampler::threshold() {
  SmallVector<Type> types(2, i64);
  auto whether = [&](Value condition, llvm::function_ref<Threshold()> yes, Threshold otherwise) -> Threshold {
    auto yields = [](Threshold made) { return Yield{made.key, made.equal}; };
    auto values = b.choose(condition, types, [&] { return yields(yes()); }, [&] { return yields(otherwise); });
    return {values[0], values[1]};
  };
  Value k = draw.whole(offsetof(QwenchDraw, top_k)), candidates = draw.whole(offsetof(QwenchDraw, candidates));
  Value cuts = b.both(b.less(integer(0), k), b.less(k, candidates));
  keep(integer(kNoKey));
  Threshold some = whether(cuts, [&] { return likeliest(k); }, {integer(kNoKey), integer(0)});
  Value p = draw.member(offsetof(QwenchDraw, top_p));
  return whether(below(p, real(1)), [&] { return share(p, some); }, some);
}

//===-- The draw --------------------------------------------------------------------------------------------------===//

Kept Sampler::keptOf(Value logits, Value keys) {
  Value threshold = b.splat(narrow(kept.key), kPiece);
  Value above = weightsWhere(b.less(threshold, keys), logits);
  return {b.select(atLeast(above, b.splat(least, kPiece)), above, none()), ones(b.equal(keys, threshold))};
}

void Sampler::sumRuns() {
  runWeights = numbers, runEqual = b.shared(count(), b.getI32Type());
  overThreads(b.index(count()), {}, [&](Value run, Value inside, ValueRange) {
    b.when(inside, [&] {
      b.storeScalar(integer(0), runWeights, run);
      b.storeScalar(b.i32(0), runEqual, run);
    });
    return Yield();
  });
  b.barrier();
  overRuns(narrow(kept.key), {}, [&](Value run, ValueRange) {
    auto [logits, keys] = read(run);
    Kept mine = keptOf(logits, keys);
    Value weight = subgroupSum(total(mine.weight), 3), equal = subgroupSum(total(mine.equal), 1);
    b.when(b.equal(b.lane, b.index(0)), [&] {
      b.storeScalar(weight, runWeights, run);
      b.storeScalar(narrow(equal), runEqual, run);
    });
    return Yield();
  });
  b.barrier();
}

/// Of all runs before this one (i64).
Kept Sampler::before(Value run) {
  auto sums = overThreads(b.toIndex(run), {integer(0), integer(0)}, [&](Value i, Value inside, ValueRange sum) {
    Value weight = b.loadScalar(runWeights, i), equal = toI64(b, b.loadScalar(runEqual, i));
    return Yield{b.add(sum[0], b.select(inside, weight, integer(0))), b.add(sum[1], b.select(inside, equal, integer(0)))};
  });
  sums = blockSums({subgroupSum(sums[0], 3), subgroupSum(sums[1], 1)});
  return {sums[0], sums[1]};
}

/// Where the weights of what follows begin.
Value Sampler::placeAfter(const Kept &sums) { return b.add(sums.weight, b.mul(equalWeight, b.min(sums.equal, kept.equal))); }

/// The greatest id before which there is no more weight than the place has.
Value Sampler::search() {
  Value place = placeOf(placeAfter(before(integer(count()))));
  Value run = bisect(integer(0), integer(count()), [&](Value run) { return atMost(placeAfter(before(run)), place); });
  Kept base = before(run);
  auto [logits, keys] = read(b.toIndex(run)); // each subgroup does it all
  Kept mine = keptOf(logits, keys);
  Value ids = consecutive(b, b.toI32(b.mul(b.lane, kPiece)));
  Value id = bisect(integer(0), integer(length()), [&](Value end) {
    Value inside = b.less(ids, b.splat(narrow(end), kPiece));
    auto until = [&](Value values, int words) { return subgroupSum(total(b.select(inside, values, none())), words); };
    return atMost(placeAfter({b.add(base.weight, until(mine.weight, 3)), b.add(base.equal, until(mine.equal, 1))}), place);
  });
  return narrow(b.add(b.mul(run, integer(length())), id));
}

Value Sampler::drawn() {
  kept = threshold();
  least = shareOf(draw.member(offsetof(QwenchDraw, min_p)), integer(kTopWeight));
  equalWeight = weightOfKey(kept.key);
  equalWeight = b.select(atLeast(equalWeight, least), equalWeight, integer(0));
  sumRuns();
  return search();
}

/// The lowest id of those that are as likely as any.
Value Sampler::likeliestToken() {
  keep(top);
  Value key = narrow(top), none = b.i32(INT_MAX);
  auto mine = overRuns(key, none, [&](Value run, ValueRange lowest) {
    Value same = b.equal(read(run).second, b.splat(key, kPiece));
    Value ids = b.select(same, consecutive(b, b.toI32(firstId(run))), b.splat(none, kPiece));
    return Yield{b.min(lowest[0], vector::ReductionOp::create(b, vector::CombiningKind::MINSI, ids))};
  });
  return narrow(blockMinimum(toI64(b, b.reduce(KernelBuilder::Reduction::MINSI, mine[0]))));
}

Value Sampler::emit() {
  Value temperature = draw.member(offsetof(QwenchDraw, temperature));
  weights = {logitOfKey(b, narrow(top)), scaleOf(temperature)};
  Value draws = b.both(below(real(0), temperature), b.less(top, integer(kInfinityKey)));
  Value token = b.choose(draws, b.getI32Type(), [&] { return Yield{drawn()}; }, [&] { return Yield{likeliestToken()}; })[0];
  return b.select(b.equal(top, integer(kNoKey)), b.i32(-1), token);
}

} // namespace

void emitSample(KernelBuilder &b, Operation *op) {
  Buffer out = b.buffer(dest(op));
  Value token = Sampler(b, b.buffer(cast<SampleOp>(op).getLogits()), Draw(b)).emit();
  b.when(b.equal(b.thread, b.index(0)), [&] { b.storeScalar(token, out.memory, b.mul(b.tile, out.stride)); });
}

} // namespace qwench::gpu
