// Products of rows with the experts they chose, and their combination.
#include "compiler/target/gpu/kernels.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::gpu {

//===-- Grouped linear --------------------------------------------------------------------------------------------===//

Value groupedTiles(StepBuilder &host, Operation *op) {
  auto grouped = cast<GroupedLinearOp>(op);
  ArrayRef<int64_t> tile = tileSizes(op);
  int64_t columns = cast<MemRefType>(dest(op).getType()).getDimSize(1);
  return host.mul(host.ceilDiv(host.rowsOf(grouped.getPairs()), tile[1]), llvm::divideCeil(columns, tile[0]));
}

namespace {

/// The expert whose segment holds a sorted row, and the segment's end, found by all threads of a block. Segments hold every
/// sorted row: qwen.dispatch counts each pair.
class Segments {
public:
  Segments(KernelBuilder &b, Value offsets, int64_t experts)
      : offsets(offsets), found(b.shared(2, b.getI32Type())), experts(experts) {}

  std::pair<Value, Value> find(KernelBuilder &b, Value row) const {
    b.barrier(); // all have read what was found before
    b.forThreads(experts, [&](Value expert) {
      Value end = b.loadScalar(offsets, b.add(expert, 1));
      Value begins = b.less(b.toIndex(b.loadScalar(offsets, expert)), b.add(row, 1));
      b.when(b.both(begins, b.less(row, b.toIndex(end))), [&] {
        b.storeScalar(b.toI32(expert), found, b.index(0));
        b.storeScalar(end, found, b.index(1));
      });
    });
    b.barrier();
    return {b.toIndex(b.loadScalar(found, b.index(0))), b.toIndex(b.loadScalar(found, b.index(1)))};
  }

private:
  Value offsets, found;
  int64_t experts;
};

} // namespace

void emitGroupedLinear(KernelBuilder &b, Operation *op) {
  auto grouped = cast<GroupedLinearOp>(op);
  ArrayRef<int64_t> tile = tileSizes(op);
  Buffer out = b.buffer(dest(op));
  Value pairs = b.buffer(grouped.getPairs()).memory, offsets = b.buffer(grouped.getOffsets()).memory;
  ProductTile product{{b, b.buffer(grouped.getInput()), b.weight(grouped.getWeight())}, out.width,
                      grouped.getActivation() == Activation::Swiglu, tile[1]};
  product.inputRow = [&](Value row) {
    return grouped.getGather() ? b.div(b.toIndex(b.loadScalar(pairs, row)), grouped.getTopK()) : row;
  };
  product.store = [&](Value value, Value row, Value column) {
    b.store(value, out.memory, b.add(b.mul(row, out.stride), column));
  };
  if (grouped.getNorm())
    product.norm.emplace(RmsNorm{product.product.in, b.weight(grouped.getNorm()), *grouped.getEps()});
  int64_t columnTiles = llvm::divideCeil(out.width, tile[0]);
  auto [first, last] = b.tileRange(b.div(b.tile, columnTiles), b.rowsOf(grouped.getPairs()), tile[1]);
  Value begin = first, end = last, column = b.mul(b.rem(b.tile, columnTiles), tile[0]);
  Segments segments(b, offsets, product.product.weight.type.getDimSize(0));
  // A range of sorted rows may hold the ends of several segments.
  scf::WhileOp::create(
      b, TypeRange{b.getIndexType()}, ValueRange{begin},
      [&](OpBuilder &, Location, ValueRange row) { scf::ConditionOp::create(b, b.less(row[0], end), row); },
      [&](OpBuilder &, Location, ValueRange row) {
        auto [expert, segmentEnd] = segments.find(b, row[0]);
        Value until = b.max(b.min(segmentEnd, end), b.add(row[0], 1)); // the block ends, whatever offsets hold
        const PackedWeight &weight = product.product.weight;
        if (product.norm && b.device.grid.prefetches) { // weights come while the block normalizes
          Columns read{weight, b.mul(expert, weight.matrixStride()), column, tile[0], out.width, product.swiglu};
          read.prefetch(b, b.thread, b.threads());
        }
        product.emit(b, b.mul(expert, product.product.matrixStride()), row[0], until, column, tile[0]);
        scf::YieldOp::create(b, until);
      });
}

//===-- Combination -----------------------------------------------------------------------------------------------===//

namespace {

/// The k sorted rows of one row of the step, ascending, in workgroup memory.
struct RowPairs {
  Value sorted, weights; ///< [k] i32 sorted rows, f32 weights
  int64_t k;

  RowPairs(KernelBuilder &b, Value pairs, Value count, const Buffer &weightRows, Value row) : k(weightRows.width) {
    Value found = b.shared(k, b.getI32Type());
    sorted = b.shared(k, b.getI32Type()), weights = b.shared(k, b.getF32Type());
    b.forThreads(count, [&](Value i) {
      Value pair = b.toIndex(b.loadScalar(pairs, i));
      b.when(b.equal(b.div(pair, k), row), [&] { b.storeScalar(b.toI32(i), found, b.rem(pair, k)); });
    });
    b.barrier();
    b.forThreads(k, [&](Value j) {
      Value mine = b.loadScalar(found, j);
      Value rank = b.loop(b.index(0), b.index(k), 1, {b.index(0)}, [&](Value other, ValueRange before) {
        Value smaller = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, b.loadScalar(found, other), mine);
        return KernelBuilder::Yield{b.select(smaller, b.add(before[0], 1), before[0])};
      })[0];
      b.storeScalar(mine, sorted, rank);
      b.storeScalar(b.load(weightRows.memory, b.add(b.mul(row, weightRows.stride), j)), weights, rank);
    });
    b.barrier();
  }
  Value row(KernelBuilder &b, Value j) const { return b.toIndex(b.loadScalar(sorted, j)); }
};

} // namespace

Value combineTiles(StepBuilder &host, Operation *op) {
  int64_t columns = cast<MemRefType>(dest(op).getType()).getDimSize(1);
  return host.mul(host.rowsOf(dest(op)), llvm::divideCeil(columns, tileSizes(op)[0]));
}

void emitGroupedLinearCombine(KernelBuilder &b, Operation *op) {
  auto combine = cast<GroupedLinearCombineOp>(op);
  Buffer out = b.buffer(dest(op));
  SubgroupProduct product = SubgroupProduct(b, b.buffer(combine.getInput()), b.weight(combine.getWeight())).forRows(b, 1);
  int64_t columns = tileSizes(op)[0], columnTiles = llvm::divideCeil(out.width, columns);
  int64_t experts = product.weight.type.getDimSize(0), atOnce = product.rowsAtOnce();
  Value row = b.div(b.tile, columnTiles), firstColumn = b.mul(b.rem(b.tile, columnTiles), columns);
  Value offsets = b.buffer(combine.getOffsets()).memory;
  RowPairs pairs(b, b.buffer(combine.getPairs()).memory, b.rowsOf(combine.getPairs()), b.buffer(combine.getWeights()), row);
  // The expert of each pair: the one whose segment holds it.
  Value chosen = b.shared(pairs.k, b.getI32Type());
  b.forThreads(experts * pairs.k, [&](Value i) {
    Value expert = b.div(i, pairs.k), j = b.rem(i, pairs.k), at = pairs.row(b, j);
    Value begins = b.less(b.toIndex(b.loadScalar(offsets, expert)), b.add(at, 1));
    Value ends = b.toIndex(b.loadScalar(offsets, b.add(expert, 1)));
    b.when(b.both(begins, b.less(at, ends)), [&] { b.storeScalar(b.toI32(expert), chosen, j); });
  });
  b.barrier();
  std::optional<Buffer> residual;
  if (combine.getResidual())
    residual = b.buffer(combine.getResidual());
  b.forSubgroups(llvm::divideCeil(columns, atOnce), [&](Value group) {
    Value column = b.add(firstColumn, b.mul(group, atOnce));
    b.when(b.less(column, b.index(out.width)), [&] {
      auto sums = b.loop(b.index(0), b.index(pairs.k), 1, product.zeros(b, 1), [&](Value j, ValueRange sums) {
        Value expert = b.toIndex(b.loadScalar(chosen, j));
        SmallVector<Value> rows;
        for (int64_t o = 0; o < atOnce; ++o)
          rows.push_back(b.min(b.add(column, o), b.index(out.width - 1)));
        auto starts = product.starts(b, b.mul(expert, product.matrixStride()), rows, b.div(column, atOnce));
        auto products = product.accumulate(b, {b.mul(pairs.row(b, j), product.in.stride)}, starts, product.zeros(b, 1));
        auto scales = product.rowScales(b, starts);
        Value weight = b.loadScalar(pairs.weights, j);
        SmallVector<Value> factors;
        for (int64_t o = 0; o < atOnce; ++o)
          factors.push_back(scales.empty() ? weight : b.mulf(weight, scales[o]));
        return product.addScaled(b, products, factors, sums);
      });
      b.keepRolled(sums); // as in SubgroupProduct::accumulate
      Value value = SubgroupProduct::ofLane(b, product.finish(b, sums));
      Value target = b.add(column, b.rem(b.lane, atOnce));
      b.when(b.both(b.less(b.lane, b.index(atOnce)), b.less(target, b.index(out.width))), [&] {
        if (residual)
          value = b.addf(b.load(residual->memory, b.add(b.mul(row, residual->stride), target)), value);
        b.store(value, out.memory, b.add(b.mul(row, out.stride), target));
      });
    });
  });
}

void emitCombine(KernelBuilder &b, Operation *op) {
  auto combine = cast<CombineOp>(op);
  Buffer in = b.buffer(combine.getInput()), out = b.buffer(dest(op));
  RowPairs pairs(b, b.buffer(combine.getPairs()).memory, b.rowsOf(combine.getPairs()), b.buffer(combine.getWeights()), b.tile);
  std::optional<Buffer> residual;
  if (combine.getResidual())
    residual = b.buffer(combine.getResidual());
  b.forThreads(out.width, [&](Value column) {
    Value start = residual ? b.load(residual->memory, b.add(b.mul(b.tile, residual->stride), column)) : b.f32(0);
    Value sum = b.loop(b.index(0), b.index(pairs.k), 1, {start}, [&](Value j, ValueRange s) {
      Value x = b.load(in.memory, b.add(b.mul(pairs.row(b, j), in.stride), column));
      return KernelBuilder::Yield{b.fma(b.loadScalar(pairs.weights, j), x, s[0])};
    })[0];
    b.store(sum, out.memory, b.add(b.mul(b.tile, out.stride), column));
  });
}

} // namespace qwench::gpu
