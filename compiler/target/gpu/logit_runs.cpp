#include "compiler/target/gpu/logit_runs.h"

using namespace mlir;

namespace qwench::gpu {

//===-- Integers --------------------------------------------------------------------------------------------------===//

Value Integers::ones(Value condition) {
  auto type = dyn_cast<VectorType>(condition.getType());
  return arith::ExtUIOp::create(b, type ? Type(b.vectorOf(type.getNumElements(), i64)) : i64, condition);
}

Value Integers::total(Value vector) { return vector::ReductionOp::create(b, vector::CombiningKind::ADD, vector); }

Value Integers::bisect(Value low, Value high, llvm::function_ref<Value(Value)> isLow) {
  SmallVector<Type> types(2, i64);
  SmallVector<Location> locations(2, b.getLoc());
  auto loop = scf::WhileOp::create(b, types, ValueRange{low, high});
  OpBuilder::InsertionGuard guard(b);
  Block *before = b.createBlock(&loop.getBefore(), {}, types, locations);
  Value more = b.less(next(before->getArgument(0)), before->getArgument(1));
  scf::ConditionOp::create(b, more, before->getArguments());
  Block *after = b.createBlock(&loop.getAfter(), {}, types, locations);
  Value from = after->getArgument(0), to = after->getArgument(1);
  Value middle = arith::ShRSIOp::create(b, b.add(from, to), integer(1));
  Value is = isLow(middle);
  scf::YieldOp::create(b, ValueRange{b.select(is, middle, from), b.select(is, to, middle)});
  return loop.getResult(0);
}

//===-- The row ---------------------------------------------------------------------------------------------------===//

LogitRuns::LogitRuns(KernelBuilder &b, const Buffer &in, Value start, Value candidates)
    : Integers(b), in(in), start(start), candidates(candidates), runs(llvm::divideCeil(in.width, length())),
      share(llvm::divideCeil(runs, b.subgroups)), maxima(b.shared(runs, b.getI32Type())),
      partials(b.shared(2 * b.subgroups, i64)), listed(b.shared(b.subgroups * share, b.getI32Type())),
      listedCount(b.shared(b.subgroups, b.getI32Type())),
      numbers(b.shared(std::max(runs, b.subgroups * b.threads()), i64)) {
  findMaxima();
}

/// Whole pieces: what pads the row is no candidate.
std::pair<Value, Value> LogitRuns::read(Value run) {
  Value first = firstId(run), inside = b.min(first, b.index((in.width - 1) / kPiece * kPiece));
  Value logits = in.aligned ? b.load(in.memory, b.add(start, inside), kPiece) : b.inputPiece(in, start, inside, in.width);
  return {logits, tokenKeys(b, logits, b.toI32(first), candidates)};
}

/// Several runs at once, so that 64 KiB are on their way: a multiprocessor's 64 bytes a cycle, times a latency of some 800 cycles.
void LogitRuns::findMaxima() {
  constexpr int64_t wanted = (64 << 10) / (kPiece * sizeof(float));
  const int64_t ahead = std::min(b.device.loadsAhead / 2, std::max<int64_t>(1, wanted / b.threads())); // a piece is two loads
  b.loop(b.subgroup, b.index(runs), b.subgroups * ahead, [&](Value first) {
    SmallVector<Value> numbers, greatest;
    for (int64_t i = 0; i < ahead; ++i) {
      numbers.push_back(b.add(first, i * b.subgroups));
      Value keys = read(b.min(numbers[i], b.index(runs - 1))).second;
      greatest.push_back(vector::ReductionOp::create(b, vector::CombiningKind::MAXSI, keys));
    }
    for (int64_t i = 0; i < ahead; ++i) {
      Value all = b.reduce(KernelBuilder::Reduction::MAXSI, greatest[i]);
      Value writer = b.both(b.equal(b.lane, b.index(0)), b.less(numbers[i], b.index(runs)));
      b.when(writer, [&] { b.storeScalar(all, maxima, numbers[i]); });
    }
  });
  b.barrier();
}

/// Each subgroup looks at all runs.
Value LogitRuns::greatest() {
  Value mine = b.loop(b.index(0), b.index(runs), b.device.subgroupSize, {b.i32(kNoKey)}, [&](Value first, ValueRange most) {
    return Yield{b.max(most[0], maximum(b.min(b.add(first, b.lane), b.index(runs - 1))))};
  })[0];
  return toI64(b, b.reduce(KernelBuilder::Reduction::MAXSI, mine));
}

//===-- Sums ------------------------------------------------------------------------------------------------------===//

/// Machines add 32 bits over lanes: words of 24 bits, which 64 lanes do not fill.
Value LogitRuns::subgroupSum(Value value, int words) {
  Value sum;
  for (int i = 0; i < words; ++i) {
    Value shift = integer(24 * i), word = arith::ShRUIOp::create(b, value, shift);
    if (words > 1)
      word = b.both(word, integer((1 << 24) - 1));
    Value part = b.reduce(KernelBuilder::Reduction::ADD, narrow(word));
    part = arith::ShLIOp::create(b, toI64(b, part), shift);
    sum = sum ? b.add(sum, part) : part;
  }
  return sum;
}

/// Of values that a subgroup's lanes have in common, each combined over the block's subgroups.
LogitRuns::Yield LogitRuns::combine(ValueRange values, llvm::function_ref<Value(Value, Value)> two) {
  auto place = [&](size_t i, Value subgroup) { return b.add(subgroup, static_cast<int64_t>(i) * b.subgroups); };
  b.when(b.equal(b.lane, b.index(0)), [&] {
    for (auto [i, value] : llvm::enumerate(values))
      b.storeScalar(value, partials, place(i, b.subgroup));
  });
  b.barrier();
  Yield all;
  for (size_t i = 0; i < values.size(); ++i) {
    all.push_back(b.loadScalar(partials, place(i, b.index(0))));
    for (int64_t s = 1; s < b.subgroups; ++s)
      all[i] = two(all[i], b.loadScalar(partials, place(i, b.index(s))));
  }
  b.barrier(); // the next ones are written there
  return all;
}

LogitRuns::Yield LogitRuns::blockSums(ValueRange sums) {
  return combine(sums, [&](Value x, Value y) { return b.add(x, y); });
}

Value LogitRuns::blockMinimum(Value subgroupMinimum) {
  return combine(subgroupMinimum, [&](Value x, Value y) { return b.min(x, y); })[0];
}

//===-- Passes ----------------------------------------------------------------------------------------------------===//

/// A lane lists its subgroup's. All have read the former list: every pass ends with a barrier.
void LogitRuns::keep(Value key) {
  b.when(b.equal(b.lane, b.index(0)), [&] {
    Value least = narrow(key), list = b.mul(b.subgroup, share);
    auto count = b.loop(b.index(0), b.index(runs), b.subgroups, b.index(0), [&](Value first, ValueRange n) {
      Value run = b.add(first, b.subgroup);
      Value stays = b.both(b.less(run, b.index(runs)), atLeast(maximum(b.min(run, b.index(runs - 1))), least));
      b.when(stays, [&] { b.storeScalar(b.toI32(run), listed, b.add(list, n[0])); });
      return Yield{b.select(stays, b.add(n[0], 1), n[0])};
    });
    b.storeScalar(b.toI32(count[0]), listedCount, b.subgroup);
  });
  b.barrier();
}

LogitRuns::Yield LogitRuns::overRuns(Value key, ValueRange inits, llvm::function_ref<Yield(Value, ValueRange)> body) {
  Value end = b.toIndex(b.loadScalar(listedCount, b.subgroup));
  return b.loop(b.index(0), end, 1, inits, [&](Value i, ValueRange values) {
    Value run = b.toIndex(b.loadScalar(listed, b.add(b.mul(b.subgroup, share), i)));
    return b.choose(atLeast(maximum(run), key), values.getTypes(), [&] { return body(run, values); }, [&] { return Yield(values); });
  });
}

LogitRuns::Yield LogitRuns::overThreads(Value end, ValueRange inits, llvm::function_ref<Yield(Value, Value, ValueRange)> body) {
  return b.loop(b.index(0), b.index(runs), b.threads(), inits, [&](Value first, ValueRange values) {
    Value run = b.add(first, b.thread);
    return body(b.min(run, b.index(runs - 1)), b.less(run, end), values);
  });
}

Value LogitRuns::countRunsFrom(Value key) {
  Value least = narrow(key);
  auto mine = overThreads(b.index(runs), integer(0), [&](Value run, Value inside, ValueRange sum) {
    return Yield{b.add(sum[0], ones(b.both(inside, atLeast(maximum(run), least))))};
  });
  return blockSums(subgroupSum(mine[0], 1))[0];
}

//===-- Bins ------------------------------------------------------------------------------------------------------===//

/// Each thread has bins of its own: no atomics, and no two threads in one bank. Keys outside [low, low + range) count nothing.
void LogitRuns::fillBins(Value low, Value range, Value shift, llvm::function_ref<Value(Value, Value)> values) {
  auto place = [&](Value bin) { return b.add(b.mul(bin, b.threads()), b.thread); };
  for (int64_t bin = 0; bin < b.subgroups; ++bin)
    b.storeScalar(integer(0), numbers, place(b.index(bin)));
  Value least = narrow(low), last = b.splat(b.i32(b.subgroups - 1), kPiece);
  overRuns(least, {}, [&](Value run, ValueRange) {
    auto [logits, keys] = read(run);
    Value above = b.sub(keys, b.splat(least, kPiece)); // as bits, whose number is below 2^32
    Value inside = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, above, b.splat(narrow(range), kPiece));
    Value counts = values(inside, logits); // 0 of those outside, whatever their bin
    Value bins = arith::MinUIOp::create(b, arith::ShRUIOp::create(b, above, b.splat(narrow(shift), kPiece)), last);
    for (int64_t i = 0; i < kPiece; ++i) {
      Value at = place(b.toIndex(b.extract(bins, i)));
      b.storeScalar(b.add(b.loadScalar(numbers, at), b.extract(counts, i)), numbers, at);
    }
    return Yield();
  });
  b.barrier();
}

/// Of all threads: a subgroup adds up a bin.
LogitRuns::Yield LogitRuns::binSums() {
  Value sum = integer(0), from = b.mul(b.subgroup, b.threads());
  for (int64_t i = 0; i < b.subgroups; ++i)
    sum = b.add(sum, b.loadScalar(numbers, b.add(b.add(from, i * b.device.subgroupSize), b.lane)));
  sum = subgroupSum(sum, 3);
  b.when(b.equal(b.lane, b.index(0)), [&] { b.storeScalar(sum, partials, b.subgroup); });
  b.barrier();
  Yield sums;
  for (int64_t bin = 0; bin < b.subgroups; ++bin)
    sums.push_back(b.loadScalar(partials, b.index(bin)));
  b.barrier(); // the next ones are written there
  return sums;
}

LogitRuns::Reached LogitRuns::reach(Value low, Value end, Value wanted, llvm::function_ref<Value(Value, Value)> values) {
  const int64_t bits = llvm::Log2_64(b.subgroups);
  auto shiftFor = [&](Value range) { // the least with which the last key of a range is in the last bin
    Value used = b.sub(integer(64 - bits), math::CountLeadingZerosOp::create(b, b.sub(range, integer(1))));
    return b.max(used, integer(0));
  };
  SmallVector<Type> types(3, i64);
  SmallVector<Location> locations(3, b.getLoc());
  auto loop = scf::WhileOp::create(b, types, ValueRange{low, end, integer(0)});
  OpBuilder::InsertionGuard guard(b);
  Block *before = b.createBlock(&loop.getBefore(), {}, types, locations);
  Value more = b.less(next(before->getArgument(0)), before->getArgument(1));
  scf::ConditionOp::create(b, more, before->getArguments());
  Block *after = b.createBlock(&loop.getAfter(), {}, types, locations);
  Value from = after->getArgument(0), to = after->getArgument(1), above = after->getArgument(2);
  Value range = b.sub(to, from), shift = shiftFor(range);
  fillBins(from, range, shift, values);
  Yield sums = binSums();
  // From the last bin down sums only grow: the first that is enough is the one to go on in.
  Value chosen = integer(0), sum = above;
  for (int64_t bin = b.subgroups - 1; bin > 0; --bin) {
    sum = b.add(sum, sums[bin]);
    Value enough = atLeast(sum, wanted);
    chosen = b.add(chosen, ones(enough));
    above = b.select(enough, above, sum);
  }
  Value first = b.add(from, arith::ShLIOp::create(b, chosen, shift));
  Value last = b.min(to, b.add(first, arith::ShLIOp::create(b, integer(1), shift)));
  scf::YieldOp::create(b, ValueRange{first, last, above});
  return {loop.getResult(0), loop.getResult(2)};
}

} // namespace qwench::gpu
