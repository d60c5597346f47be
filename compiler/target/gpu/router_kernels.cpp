// Routing: probabilities, the likeliest experts of a row, and the counting sort of (row, expert) pairs.
#include "compiler/target/gpu/kernels.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::gpu {

namespace {

/// Softmax over `logits` (workgroup memory, f32), then the k likeliest to row `tile` of both dests. One subgroup does it.
struct ExpertChoice {
  Value logits;
  int64_t experts, k;
  bool normalize;
  Buffer weights, ids;

  void emit(KernelBuilder &b) const;

private:
  /// Value and index of the largest probability, the lowest index among equals, in all lanes.
  std::pair<Value, Value> likeliest(KernelBuilder &b) const;
  Value over(KernelBuilder &b, Value init, llvm::function_ref<Value(Value, Value)> body) const;
};

Value ExpertChoice::over(KernelBuilder &b, Value init, llvm::function_ref<Value(Value, Value)> body) const {
  return b.loop(b.lane, b.index(experts), b.device.subgroupSize, {init},
                [&](Value i, ValueRange state) { return KernelBuilder::Yield{body(i, state[0])}; })[0];
}

std::pair<Value, Value> ExpertChoice::likeliest(KernelBuilder &b) const {
  auto best = b.loop(b.lane, b.index(experts), b.device.subgroupSize, {b.f32(-1), b.i32(experts - 1)},
                     [&](Value i, ValueRange state) {
                       Value p = b.loadScalar(logits, i);
                       Value better = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, p, state[0]);
                       return KernelBuilder::Yield{b.select(better, p, state[0]), b.select(better, b.toI32(i), state[1])};
                     });
  Value top = b.reduce(KernelBuilder::Reduction::MAXNUMF, best[0]);
  Value mine = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, best[0], top);
  Value id = b.reduce(KernelBuilder::Reduction::MINSI, b.select(mine, best[1], b.i32(experts - 1)));
  return {top, b.toIndex(id)};
}

void ExpertChoice::emit(KernelBuilder &b) const {
  Value largest = b.reduce(KernelBuilder::Reduction::MAXNUMF, over(b, b.f32(kMasked), [&](Value i, Value m) {
                             return b.maxf(m, b.loadScalar(logits, i));
                           }));
  Value total = b.subgroupSum(over(b, b.f32(0), [&](Value i, Value sum) {
    Value e = b.exp(b.subf(b.loadScalar(logits, i), largest));
    b.storeScalar(e, logits, i);
    return b.addf(sum, e);
  }));
  Value weightsAt = b.mul(b.tile, weights.stride), idsAt = b.mul(b.tile, ids.stride);
  Value writer = b.equal(b.lane, b.index(0));
  Value chosen = b.loop(b.index(0), b.index(k), 1, {b.f32(0)}, [&](Value j, ValueRange sum) {
    auto [top, id] = likeliest(b);
    Value expert = id, probability = b.divf(top, total);
    // Taken: only the lane that reads it marks it.
    b.when(b.equal(b.rem(expert, b.device.subgroupSize), b.lane), [&] { b.storeScalar(b.f32(-1), logits, expert); });
    b.when(writer, [&] {
      b.store(probability, weights.memory, b.add(weightsAt, j));
      b.storeScalar(b.toI32(expert), ids.memory, b.add(idsAt, j));
    });
    return KernelBuilder::Yield{b.addf(sum[0], probability)};
  })[0];
  if (normalize)
    b.when(writer, [&] {
      b.loop(k, 1, [&](Value j) {
        Value place = b.add(weightsAt, j);
        b.store(b.divf(b.load(weights.memory, place), chosen), weights.memory, place);
      });
    });
}

} // namespace

void emitRouter(KernelBuilder &b, Operation *op) {
  auto router = cast<RouterOp>(op);
  Buffer in = b.buffer(router.getLogits());
  Value logits = b.shared(in.width, b.getF32Type());
  b.forThreads(in.width, [&](Value i) {
    b.storeScalar(b.load(in.memory, b.add(b.mul(b.tile, in.stride), i)), logits, i);
  });
  b.barrier();
  ExpertChoice choice{logits, in.width, static_cast<int64_t>(router.getTopK()), router.getNormalize(),
                      b.buffer(dest(op, 0)), b.buffer(dest(op, 1))};
  b.when(b.equal(b.subgroup, b.index(0)), [&] { choice.emit(b); });
}

Value oneTile(StepBuilder &host, Operation *) { return host.index(1); }

namespace {

/// Pairs up to which a thread for each expert reads all of them.
constexpr int64_t kFewPairs = 256;
/// Segments of the pairs that are counted apart, and the memory of their counters.
constexpr int64_t kMostSegments = 32, kCounterBytes = 32 << 10;

/// A counting sort by one block.
struct Dispatch {
  Buffer ids;
  Value offsets, pairs, count;
  int64_t experts, k;

  Value chosen(KernelBuilder &b, Value pair) const {
    return b.toIndex(b.loadScalar(ids.memory, b.add(b.mul(b.div(pair, k), ids.stride), b.rem(pair, k))));
  }
  void emitFew(KernelBuilder &b) const;
  void emitMany(KernelBuilder &b) const;
};

/// A thread per expert reads all pairs: those of lower experts stand before its own, which it lists in their order.
void Dispatch::emitFew(KernelBuilder &b) const {
  b.forThreads(experts + 1, [&](Value expert) {
    Value begin = b.loop(b.index(0), count, 1, {b.index(0)}, [&](Value pair, ValueRange before) {
      return KernelBuilder::Yield{b.select(b.less(chosen(b, pair), expert), b.add(before[0], 1), before[0])};
    })[0];
    b.storeScalar(b.toI32(begin), offsets, expert);
    b.loop(b.index(0), count, 1, {begin}, [&](Value pair, ValueRange next) {
      Value mine = b.equal(chosen(b, pair), expert);
      b.when(mine, [&] { b.storeScalar(b.toI32(pair), pairs, next[0]); });
      return KernelBuilder::Yield{b.select(mine, b.add(next[0], 1), next[0])};
    });
  });
}

/// The pairs are cut into segments; of each, a few threads count and later place those of every so-manieth expert, so that
/// a counter has one owner and pairs keep their order without atomics.
void Dispatch::emitMany(KernelBuilder &b) const {
  int64_t segments = kMostSegments;
  while (segments > 1 && segments * experts * 4 > kCounterBytes)
    segments /= 2;
  int64_t owners = b.threads() / segments; // of a segment
  Value counters = b.shared(segments * experts, b.getI32Type()), totals = b.shared(experts, b.getI32Type());
  Value segment = b.div(b.thread, owners), owner = b.rem(b.thread, owners), base = b.mul(segment, experts);
  Value length = b.ceilDiv(count, segments), begin = b.min(b.mul(segment, length), count);
  Value end = b.min(b.add(begin, length), count), zero = b.i32(0), one = b.i32(1);
  auto plus = [&](Value x, Value y) -> Value { return arith::AddIOp::create(b, x, y); };
  /// Runs body(pair, counter) for the pairs of the segment whose experts the thread owns.
  auto forOwned = [&](llvm::function_ref<void(Value, Value)> body) {
    b.loop(begin, end, 1, [&](Value pair) {
      Value expert = chosen(b, pair);
      b.when(b.equal(b.rem(expert, owners), owner), [&] { body(pair, b.add(base, expert)); });
    });
  };
  b.loop(owner, b.index(experts), owners, [&](Value expert) { b.storeScalar(zero, counters, b.add(base, expert)); });
  forOwned([&](Value, Value counter) { b.storeScalar(plus(b.loadScalar(counters, counter), one), counters, counter); });
  b.barrier();
  b.forThreads(experts, [&](Value expert) { // counters become what stands before, in the expert's own pairs
    Value total = b.loop(b.index(0), b.index(segments), 1, {zero}, [&](Value s, ValueRange before) {
      Value place = b.add(b.mul(s, experts), expert), here = b.loadScalar(counters, place);
      b.storeScalar(before[0], counters, place);
      return KernelBuilder::Yield{plus(before[0], here)};
    })[0];
    b.storeScalar(total, totals, expert);
  });
  b.barrier();
  b.forThreads(experts + 1, [&](Value expert) {
    Value before = b.loop(b.index(0), expert, 1, {zero}, [&](Value lower, ValueRange sum) {
      return KernelBuilder::Yield{plus(sum[0], b.loadScalar(totals, lower))};
    })[0];
    b.storeScalar(before, offsets, expert);
    b.when(b.less(expert, b.index(experts)), [&] {
      b.loop(segments, 1, [&](Value s) {
        Value place = b.add(b.mul(s, experts), expert);
        b.storeScalar(plus(b.loadScalar(counters, place), before), counters, place);
      });
    });
  });
  b.barrier();
  forOwned([&](Value pair, Value counter) {
    Value place = b.loadScalar(counters, counter);
    b.storeScalar(plus(place, one), counters, counter);
    b.storeScalar(b.toI32(pair), pairs, b.toIndex(place));
  });
}

} // namespace

void emitDispatch(KernelBuilder &b, Operation *op) {
  auto dispatch = cast<DispatchOp>(op);
  Buffer ids = b.buffer(dispatch.getExperts());
  Value count = b.mul(b.rowsOf(dispatch.getExperts()), ids.width);
  Dispatch sort{ids, b.buffer(dest(op, 0)).memory, b.buffer(dest(op, 1)).memory, count,
                cast<MemRefType>(dest(op, 0).getType()).getDimSize(0) - 1, ids.width};
  auto few = scf::IfOp::create(b, b.less(count, b.index(kFewPairs + 1)), /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(few.thenBlock());
  sort.emitFew(b);
  b.setInsertionPointToStart(few.elseBlock());
  sort.emitMany(b);
}

} // namespace qwench::gpu
