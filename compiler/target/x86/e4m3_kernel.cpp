#include "compiler/target/x86/e4m3_kernel.h"

#include "compiler/target/x86/micro_kernel.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;

namespace {

/// Columns of a step, whose bytes lie side by side for each of 32 lanes.
constexpr int64_t kPair = 2;
/// Vectors of 8 lanes by two columns that a step's codes become.
constexpr int64_t kQuarters = kPanel * kPair / kLanes;

struct E4M3Kernel {
  KernelBuilder &b;
  const PanelFormat &format;
  int64_t rows;
  Value a, panel;
  SmallVector<Value> rowStarts;

  VectorType floats() { return b.lanes(b.getF32Type()); }
  Value shuffle(Value x, Value y, ArrayRef<int64_t> places) { return vector::ShuffleOp::create(b, x, y, places); }

  /// What scales leave to be multiplied with.
  float factor() { return relativeTo(Float8E4M3FNType::get(b.getContext())); }

  /// The codes of the step at byte `at`, two columns of each lane side by side, divided by factor().
  SmallVector<Value> step(Value at) {
    SmallVector<Value> values;
    auto bytes = VectorType::get({kPanel}, b.getI8Type());
    for (int64_t half = 0; half < 2; ++half) {
      Value raw = vector::LoadOp::create(b, bytes, panel, ValueRange{b.add(at, half * kPanel)});
      Value all = scalesToRelative(b, raw, Float8E4M3FNType::get(b.getContext()));
      for (int64_t part = 0; part < 2; ++part)
        values.push_back(vector::ExtractStridedSliceOp::create(b, all, {part * kLanes}, {kLanes}, {1}));
    }
    return values;
  }

  /// Two elements of A from `at` on, in all pairs of lanes.
  Value pairOf(Value at) {
    Value two = vector::LoadOp::create(b, VectorType::get({kPair}, b.getF32Type()), a, ValueRange{at});
    SmallVector<int64_t> places;
    for (int64_t lane = 0; lane < kLanes; ++lane)
      places.push_back(lane % kPair);
    return shuffle(two, two, places);
  }

  /// The group's scales times factor(), each for the two columns of a lane.
  SmallVector<Value> scalesOf(Value at) {
    SmallVector<Value> result;
    for (Value half : PanelReader(b, format, panel).scales(at))
      for (int64_t part = 0; part < 2; ++part) {
        SmallVector<int64_t> places;
        for (int64_t lane = 0; lane < kLanes; ++lane)
          places.push_back(part * kLanes / kPair + lane / kPair);
        result.push_back(b.mulf(shuffle(half, half, places), b.splat(factor())));
      }
    return result;
  }

  /// Sums of `columns` columns of A from `column` on with the codes at byte `codes`, index r * kQuarters + quarter.
  KernelBuilder::Yield sumsOf(Value column, Value columns, Value codes) {
    SmallVector<Value> zeros(rows * kQuarters, b.splat(0.0f));
    return b.loop(b.index(0), columns, kPair, zeros, [&](Value i, ValueRange sums) {
      KernelBuilder::Yield next(sums);
      Value at = b.add(codes, b.mul(i, kPanel));
      prefetch(b, panel, at, kPair * kPanel);
      SmallVector<Value> weights = step(at);
      for (int64_t r = 0; r < rows; ++r) {
        Value x = pairOf(b.add(rowStarts[r], b.add(column, i)));
        for (int64_t q = 0; q < kQuarters; ++q)
          next[r * kQuarters + q] = b.fma(x, weights[q], next[r * kQuarters + q]);
      }
      return next;
    });
  }

  /// Sums of both columns of a lane: 16 lanes from the two vectors of a half.
  Value lanesOf(Value low, Value high) {
    SmallVector<int64_t> even, odd;
    for (int64_t lane = 0; lane < kLanes; ++lane)
      even.push_back(kPair * lane), odd.push_back(kPair * lane + 1);
    return b.addf(shuffle(low, high, even), shuffle(low, high, odd));
  }
};

/// The body of the function `(a, rowOffsets, row, b, bStart, columns, c, cStart)`.
void emitKernel(KernelBuilder &b, ValueRange arguments, const PanelFormat &format, int64_t rows) {
  auto argument = [&](unsigned n) { return arguments[n]; };
  E4M3Kernel kernel{b, format, rows, argument(0), argument(3), {}};
  for (int64_t r = 0; r < rows; ++r)
    kernel.rowStarts.push_back(b.toIndex(b.loadScalar(argument(1), b.add(argument(2), r))));
  SmallVector<Value> zeros(rows * kQuarters, b.splat(0.0f));
  auto sums = b.loop(b.index(0), argument(5), format.group, zeros, [&](Value column, ValueRange before) {
    KernelBuilder::Yield next(before);
    Value at = b.add(argument(4), b.mul(b.div(column, format.group), format.groupBytes()));
    Value columns = b.min(b.index(format.group), b.sub(argument(5), column));
    auto some = kernel.sumsOf(column, columns, b.add(at, format.codesAt()));
    SmallVector<Value> scales = format.scale ? kernel.scalesOf(at) : SmallVector<Value>(kQuarters, b.splat(kernel.factor()));
    for (int64_t i = 0; i < rows * kQuarters; ++i)
      next[i] = b.fma(some[i], scales[i % kQuarters], next[i]);
    return next;
  });
  for (int64_t i = 0; i < rows * 2; ++i)
    b.store(kernel.lanesOf(sums[2 * i], sums[2 * i + 1]), argument(6), b.add(argument(7), i * kLanes));
}

} // namespace

void x86::emitE4M3Product(KernelBuilder &b, const E4M3Product &p, Value count) {
  // Four accumulators and one converted vector of codes for each row and quarter.
  SmallVector<int64_t> blocks = b.machine.registers >= 32 ? SmallVector<int64_t>{4, 2, 1} : SmallVector<int64_t>{2, 1};
  forRowBlocks(b, b.index(0), count, blocks, [&](Value row, int64_t rows) {
    b.callShared("micro.f8." + p.format.name() + "." + std::to_string(rows) + "x" + std::to_string(kPanel),
                 {p.a, p.rowOffsets, row, p.b, p.bStart, b.index(p.columns), p.c, b.mul(row, kPanel)},
                 [&](KernelBuilder &b, ValueRange arguments) { emitKernel(b, arguments, p.format, rows); });
  });
}
