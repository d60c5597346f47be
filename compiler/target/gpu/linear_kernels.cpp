// Linear maps as products of subgroups: the form for few rows, where the weights' bytes are all that counts. A subgroup
// takes kOutputs rows of weights at a time and reads kUnroll pieces of each ahead: with 128 threads a block has 16 KiB in
// flight, and linearTogether() says how many blocks that takes.
#include "compiler/target/gpu/code_values.h"
#include "compiler/target/gpu/kernels.h"
#include "compiler/target/gpu/weight_rows.h"
#include "compiler/target/linear_map.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::gpu {

namespace {

constexpr int64_t kUnroll = 4;
/// The same where lanes have their products from a matrix unit, and keep little else in registers: of floats, and of codes.
constexpr int64_t kLaneUnroll = 8, kLaneCodesUnroll = 4;
/// Elements of a sum where there are many, of a panel or of several rows: CDNA multiplies two at once.
constexpr int64_t kPair = 2;

/// Rows of activations that pass a row of weights together, when there are several.
constexpr int64_t kRows = 4;
/// Most workgroup memory for rows that a block normalizes: what leaves a multiprocessor several blocks.
constexpr int64_t kNormalizedBytes = 40 << 10;

} // namespace

SubgroupProduct::SubgroupProduct(KernelBuilder &b, const Buffer &in, const PackedWeight &weight) : in(in), weight(weight) {
  if (weight.quant())
    panel.emplace(b, weight);
}

bool SubgroupProduct::onMatrixUnit(const KernelBuilder &b) const {
  if (!LaneProducts::has(b.device) || !in.element.isBF16())
    return false;
  return panel ? WeightPanel::hasPairs(weight.quant(), LaneProducts::kLanesOfGroup) : weight.type.getElementType().isBF16();
}

SubgroupProduct SubgroupProduct::forRows(KernelBuilder &b, int64_t rows) const {
  SubgroupProduct product = *this;
  if (onMatrixUnit(b))
    product.unit.emplace(b, rows);
  return product;
}

SmallVector<Value> SubgroupProduct::zeros(KernelBuilder &b, int64_t rows) const {
  if (unit)
    return SmallVector<Value>(rowsAtOnce() / LaneProducts::kWeightRows, unit->zeros(b));
  return SmallVector<Value>(rows * rowsAtOnce(), b.splat(b.f32(0), panel || rows > 1 ? kPair : kPiece));
}

SmallVector<Value> SubgroupProduct::starts(KernelBuilder &b, Value matrix, ValueRange rows, Value number) const {
  if (panel)
    return {panel->start(b, matrix, number)};
  SmallVector<Value> result;
  for (Value row : rows)
    result.push_back(WeightRows(weight).start(b, matrix, row));
  return result;
}

SmallVector<Value> SubgroupProduct::rowScales(KernelBuilder &b, ValueRange starts) const {
  return panel ? panel->rowScales(b, starts[0]) : SmallVector<Value>();
}

SmallVector<Value> SubgroupProduct::addScaled(KernelBuilder &b, ValueRange products, ValueRange factors, ValueRange sums) const {
  SmallVector<Value> result;
  size_t rows = factors.size() / sums.size(); // of weights, in a sum
  for (auto [i, sum] : llvm::enumerate(sums)) {
    Value factor = rows == 1 ? b.splat(factors[i], cast<VectorType>(sum.getType()).getNumElements())
                             : unit->factors(b, factors.slice(i * rows, rows));
    result.push_back(b.fma(factor, products[i], sum));
  }
  return result;
}

SmallVector<Value> SubgroupProduct::finish(KernelBuilder &b, ValueRange sums) const {
  SmallVector<Value> products;
  for (Value sum : sums)
    if (unit)
      llvm::append_range(products, unit->results(b, sum));
    else
      products.push_back(b.subgroupSum(b.sum(sum)));
  return products;
}

Value SubgroupProduct::ofLane(KernelBuilder &b, SmallVector<Value> values) {
  for (int64_t bit = 1; values.size() > 1; bit *= 2) {
    Value odd = b.equal(b.rem(b.div(b.lane, bit), 2), b.index(1));
    for (size_t i = 0; i < values.size() / 2; ++i)
      values[i] = b.select(odd, values[2 * i + 1], values[2 * i]);
    values.truncate(values.size() / 2);
  }
  return values[0];
}

/// What memory holds of columns column .. column + kPiece - 1 of the rows at `starts`; floats as f32, where threads multiply.
SmallVector<Value> SubgroupProduct::load(KernelBuilder &b, ValueRange starts, Value column) const {
  if (panel)
    return panel->load(b, starts[0], column);
  SmallVector<Value> pieces;
  for (Value start : starts) {
    Value at = WeightRows(weight).place(b, start, column);
    pieces.push_back(unit ? b.loadRaw(weight.memory, at) : b.load(weight.memory, at, kPiece));
  }
  return pieces;
}

/// The same as multiply(), on a matrix unit.
void SubgroupProduct::multiplyLanes(KernelBuilder &b, ValueRange loaded, Value input, MutableArrayRef<Value> sums) const {
  SmallVector<Value> weights(loaded), scales;
  if (panel) {
    std::tie(weights, scales) = panel->pairs(b, loaded, LaneProducts::kLanesOfGroup);
    input = vector::ShuffleOp::create(b, input, input, kPairOrder);
  }
  for (auto [i, sum] : llvm::enumerate(sums)) {
    auto ofFragment = [&](ArrayRef<Value> ofRows) { return ofRows.slice(i * LaneProducts::kWeightRows, LaneProducts::kWeightRows); };
    Value part = unit->multiply(b, ofFragment(weights), input, scales.empty() ? sum : unit->zeros(b));
    sum = scales.empty() ? part : b.fma(part, unit->factors(b, ofFragment(scales)), sum);
  }
}

/// Adds the products of what was loaded with `inputs`, one piece of each row of activations.
void SubgroupProduct::multiply(KernelBuilder &b, ValueRange loaded, ValueRange inputs, MutableArrayRef<Value> sums) const {
  if (unit)
    return multiplyLanes(b, loaded, inputs[0], sums);
  SmallVector<Value> weights(loaded), scales;
  if (panel) {
    // Many rows share the work of scaling weights; for one it is less to scale its sums.
    bool many = inputs.size() > 1;
    weights = many ? panel->values(b, loaded) : panel->codes(b, loaded);
    scales = many ? SmallVector<Value>() : panel->scales(b, loaded);
  }
  auto pair = [&](Value piece, int64_t i) -> Value {
    return vector::ShuffleOp::create(b, piece, piece, ArrayRef<int64_t>{kPair * i, kPair * i + 1});
  };
  for (auto [r, input] : llvm::enumerate(inputs))
    for (auto [o, weight] : llvm::enumerate(weights)) {
      Value &sum = sums[r * weights.size() + o];
      if (!panel && inputs.size() == 1) { // one row leaves registers for a sum of each element
        sum = b.fma(weight, input, sum);
        continue;
      }
      Value part = scales.empty() ? sum : b.mulf(pair(weight, 0), pair(input, 0));
      for (int64_t i = scales.empty() ? 0 : 1; i < kPiece / kPair; ++i)
        part = b.fma(pair(weight, i), pair(input, i), part);
      sum = scales.empty() ? part : b.fma(part, b.splat(scales[o], kPair), sum);
    }
}

SmallVector<Value> SubgroupProduct::accumulate(KernelBuilder &b, ValueRange rows, ValueRange starts,
                                               SmallVector<Value> sums) const {
  // What pads rows of quantized weights beyond whole pieces of the input is not read.
  int64_t width = weight.inputs(), padded = llvm::alignTo(width, kPiece);
  int64_t step = (unit ? unit->pieces() : b.device.subgroupSize) * kPiece, full = padded / step;
  int64_t unroll = rows.size() > 1 ? kUnroll / 2 : panel ? b.device.loadsAhead : kUnroll;
  if (unit) {
    unroll = panel ? kLaneCodesUnroll : kLaneUnroll;
    LaneProducts::converge(b);
  }
  Value first = b.mul(unit ? unit->weightPiece(b) : b.lane, kPiece);
  Value firstInput = unit ? b.mul(unit->inputPiece(b), kPiece) : first;
  // All loads of some steps, then their arithmetic. 16 bytes of a panel hold pieces of all its rows.
  auto steps = [&](Value k, int64_t count, ValueRange before) {
    SmallVector<Value> x, after(before);
    SmallVector<SmallVector<Value>> w;
    for (int64_t u = 0; u < count; ++u) {
      w.push_back(load(b, starts, b.add(b.add(first, k), u * step)));
      for (Value start : rows) {
        Value column = b.add(b.add(firstInput, k), u * step);
        x.push_back(unit ? b.inputPieceRaw(in, start, column, width) : b.inputPiece(in, start, column, width));
      }
    }
    for (int64_t u = 0; u < count; ++u)
      multiply(b, w[u], ArrayRef(x).slice(u * rows.size(), rows.size()), after);
    return after;
  };
  int64_t unrolled = full / unroll * unroll;
  if (unrolled) {
    sums = b.loop(b.index(0), b.index(unrolled * step), unroll * step, sums,
                  [&](Value k, ValueRange s) { return steps(k, unroll, s); });
    if (unit) // ptxas 13.0 has so little to do for a step that it unrolls further, until it spills
      b.keepRolled(sums);
  }
  if (full % unroll)
    sums = steps(b.index(unrolled * step), full % unroll, sums);
  if (padded % step && unit) // fewer pieces than lanes are left
    multiplyRest(b, rows[0], starts, b.add(first, full * step), b.add(firstInput, full * step), sums);
  else if (padded % step)
    sums = b.loop(b.add(first, full * step), b.index(padded), step, sums,
                  [&](Value k, ValueRange s) { return steps(b.sub(k, first), 1, s); });
  return sums;
}

/// Adds the products of the last pieces, those of columns `column` and `inputColumn` for this lane, if there are any. The unit takes
/// something from every lane: behind the last piece, that once more, and zeros.
void SubgroupProduct::multiplyRest(KernelBuilder &b, Value row, ValueRange starts, Value column, Value inputColumn,
                                   MutableArrayRef<Value> sums) const {
  int64_t width = weight.inputs(), padded = llvm::alignTo(width, kPiece);
  Value last = b.index(padded - kPiece), x = b.inputPieceRaw(in, row, b.min(inputColumn, last), width);
  Value none = arith::ConstantOp::create(b, b.getZeroAttr(x.getType()));
  multiply(b, load(b, starts, b.min(column, last)), b.select(b.less(inputColumn, b.index(padded)), x, none), sums);
}

//===-- A tile of products ----------------------------------------------------------------------------------------===//

namespace {

/// Runs body(first, count) on `atOnce` rows at a time, or on one if there is no other, of at most `most`. Rows may lie behind the
/// last one.
void forRowBlocks(KernelBuilder &b, Value begin, Value end, int64_t most, int64_t atOnce,
                  llvm::function_ref<void(Value, int64_t)> body) {
  if (most == 1)
    return body(begin, 1);
  auto blocks = [&] { b.loop(begin, end, atOnce, [&](Value row) { body(row, atOnce); }); };
  if (atOnce == 1)
    return blocks();
  auto alone = scf::IfOp::create(b, b.equal(b.sub(end, begin), b.index(1)), /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(alone.thenBlock());
  body(begin, 1);
  b.setInsertionPointToStart(alone.elseBlock());
  blocks();
}

/// Rows that a block has normalized for itself, in workgroup memory, in the type in which they meet the weights.
struct NormalizedRows {
  const RmsNorm &norm;
  Buffer buffer;
  int64_t rows; ///< that there is room for

  NormalizedRows(KernelBuilder &b, const RmsNorm &norm, Type element, int64_t most) : norm(norm) {
    buffer.width = norm.count(), buffer.stride = llvm::alignTo(norm.count(), kPiece), buffer.element = element;
    buffer.aligned = true, buffer.vector = norm.count() % kPiece ? 1 : kPiece;
    const int64_t rowBytes = buffer.stride * element.getIntOrFloatBitWidth() / 8;
    rows = std::min(kRows, most);
    while (rows > 1 && rows * rowBytes > kNormalizedBytes)
      rows /= 2;
    buffer.memory = b.shared(rows * buffer.stride, element);
  }

  Value start(KernelBuilder &b, Value row) const { return b.mul(row, buffer.stride); }
  /// All threads normalize a row of the input; a barrier shows it to the others.
  void fill(KernelBuilder &b, int64_t row, Value inputRow) const {
    norm.emit(b, b.mul(inputRow, norm.in.stride), buffer.memory, start(b, b.index(row)), /*aligned=*/true, b.thread, b.threads(),
              [&](Value sum) { return b.blockSum(sum); });
  }
};

} // namespace

/// Columns of a tile whose weights a subgroup multiplies together, or, of several panels, those of the lane's.
struct ProductTile::Group {
  Value column, end; ///< of the tile's columns
  SmallVector<Value> weightRows, starts;
};

/// Rows of activations that are multiplied together: `count` of them from row `first` of the result on, those before `end`.
struct ProductTile::RowBlock {
  Value first, end;
  int64_t count;
  llvm::function_ref<Value(Value)> start; ///< element of the product's input at which row number i of the block starts
};

void ProductTile::forGroups(KernelBuilder &b, const SubgroupProduct &product, Value matrix, Value firstColumn, int64_t columns,
                            llvm::function_ref<void(const Group &)> body) const {
  const int64_t perPanel = product.rowsAtOnce() / (swiglu ? 2 : 1), perGroup = perPanel * product.panels();
  Value end = b.min(b.add(firstColumn, columns), b.index(outputs));
  b.forSubgroups(llvm::divideCeil(columns, perGroup), [&](Value group) {
    Value first = b.add(firstColumn, b.mul(group, perGroup));
    b.when(b.less(first, b.index(outputs)), [&] {
      Value column = first, read = first;
      if (product.panels() > 1) { // which may lie behind the last one
        column = b.add(first, b.mul(product.unit->panel(b), perPanel));
        read = b.min(column, b.index((outputs - 1) / perPanel * perPanel));
      }
      SmallVector<Value> numbers = weightRows(b, read);
      body({column, end, numbers, product.starts(b, matrix, numbers, b.div(read, perPanel))});
    });
  });
}

/// `product` is that of the tile, or one of what it has normalized.
void ProductTile::multiplyRows(KernelBuilder &b, const SubgroupProduct &product, const Group &group, const RowBlock &rows) const {
  SmallVector<Value> starts;
  for (int64_t i = 0; i < (product.unit ? 1 : rows.count); ++i)
    starts.push_back(rows.start(product.unit ? product.unit->row(b) : b.index(i)));
  auto sums = product.accumulate(b, starts, group.starts, product.zeros(b, rows.count));
  auto products = product.finish(b, sums), scales = product.rowScales(b, group.starts);
  for (size_t i = 0; i < products.size() && !scales.empty(); ++i)
    products[i] = b.mulf(products[i], scales[i % scales.size()]);
  if (product.panels() > 1)
    finishLanes(b, *product.unit, group, rows, products);
  else
    finishRows(b, group, rows, products);
}

void ProductTile::emit(KernelBuilder &b, Value matrix, Value begin, Value end, Value firstColumn, int64_t columns) const {
  if (norm)
    return emitNormalized(b, matrix, begin, end, firstColumn, columns);
  if (fitsMatrixUnit(b, columns))
    return emitMatrix(b, matrix, begin, end, firstColumn, columns);
  Value last = b.sub(end, b.index(1));
  auto multiply = [&](const SubgroupProduct &ofBlock, const Group &group, Value first, int64_t count) {
    auto start = [&](Value i) { return b.mul(inputRow(b.min(b.add(first, i), last)), product.in.stride); };
    multiplyRows(b, ofBlock, group, {first, end, count, start});
  };
  if (product.onMatrixUnit(b)) // which takes as many panels together as rows
    return forRowBlocks(b, begin, end, rows, kRows, [&](Value first, int64_t count) {
      SubgroupProduct lanes = product.forRows(b, count);
      forGroups(b, lanes, matrix, firstColumn, columns, [&](const Group &group) { multiply(lanes, group, first, count); });
    });
  forGroups(b, product, matrix, firstColumn, columns, [&](const Group &group) {
    forRowBlocks(b, begin, end, rows, kRows, [&](Value first, int64_t count) { multiply(product, group, first, count); });
  });
}

void ProductTile::emitNormalized(KernelBuilder &b, Value matrix, Value begin, Value end, Value firstColumn, int64_t columns) const {
  auto quant = product.weight.quant();
  NormalizedRows normalized(b, *norm, quant ? b.getBF16Type() : product.weight.type.getElementType(), rows);
  SubgroupProduct ofNormalized = product;
  ofNormalized.in = normalized.buffer;
  Value last = b.sub(end, b.index(1));
  forRowBlocks(b, begin, end, rows, normalized.rows, [&](Value first, int64_t count) {
    for (int64_t i = 0; i < count; ++i)
      normalized.fill(b, i, inputRow(b.min(b.add(first, i), last)));
    b.barrier();
    SubgroupProduct ofBlock = ofNormalized.forRows(b, count);
    auto start = [&](Value i) { return normalized.start(b, i); };
    forGroups(b, ofBlock, matrix, firstColumn, columns,
              [&](const Group &group) { multiplyRows(b, ofBlock, group, {first, end, count, start}); });
    if (rows > normalized.rows)
      b.barrier(); // the next rows take the place of these
  });
}

/// The rows of weights that outputs column, column + 1, ... are products of: with swiglu those of the gates, then of the ups.
SmallVector<Value> ProductTile::weightRows(KernelBuilder &b, Value column) const {
  SmallVector<Value> rows{column};
  int64_t count = product.rowsAtOnce() / (swiglu ? 2 : 1);
  for (int64_t o = 1; o < count; ++o)
    rows.push_back(b.min(b.add(column, o), b.index(outputs - 1)));
  for (int64_t o = 0; swiglu && o < count; ++o)
    rows.push_back(b.add(rows[o], outputs)); // the up half stands behind the gate half
  return rows;
}

/// The results of the outputs whose weight rows these products are of, and are not yet biased.
SmallVector<Value> ProductTile::finished(KernelBuilder &b, ArrayRef<Value> weightRows, ArrayRef<Value> products) const {
  auto biased = [&](int64_t which) {
    Value product = products[which], added = bias ? bias(weightRows[which]) : Value();
    return added ? b.addf(product, added) : product;
  };
  int64_t count = weightRows.size() / (swiglu ? 2 : 1);
  SmallVector<Value> results;
  for (int64_t o = 0; o < count; ++o)
    results.push_back(swiglu ? b.swiglu(biased(o), biased(count + o)) : biased(o));
  return results;
}

/// Lane i finishes result i, of as many as a power of two: i % perGroup is its column's, i / perGroup its row's.
void ProductTile::finishRows(KernelBuilder &b, const Group &group, const RowBlock &rows, ArrayRef<Value> products) const {
  int64_t perRow = group.weightRows.size();
  SmallVector<Value> results;
  for (int64_t r = 0; r < rows.count; ++r)
    llvm::append_range(results, finished(b, group.weightRows, products.slice(r * perRow, perRow)));
  int64_t count = results.size(), perGroup = count / rows.count;
  Value row = b.add(rows.first, b.div(b.lane, perGroup)), target = b.add(group.column, b.rem(b.lane, perGroup));
  Value inside = b.both(b.less(row, rows.end), b.less(target, b.index(outputs)));
  b.when(b.both(b.less(b.lane, b.index(count)), inside), [&] { store(SubgroupProduct::ofLane(b, results), row, target); });
}

/// A lane finishes the results of its panel with one row.
void ProductTile::finishLanes(KernelBuilder &b, const LaneProducts &unit, const Group &group, const RowBlock &rows,
                              ArrayRef<Value> products) const {
  SmallVector<Value> results = finished(b, group.weightRows, products);
  Value row = b.add(rows.first, unit.resultRow(b));
  b.when(b.both(unit.isFirst(b), b.less(row, rows.end)), [&] {
    for (auto [o, result] : llvm::enumerate(results)) {
      Value target = b.add(group.column, o);
      b.when(b.less(target, group.end), [&] { store(result, row, target); });
    }
  });
}

//===-- Tiles of a linear map -------------------------------------------------------------------------------------===//

Value linearTiles(StepBuilder &host, Operation *op) {
  LinearMap map(op);
  ArrayRef<int64_t> tile = tileSizes(op);
  return host.mul(host.ceilDiv(host.rowsOf(map.dest), tile[0]), llvm::divideCeil(map.outputs(), tile[1]));
}

/// A block of four subgroups asks for 16 KiB at a time and is often busy with what has come: four of them are 64 KiB, three times
/// what 3.3 TB/s times 0.8 us are for each of 132 multiprocessors. Norms and codes need a few registers more than that leaves.
int64_t linearTogether(Operation *op) {
  auto fused = dyn_cast<FusedLinearOp>(op);
  auto grouped = dyn_cast<GroupedLinearOp>(op);
  const bool norm = (fused && fused.getNorm()) || (grouped && grouped.getNorm());
  const bool codes = isa<QuantType>(cast<ShapedType>(op->getOperand(1).getType()).getElementType());
  return codes || norm ? 3 : 4;
}

void emitLinear(KernelBuilder &b, Operation *op) {
  LinearMap map(op);
  ArrayRef<int64_t> tile = tileSizes(op);
  int64_t outputs = map.outputs(), columnTiles = llvm::divideCeil(outputs, tile[1]);
  auto [begin, end] = b.tileRange(b.div(b.tile, columnTiles), b.rowsOf(map.dest), tile[0]);
  ProductTile product{{b, b.buffer(map.input), b.weight(map.weight)}, outputs, map.swiglu, tile[0]};
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
  if (map.norm) {
    product.norm.emplace(RmsNorm{product.product.in, b.weight(map.norm), *map.eps});
    if (b.device.grid.prefetches)
      emitLinearAhead(b, op); // weights come while the block normalizes
  }
  product.emit(b, b.index(0), begin, end, b.mul(b.rem(b.tile, columnTiles), tile[1]), tile[1]);
}

void emitLinearAhead(KernelBuilder &b, Operation *op) {
  LinearMap map(op);
  int64_t outputs = map.outputs(), columns = tileSizes(op)[1];
  Value first = b.mul(b.rem(b.tile, llvm::divideCeil(outputs, columns)), columns);
  Columns{b.weight(map.weight), b.index(0), first, columns, outputs, map.swiglu}.prefetch(b, b.thread, b.threads());
}

} // namespace qwench::gpu
