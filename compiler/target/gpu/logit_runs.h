// A row of logits as a block of threads searches it.
//
// The row is cut into runs, of what a subgroup reads at once: a piece a lane. One pass finds the greatest key of each run, in
// workgroup memory; later passes read only the runs that hold what they look for. All sums are integers: no order, no atomics.
#pragma once

#include "compiler/target/gpu/token_keys.h"

namespace qwench::gpu {

/// i64 numbers, and vectors of kPiece of them.
class Integers {
public:
  using Value = mlir::Value;
  explicit Integers(KernelBuilder &b) : b(b), i64(b.getI64Type()) {}

  Value integer(int64_t value) { return mlir::arith::ConstantOp::create(b, b.getI64IntegerAttr(value)); }
  Value none() { return b.splat(integer(0), kPiece); }
  Value narrow(Value integer) { return mlir::arith::TruncIOp::create(b, b.getI32Type(), integer); }
  Value next(Value x) { return b.add(x, integer(1)); }
  Value atLeast(Value x, Value y) { return mlir::arith::CmpIOp::create(b, mlir::arith::CmpIPredicate::sge, x, y); }
  Value atMost(Value x, Value y) { return atLeast(y, x); }
  /// 1 where a condition holds, else 0.
  Value ones(Value condition);
  /// Sum of a vector's elements.
  Value total(Value vector);
  /// The greatest number of [low, high) that is low, where `low` is and `high` is not; those that are low come first.
  Value bisect(Value low, Value high, llvm::function_ref<Value(Value)> isLow);

protected:
  KernelBuilder &b;
  mlir::Type i64;
};

class LogitRuns : public Integers {
public:
  using Yield = KernelBuilder::Yield;
  /// Of a row of `in` that starts at `start`; ids from `candidates` on (i32) are none. Finds the maxima.
  LogitRuns(KernelBuilder &b, const Buffer &in, Value start, Value candidates);

  int64_t length() const { return kPiece * b.device.subgroupSize; } ///< ids of a run
  int64_t count() const { return runs; }

  /// The lane's first id of a run, and its logits with their keys.
  Value firstId(Value run) { return b.add(b.mul(run, length()), b.mul(b.lane, kPiece)); }
  std::pair<Value, Value> read(Value run);
  Value maximum(Value run) { return b.loadScalar(maxima, run); }
  /// The greatest key: i64.
  Value greatest();

  /// Sums over the subgroup, of numbers of at most `words` times 24 bits.
  Value subgroupSum(Value value, int words);
  /// Sums over the block of up to two such sums.
  Yield blockSums(mlir::ValueRange sums);
  Value blockMinimum(Value subgroupMinimum);

  /// Lists the runs whose greatest key is at least `key` (i64): only these are read from here on.
  void keep(Value key);
  /// Runs body(run, values) for those of the listed runs whose greatest key is at least `key` (i32), a subgroup each.
  Yield overRuns(Value key, mlir::ValueRange inits, llvm::function_ref<Yield(Value run, mlir::ValueRange)> body);
  /// Runs body(run, whether it is below `end`, values) for all runs, a thread each; the run is one that there is in any case.
  /// All threads run as often, so that those of a subgroup stay together.
  Yield overThreads(Value end, mlir::ValueRange inits, llvm::function_ref<Yield(Value, Value, mlir::ValueRange)> body);

  /// Runs that hold a candidate whose key is at least this (i64): at most as many as there are such candidates.
  Value countRunsFrom(Value key);

  /// A key, and what the candidates with greater ones sum to; i64.
  struct Reached {
    Value key, above;
  };
  /// Of the candidates of listed runs the greatest key from which on they sum to `wanted` at least, or `low` if that is not below
  /// `end`. `values` gives what each of a piece counts, from its logits: 0 where the condition `inside` does not hold. Each round
  /// cuts the keys into as many bins as the block has subgroups, and goes on in one: 11 rounds at most.
  Reached reach(Value low, Value end, Value wanted, llvm::function_ref<Value(Value inside, Value logits)> values);

private:
  void findMaxima();
  void fillBins(Value low, Value range, Value shift, llvm::function_ref<Value(Value, Value)> values);
  Yield binSums();
  Yield combine(mlir::ValueRange values, llvm::function_ref<Value(Value, Value)> two);

  Buffer in;
  Value start, candidates;
  int64_t runs;
  int64_t share; ///< most runs of a subgroup
  // Workgroup memory: i32 [runs], i64 [2 * subgroups], i32 [subgroups, share] and how many of them there are.
  Value maxima, partials, listed, listedCount;

protected:
  /// i64 [subgroups, threads], and at least [runs]: bins of each thread while reach() runs, free at other times.
  Value numbers;
};

} // namespace qwench::gpu
