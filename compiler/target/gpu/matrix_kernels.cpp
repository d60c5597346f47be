// Tiles of products on matrix units: the form for many rows. Four subgroups, two by two or all together, share a tile, whose
// operands are staged in workgroup memory (operand_stages.h).
#include "compiler/target/gpu/operand_stages.h"

using namespace mlir;

namespace qwench::gpu {

namespace {

/// What a subgroup has of a tile's sums, `down` by `across` fragments. By itself it multiplies a quarter of the tile; four together
/// multiply all of it, and each has 16 of every 64 rows.
struct SubgroupTile {
  Fragments fragments;
  std::optional<WarpgroupUnit> warpgroup;
  int64_t columns, down, across, rowsApart; ///< rows from fragment to fragment
  Value firstRow, firstColumn;              ///< in the tile

  SubgroupTile(KernelBuilder &b, int64_t tileRows, int64_t tileColumns) : fragments(b) {
    if (b.device.matrix == MatrixUnit::Wgmma) {
      warpgroup.emplace(tileColumns);
      columns = tileColumns, down = tileRows / WarpgroupUnit::kRows, rowsApart = WarpgroupUnit::kRows;
      firstRow = b.mul(b.subgroup, Fragments::kRows), firstColumn = b.index(0);
    } else {
      columns = tileColumns / 2, down = tileRows / 2 / Fragments::kRows, rowsApart = Fragments::kRows;
      firstRow = b.mul(b.div(b.subgroup, 2), tileRows / 2), firstColumn = b.mul(b.rem(b.subgroup, 2), columns);
    }
    across = columns / fragments.columns();
  }

  SmallVector<Value> zeros(KernelBuilder &b) const {
    if (!warpgroup)
      return SmallVector<Value>(down * across, arith::ConstantOp::create(b, b.getZeroAttr(fragments.sumType(b))));
    SmallVector<Value> sums;
    for (int64_t i = 0; i < down; ++i)
      sums.push_back(warpgroup->zeros(b));
    return sums;
  }

  SmallVector<Value> multiply(KernelBuilder &b, const StagedRows &rows, const StagedRows &weights, ValueRange before) const {
    if (warpgroup)
      return warpgroup->multiply(b, rows, weights, before);
    SmallVector<Value> sums(before);
    StagedRows a = rows.from(b, firstRow), columns = weights.from(b, firstColumn);
    for (int64_t k = 0; k < rows.stride; k += Fragments::kInputs) {
      SmallVector<SmallVector<Value>> left, right;
      for (int64_t i = 0; i < down; ++i)
        left.push_back(fragments.loadA(b, a, i * Fragments::kRows, k));
      for (int64_t j = 0; j < this->columns; j += Fragments::kRows)
        llvm::append_range(right, fragments.loadB(b, columns, j, k));
      for (int64_t i = 0; i < down; ++i)
        for (int64_t j = 0; j < across; ++j)
          sums[i * across + j] = fragments.multiply(b, left[i], right[j], sums[i * across + j]);
    }
    return sums;
  }

  /// The fragments, row by row, of the sums of all steps.
  SmallVector<Value> fragmentsOf(KernelBuilder &b, ValueRange sums) const {
    if (!warpgroup)
      return llvm::to_vector(sums);
    SmallVector<Value> result;
    for (Value ofRows : sums)
      for (int64_t j = 0; j < across; ++j)
        result.push_back(warpgroup->fragment(b, ofRows, j));
    return result;
  }
};

} // namespace

bool ProductTile::fitsMatrixUnit(KernelBuilder &b, int64_t columns) const {
  int64_t tileColumns = swiglu ? 2 * columns : columns;
  if (!product.panel && WeightRows(product.weight).swizzled() && !TileOperands::copyPanels(b, outputs, swiglu))
    return false;
  return b.device.matrix != MatrixUnit::None && b.subgroups == 4 && TileOperands::fit(b, rows, tileColumns) &&
         (product.panel || product.weight.type.getElementType().isBF16()) && product.in.element.isBF16() &&
         product.in.aligned && product.weight.inputs() % kPiece == 0;
}

void ProductTile::emitMatrix(KernelBuilder &b, Value matrix, Value begin, Value end, Value firstColumn, int64_t columns) const {
  int64_t tileColumns = swiglu ? 2 * columns : columns;
  SubgroupTile part(b, rows, tileColumns);
  Value last = b.sub(end, b.index(1));
  auto rowStart = [&](Value row) { return b.mul(inputRow(b.min(b.add(begin, row), last)), product.in.stride); };
  TileColumns places{matrix, firstColumn, outputs, tileColumns, part.columns, swiglu};
  TileOperands operands(b, product, rows, rowStart, places);
  auto multiply = [&](const StagedRows &a, const StagedRows &weights, ValueRange sums) { return part.multiply(b, a, weights, sums); };
  auto results = part.fragmentsOf(b, operands.accumulate(b, part.zeros(b), multiply));
  int64_t perLane = part.fragments.sums(), stored = swiglu ? part.across / 2 : part.across;
  // What differs from lane to lane is in the first element's place, which differs from tile to tile as well: nothing of the
  // others' is worth a register outside of the loop over tiles.
  Value firstOfLane = b.add(b.add(begin, part.firstRow), part.fragments.laneRow(b));
  Value columnOfLane = b.add(firstColumn, swiglu ? b.div(part.firstColumn, 2) : part.firstColumn);
  columnOfLane = b.add(columnOfLane, part.fragments.laneColumn(b));
  for (int64_t i = 0; i < part.down; ++i)
    for (int64_t j = 0; j < stored; ++j)
      for (int64_t e = 0; e < perLane; ++e) {
        Value row = b.add(firstOfLane, i * part.rowsApart + part.fragments.rowOffset(e));
        Value column = b.add(columnOfLane, j * part.fragments.columns() + part.fragments.columnOffset(e));
        b.when(b.both(b.less(row, end), b.less(column, b.index(outputs))), [&] {
          auto sum = [&](int64_t across, Value weightRow) {
            Value value = b.extract(results[i * part.across + across], e), added = bias ? bias(weightRow) : Value();
            if (product.panel && WeightPanel::hasRowScales(product.weight.quant()))
              value = b.mulf(value, product.panel->rowScale(b, matrix, weightRow));
            return added ? b.addf(value, added) : value;
          };
          if (!swiglu)
            return store(sum(j, column), row, column);
          store(b.swiglu(sum(j, column), sum(j + stored, b.add(column, outputs))), row, column);
        });
      }
}

} // namespace qwench::gpu
