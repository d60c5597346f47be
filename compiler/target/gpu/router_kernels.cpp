// Routing: probabilities, the likeliest experts of a row, and the counting sort of (row, expert) pairs.
#include "compiler/target/gpu/kernels.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::gpu {

namespace {

/// Most workgroup memory for rows that subgroups choose from at the same time.
constexpr int64_t kLogitBytes = 16 << 10;

/// Softmax over a row of logits, and the k likeliest experts, each row by one subgroup. A lane reads of workgroup memory what it
/// has written itself, so lanes need not wait for each other.
class ExpertChoice {
public:
  /// `ids`: [rows, k] i32. `most`: rows that are to be chosen for at the same time, if there are subgroups and memory for them.
  template <typename Op>
  ExpertChoice(KernelBuilder &b, Op op, const Rows &ids, int64_t most)
      : in(b.buffer(op.getLogits())), weights(b.buffer(dest(op, 0))), ids(ids), k(op.getTopK()), normalize(op.getNormalize()),
        choosers(std::max<int64_t>(1, std::min({most, b.subgroups, kLogitBytes / (4 * in.width)}))),
        likeliness(b.shared(choosers * in.width, b.getF32Type())), base(b.mul(b.subgroup, in.width)) {}

  /// Rows [begin, end), of the logits and of both results, are shared by the block's subgroups.
  void emit(KernelBuilder &b, Value begin, Value end) const {
    b.when(b.less(b.subgroup, b.index(choosers)),
           [&] { b.loop(b.add(begin, b.subgroup), end, choosers, [&](Value row) { choose(b, row); }); });
  }

private:
  void choose(KernelBuilder &b, Value row) const;
  /// Value and index of the largest probability, the lowest index among equals, in all lanes.
  std::pair<Value, Value> likeliest(KernelBuilder &b) const;
  Value over(KernelBuilder &b, Value init, llvm::function_ref<Value(Value, Value)> body) const;
  Value of(KernelBuilder &b, Value expert) const { return b.loadScalar(likeliness, b.add(base, expert)); }
  void set(KernelBuilder &b, Value expert, Value value) const { b.storeScalar(value, likeliness, b.add(base, expert)); }

  Buffer in, weights;
  Rows ids;
  int64_t k;
  bool normalize;
  int64_t choosers;       ///< subgroups that choose
  Value likeliness, base; ///< of experts, in workgroup memory, and where the subgroup's row starts
};

Value ExpertChoice::over(KernelBuilder &b, Value init, llvm::function_ref<Value(Value, Value)> body) const {
  return b.loop(b.lane, b.index(in.width), b.device.subgroupSize, {init},
                [&](Value i, ValueRange state) { return KernelBuilder::Yield{body(i, state[0])}; })[0];
}

std::pair<Value, Value> ExpertChoice::likeliest(KernelBuilder &b) const {
  Value last = b.i32(in.width - 1);
  auto best = b.loop(b.lane, b.index(in.width), b.device.subgroupSize, {b.f32(-1), last}, [&](Value i, ValueRange state) {
    Value p = of(b, i), better = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, p, state[0]);
    return KernelBuilder::Yield{b.select(better, p, state[0]), b.select(better, b.toI32(i), state[1])};
  });
  Value top = b.reduce(KernelBuilder::Reduction::MAXNUMF, best[0]);
  Value mine = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, best[0], top);
  Value id = b.reduce(KernelBuilder::Reduction::MINSI, b.select(mine, best[1], last));
  return {top, b.toIndex(id)};
}

void ExpertChoice::choose(KernelBuilder &b, Value row) const {
  Value source = b.mul(row, in.stride);
  Value largest = b.reduce(KernelBuilder::Reduction::MAXNUMF, over(b, b.f32(kMasked), [&](Value i, Value m) {
                             Value logit = b.load(in.memory, b.add(source, i));
                             set(b, i, logit);
                             return b.maxf(m, logit);
                           }));
  Value total = b.subgroupSum(over(b, b.f32(0), [&](Value i, Value sum) {
    Value e = b.exp(b.subf(of(b, i), largest));
    set(b, i, e);
    return b.addf(sum, e);
  }));
  Value weightsAt = b.mul(row, weights.stride), idsAt = b.mul(row, ids.stride);
  Value chosen = b.loop(b.index(0), b.index(k), 1, {b.f32(0)}, [&](Value j, ValueRange sum) {
    auto [top, id] = likeliest(b);
    Value expert = id, probability = b.divf(top, total);
    // Taken: only the lane that reads it marks it.
    b.when(b.equal(b.rem(expert, b.device.subgroupSize), b.lane), [&] { set(b, expert, b.f32(-1)); });
    b.when(b.equal(b.rem(j, b.device.subgroupSize), b.lane), [&] {
      b.store(probability, weights.memory, b.add(weightsAt, j));
      b.storeScalar(b.toI32(expert), ids.memory, b.add(idsAt, j));
    });
    return KernelBuilder::Yield{b.addf(sum[0], probability)};
  })[0];
  if (normalize)
    b.forLanes(k, [&](Value j) { // each what it has written
      Value place = b.add(weightsAt, j);
      b.store(b.divf(b.load(weights.memory, place), chosen), weights.memory, place);
    });
}

} // namespace

void emitRouter(KernelBuilder &b, Operation *op) {
  ExpertChoice(b, cast<RouterOp>(op), b.buffer(dest(op, 1)), 1).emit(b, b.tile, b.add(b.tile, 1));
}

Value oneTile(StepBuilder &host, Operation *) { return host.index(1); }

namespace {

/// Segments of the pairs that are counted apart, and the memory of their counters.
constexpr int64_t kMostSegments = 32, kCounterBytes = 32 << 10;

/// A counting sort by one block.
class Dispatch {
public:
  /// `ids` of rows [0, rows). The op's last two results are the offsets and the pairs, from result `first` on.
  Dispatch(KernelBuilder &b, Operation *op, unsigned first, const Rows &ids, Value rows)
      : ids(ids), count(b.mul(rows, ids.width)), offsets(b.buffer(dest(op, first)).memory),
        pairs(b.buffer(dest(op, first + 1)).memory), experts(cast<MemRefType>(dest(op, first).getType()).getDimSize(0) - 1) {}

  /// Of at most `most` pairs, if that is known.
  void emit(KernelBuilder &b, std::optional<int64_t> most = std::nullopt) const;

private:
  Value chosen(KernelBuilder &b, Value pair) const {
    return b.toIndex(b.loadScalar(ids.memory, b.add(b.mul(b.div(pair, ids.width), ids.stride), b.rem(pair, ids.width))));
  }
  void emitFew(KernelBuilder &b) const;
  void emitMany(KernelBuilder &b) const;

  Rows ids; ///< [rows, k] i32
  Value count; ///< of pairs
  Value offsets, pairs;
  int64_t experts;
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

void Dispatch::emit(KernelBuilder &b, std::optional<int64_t> most) const {
  if (most && *most <= kFewPairs)
    return emitFew(b);
  auto few = scf::IfOp::create(b, b.less(count, b.index(kFewPairs + 1)), /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(few.thenBlock());
  emitFew(b);
  b.setInsertionPointToStart(few.elseBlock());
  emitMany(b);
}

} // namespace

void emitDispatch(KernelBuilder &b, Operation *op) {
  Value experts = cast<DispatchOp>(op).getExperts();
  Dispatch(b, op, 0, b.buffer(experts), b.rowsOf(experts)).emit(b);
}

void emitRouterDispatch(KernelBuilder &b, Operation *op) {
  auto router = cast<RouterDispatchOp>(op);
  const int64_t rows = tileSizes(op)[0], k = router.getTopK();
  Value count = b.rowsOf(router.getLogits());
  Rows ids{b.shared(rows * k, b.getI32Type()), k, k, b.getI32Type()};
  ExpertChoice(b, router, ids, rows).emit(b, b.index(0), count);
  b.barrier();
  Dispatch(b, op, 1, ids, count).emit(b, rows * k);
}

} // namespace qwench::gpu
