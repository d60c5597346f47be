// Linear maps as products of subgroups: the form for few rows, where the weights' bytes are all that counts. A subgroup
// takes kOutputs rows of weights at a time and reads kUnroll pieces of each ahead: with 128 threads a block has 16 KiB in
// flight, and one block on each of 132 multiprocessors 2 MiB, about what 3.3 TB/s times 0.7 us asks for.
#include "compiler/target/gpu/kernels.h"
#include "compiler/target/linear_map.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::gpu {

namespace {

constexpr int64_t kUnroll = 4;

/// Rows of activations that pass a row of weights together, when there are several.
constexpr int64_t kRows = 4;

} // namespace

SmallVector<Value> SubgroupProduct::zeros(KernelBuilder &b, size_t count) {
  return SmallVector<Value>(count, b.splat(b.f32(0), kPiece));
}

SmallVector<Value> SubgroupProduct::finish(KernelBuilder &b, ValueRange sums) {
  SmallVector<Value> products;
  for (Value sum : sums)
    products.push_back(b.subgroupSum(b.sum(sum)));
  return products;
}

SmallVector<Value> SubgroupProduct::accumulate(KernelBuilder &b, ValueRange rows, ValueRange weights,
                                               SmallVector<Value> sums) const {
  int64_t width = weight.inputs(), padded = weight.layout.paddedInputs(width);
  int64_t step = b.device.subgroupSize * kPiece, full = padded / step;
  int64_t unroll = rows.size() == 1 ? kUnroll : kUnroll / 2;
  // All loads of some steps, then their arithmetic.
  auto steps = [&](Value k, int64_t count, ValueRange before) {
    SmallVector<Value> w, x, after(before);
    for (int64_t u = 0; u < count; ++u) {
      Value at = b.add(k, u * step);
      for (Value start : weights)
        w.push_back(b.load(weight.memory, b.add(start, at), kPiece));
      for (Value start : rows)
        x.push_back(b.inputPiece(in, start, at, width));
    }
    for (int64_t u = 0; u < count; ++u)
      for (size_t r = 0; r < rows.size(); ++r)
        for (size_t o = 0; o < weights.size(); ++o) {
          Value &sum = after[r * weights.size() + o];
          sum = b.fma(w[u * weights.size() + o], x[u * rows.size() + r], sum);
        }
    return after;
  };
  Value first = b.mul(b.lane, kPiece);
  int64_t unrolled = full / unroll * unroll;
  if (unrolled)
    sums = b.loop(b.index(0), b.index(unrolled * step), unroll * step, sums,
                  [&](Value k, ValueRange s) { return steps(b.add(first, k), unroll, s); });
  if (full % unroll)
    sums = steps(b.add(first, unrolled * step), full % unroll, sums);
  if (padded % step) // fewer pieces than lanes are left
    sums = b.loop(b.add(first, full * step), b.index(padded), step, sums,
                  [&](Value k, ValueRange s) { return steps(k, 1, s); });
  return sums;
}

//===-- A tile of products ----------------------------------------------------------------------------------------===//

namespace {

/// Runs `body` on `rows` rows at a time; rows behind the last one repeat it.
void forRowBlocks(KernelBuilder &b, Value begin, Value end, llvm::function_ref<void(ArrayRef<Value>)> body) {
  auto alone = scf::IfOp::create(b, b.equal(b.sub(end, begin), b.index(1)), /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(alone.thenBlock());
  body({begin});
  b.setInsertionPointToStart(alone.elseBlock());
  b.loop(begin, end, kRows, [&](Value row) {
    SmallVector<Value> rows{row};
    for (int64_t i = 1; i < kRows; ++i)
      rows.push_back(b.add(row, i));
    body(rows);
  });
}

} // namespace

void ProductTile::emit(KernelBuilder &b, Value matrix, Value begin, Value end, Value firstColumn, int64_t columns) const {
  if (fitsMatrixUnit(b, columns))
    return emitMatrix(b, matrix, begin, end, firstColumn, columns);
  int64_t perGroup = swiglu ? 1 : kOutputs, inputs = product.weight.layout.paddedInputs(product.weight.inputs());
  Value last = b.sub(end, b.index(1));
  b.forSubgroups(llvm::divideCeil(columns, perGroup), [&](Value group) {
    Value column = b.add(firstColumn, b.mul(group, perGroup));
    b.when(b.less(column, b.index(outputs)), [&] {
      SmallVector<Value> weightRows{column}, starts;
      if (swiglu)
        weightRows.push_back(b.add(column, outputs)); // the up half stands behind the gate half
      else
        for (int64_t o = 1; o < kOutputs; ++o)
          weightRows.push_back(b.min(b.add(column, o), b.index(outputs - 1)));
      for (Value row : weightRows)
        starts.push_back(b.add(matrix, b.mul(row, inputs)));
      forRowBlocks(b, begin, end, [&](ArrayRef<Value> rows) {
        SmallVector<Value> rowStarts;
        for (Value row : rows)
          rowStarts.push_back(b.mul(inputRow(b.min(row, last)), product.in.stride));
        size_t count = rows.size() * starts.size();
        auto sums = product.accumulate(b, rowStarts, starts, SubgroupProduct::zeros(b, count));
        finishRows(b, rows, end, column, weightRows, SubgroupProduct::finish(b, sums));
      });
    });
  });
}

/// Lane i finishes result i.
void ProductTile::finishRows(KernelBuilder &b, ArrayRef<Value> rows, Value end, Value column, ArrayRef<Value> weightRows,
                             ArrayRef<Value> products) const {
  Value value, row, offset;
  int64_t count = 0, perRow = weightRows.size();
  for (auto [r, candidate] : llvm::enumerate(rows))
    for (int64_t o = 0; o < (swiglu ? 1 : perRow); ++o, ++count) {
      auto biased = [&](int64_t which) {
        Value product = products[r * perRow + which], added = bias ? bias(weightRows[which]) : Value();
        return added ? b.addf(product, added) : product;
      };
      Value result = swiglu ? b.swiglu(biased(0), biased(1)) : biased(o);
      Value mine = b.equal(b.lane, b.index(count));
      value = count ? b.select(mine, result, value) : result;
      row = count ? b.select(mine, candidate, row) : candidate;
      offset = count ? b.select(mine, b.index(o), offset) : b.index(o);
    }
  Value target = b.add(column, offset);
  Value inside = b.both(b.less(row, end), b.less(target, b.index(outputs)));
  b.when(b.both(b.less(b.lane, b.index(count)), inside), [&] { store(value, row, target); });
}

//===-- Tiles of a linear map -------------------------------------------------------------------------------------===//

Value linearTiles(StepBuilder &host, Operation *op) {
  LinearMap map(op);
  ArrayRef<int64_t> tile = tileSizes(op);
  return host.mul(host.ceilDiv(host.rowsOf(map.dest), tile[0]), llvm::divideCeil(map.outputs(), tile[1]));
}

void emitLinear(KernelBuilder &b, Operation *op) {
  LinearMap map(op);
  ArrayRef<int64_t> tile = tileSizes(op);
  int64_t outputs = map.outputs(), columnTiles = llvm::divideCeil(outputs, tile[1]);
  auto [begin, end] = b.tileRange(b.div(b.tile, columnTiles), b.rowsOf(map.dest), tile[0]);
  ProductTile product{{b.buffer(map.input), b.weight(map.weight)}, outputs, map.swiglu, tile[0]};
  Buffer out = b.buffer(map.dest);
  std::optional<Buffer> residual;
  std::optional<PackedWeight> bias;
  if (map.residual)
    residual = b.buffer(map.residual);
  if (map.bias)
    bias = b.weight(map.bias);
  product.bias = [&](Value row) { return bias ? b.load(bias->memory, row) : Value(); };
  product.store = [&](Value value, Value row, Value column) {
    if (residual)
      value = b.addf(value, b.load(residual->memory, b.add(b.mul(row, residual->stride), column)));
    b.store(value, out.memory, b.add(b.mul(row, out.stride), column));
  };
  product.inputRow = [](Value row) { return row; };
  product.emit(b, b.index(0), begin, end, b.mul(b.rem(b.tile, columnTiles), tile[1]), tile[1]);
}

} // namespace qwench::gpu
