// Tiles of products on matrix units: the form for many rows. Four subgroups, two by two, share a tile; a step of kStep
// inputs of both operands is staged in workgroup memory while the next one is on its way in registers.
#include "compiler/target/gpu/kernels.h"
#include "compiler/target/gpu/matrix_unit.h"

using namespace mlir;

namespace qwench::gpu {

namespace {

/// Inputs of a step, and elements from row to row in workgroup memory: 20 words apart, the 8 rows that lanes of mma.sync
/// read at once begin at different banks.
constexpr int64_t kStep = 32, kStride = kStep + kPiece;
constexpr int64_t kPiecesOfRow = kStep / kPiece;

/// One operand of a tile: rows in global memory, their pieces that this thread moves.
struct Operand {
  Value memory, staged;
  SmallVector<Value> starts;  ///< element index of each piece's row
  SmallVector<Value> inputs;  ///< of each piece, in the step
  SmallVector<Value> targets; ///< in `staged`

  Operand(KernelBuilder &b, Value memory, int64_t rows, llvm::function_ref<Value(Value)> rowStart) : memory(memory) {
    staged = b.shared(rows * kStride, b.getBF16Type());
    for (int64_t first = 0; first < rows * kPiecesOfRow; first += b.threads()) {
      Value piece = b.add(b.thread, first), row = b.div(piece, kPiecesOfRow);
      starts.push_back(rowStart(row));
      inputs.push_back(b.mul(b.rem(piece, kPiecesOfRow), kPiece));
      targets.push_back(b.add(b.mul(row, kStride), inputs.back()));
    }
  }

  /// The pieces of the step from input `k` on, of rows of `width` inputs; zeros behind them.
  SmallVector<Value> load(KernelBuilder &b, Value k, int64_t width) const {
    SmallVector<Value> pieces;
    auto type = b.vectorOf(kPiece, b.getBF16Type());
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
    for (auto [start, input] : llvm::zip(starts, inputs)) {
      Value at = b.add(k, input), place = b.add(start, b.min(at, b.index(width - kPiece)));
      Value piece = b.loadRaw(memory, place);
      pieces.push_back(width % kStep ? b.select(b.less(at, b.index(width)), piece, zero) : piece);
    }
    return pieces;
  }

  void stage(KernelBuilder &b, ValueRange pieces) const {
    for (auto [piece, target] : llvm::zip(pieces, targets))
      b.storeRaw(piece, staged, target);
  }
};

/// The columns of a tile in their order in workgroup memory. With swiglu the part of a subgroup is gate columns and then the
/// up columns of the same numbers, so that a lane has both.
struct TileColumns {
  Value matrix, first; ///< of the weight; of the result
  int64_t outputs, count, ofPart;
  bool swiglu;

  /// Row of the weight behind a place.
  Value weightRow(KernelBuilder &b, Value place) const {
    if (!swiglu)
      return b.min(b.add(first, place), b.index(outputs - 1));
    Value part = b.div(place, ofPart), within = b.rem(place, ofPart);
    Value column = b.add(b.add(first, b.mul(part, ofPart / 2)), b.rem(within, ofPart / 2));
    return b.add(b.min(column, b.index(outputs - 1)), b.mul(b.div(within, ofPart / 2), outputs));
  }
  /// Place of a lane of a panel of `lanes` rows, the number of panels counted from the tile's first.
  Value place(KernelBuilder &b, Value panel, int64_t lane, int64_t lanes) const {
    if (!swiglu)
      return b.add(b.mul(panel, lanes), lane);
    Value column = b.add(b.mul(panel, lanes / 2), lane % (lanes / 2));
    Value part = b.mul(b.div(column, ofPart / 2), ofPart);
    return b.add(b.add(part, b.rem(column, ofPart / 2)), lane / (lanes / 2) * (ofPart / 2));
  }
};

/// Quantized weights of a tile: steps of panels in global memory, which become bf16 on their way to workgroup memory.
struct QuantizedOperand {
  const WeightPanel &panel;
  const TileColumns &columns;
  Value staged;
  int64_t padded, pieces;     ///< inputs of a row of weights; steps of the tile
  SmallVector<Value> starts, inputs, panels; ///< of each step that this thread moves

  QuantizedOperand(KernelBuilder &b, const WeightPanel &panel, int64_t padded, const TileColumns &columns)
      : panel(panel), columns(columns), padded(padded), pieces(columns.count / panel.rows() * kPiecesOfRow) {
    staged = b.shared(columns.count * kStride, b.getBF16Type());
    int64_t perPanel = columns.swiglu ? panel.rows() / 2 : panel.rows(), last = (columns.outputs - 1) / perPanel;
    for (int64_t first = 0; first < pieces; first += b.threads()) {
      Value piece = b.add(b.thread, first), number = b.div(piece, kPiecesOfRow);
      panels.push_back(number);
      inputs.push_back(b.mul(b.rem(piece, kPiecesOfRow), kPiece));
      starts.push_back(panel.start(b, columns.matrix, b.min(b.add(b.div(columns.first, perPanel), number), b.index(last))));
    }
  }

  /// What is behind the inputs meets zeros of the other operand.
  SmallVector<Value> load(KernelBuilder &b, Value k) const {
    SmallVector<Value> loaded;
    for (auto [start, input] : llvm::zip(starts, inputs))
      llvm::append_range(loaded, panel.load(b, start, b.min(b.add(k, input), b.index(padded - kPiece))));
    return loaded;
  }

  void stage(KernelBuilder &b, ValueRange loaded) const {
    size_t each = loaded.size() / starts.size();
    for (size_t i = 0; i < starts.size(); ++i) {
      auto move = [&] {
        auto rows = panel.values(b, loaded.slice(i * each, each));
        for (auto [lane, row] : llvm::enumerate(rows)) {
          Value rounded = arith::TruncFOp::create(b, b.vectorOf(kPiece, b.getBF16Type()), row);
          Value place = columns.place(b, panels[i], lane, panel.rows());
          b.storeRaw(rounded, staged, b.add(b.mul(place, kStride), inputs[i]));
        }
      };
      if (pieces % b.threads()) // fewer steps than threads
        b.when(b.less(b.add(b.thread, i * b.threads()), b.index(pieces)), move);
      else
        move();
    }
  }
};

/// Weights of a tile, of any format.
class WeightOperand {
public:
  WeightOperand(KernelBuilder &b, const SubgroupProduct &product, const TileColumns &columns) : width(product.weight.inputs()) {
    int64_t padded = product.weight.layout.paddedInputs(width);
    if (product.panel)
      quantized.emplace(b, *product.panel, padded, columns);
    else
      floats.emplace(b, product.weight.memory, columns.count, [&](Value place) {
        return b.add(columns.matrix, b.mul(columns.weightRow(b, place), padded));
      });
  }
  SmallVector<Value> load(KernelBuilder &b, Value k) const { return quantized ? quantized->load(b, k) : floats->load(b, k, width); }
  void stage(KernelBuilder &b, ValueRange loaded) const {
    return quantized ? quantized->stage(b, loaded) : floats->stage(b, loaded);
  }
  Value staged() const { return quantized ? quantized->staged : floats->staged; }

private:
  int64_t width;
  std::optional<Operand> floats;
  std::optional<QuantizedOperand> quantized;
};

/// The part of a tile that a subgroup multiplies: `down` by `across` fragments.
struct SubgroupTile {
  Fragments fragments;
  int64_t rows, columns, down, across;
  Value firstRow, firstColumn; ///< in the tile

  SubgroupTile(KernelBuilder &b, int64_t tileRows, int64_t tileColumns)
      : fragments(b), rows(tileRows / 2), columns(tileColumns / 2), down(rows / Fragments::kRows),
        across(columns / fragments.columns()), firstRow(b.mul(b.div(b.subgroup, 2), rows)),
        firstColumn(b.mul(b.rem(b.subgroup, 2), columns)) {}

  SmallVector<Value> multiply(KernelBuilder &b, Value a, Value weights, ValueRange before) const {
    SmallVector<Value> sums(before);
    for (int64_t k = 0; k < kStep; k += Fragments::kInputs) {
      SmallVector<SmallVector<Value>> left, right;
      for (int64_t i = 0; i < down; ++i)
        left.push_back(fragments.loadA(b, a, b.add(b.mul(b.add(firstRow, i * Fragments::kRows), kStride), k), kStride));
      for (int64_t j = 0; j < across; ++j)
        right.push_back(fragments.loadB(b, weights, b.add(b.mul(b.add(firstColumn, j * fragments.columns()), kStride), k), kStride));
      for (int64_t i = 0; i < down; ++i)
        for (int64_t j = 0; j < across; ++j)
          sums[i * across + j] = fragments.multiply(b, left[i], right[j], sums[i * across + j]);
    }
    return sums;
  }
};

} // namespace

bool ProductTile::fitsMatrixUnit(KernelBuilder &b, int64_t columns) const {
  int64_t tileColumns = swiglu ? 2 * columns : columns;
  auto divides = [&](int64_t size) { return size % 64 == 0 && size * kPiecesOfRow % b.threads() == 0; };
  return b.device.matrix != MatrixUnit::None && b.subgroups == 4 && divides(rows) && divides(tileColumns) &&
         (product.panel || product.weight.type.getElementType().isBF16()) && product.in.element.isBF16() && product.in.aligned &&
         product.weight.inputs() % kPiece == 0;
}

void ProductTile::emitMatrix(KernelBuilder &b, Value matrix, Value begin, Value end, Value firstColumn, int64_t columns) const {
  int64_t width = product.weight.inputs();
  int64_t tileColumns = swiglu ? 2 * columns : columns;
  SubgroupTile part(b, rows, tileColumns);
  Value last = b.sub(end, b.index(1));
  Operand a(b, product.in.memory, rows, [&](Value row) {
    return b.mul(inputRow(b.min(b.add(begin, row), last)), product.in.stride);
  });
  TileColumns places{matrix, firstColumn, outputs, tileColumns, part.columns, swiglu};
  WeightOperand weights(b, product, places);
  size_t aPieces = a.starts.size(), sums = part.down * part.across;
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(part.fragments.sumType(b)));
  SmallVector<Value> state = a.load(b, b.index(0), width);
  llvm::append_range(state, weights.load(b, b.index(0)));
  size_t pieces = state.size();
  state.append(sums, zero);
  state = b.loop(b.index(0), b.index(width), kStep, state, [&](Value k, ValueRange now) {
    b.barrier(); // what is staged is read
    a.stage(b, now.take_front(aPieces));
    weights.stage(b, now.slice(aPieces, pieces - aPieces));
    b.barrier();
    Value next = b.add(k, kStep);
    KernelBuilder::Yield after = a.load(b, next, width);
    llvm::append_range(after, weights.load(b, next));
    llvm::append_range(after, part.multiply(b, a.staged, weights.staged(), now.drop_front(pieces)));
    return after;
  });
  ArrayRef<Value> results = ArrayRef(state).drop_front(pieces);
  int64_t perLane = part.fragments.sums(), stored = swiglu ? part.across / 2 : part.across;
  // What differs from lane to lane is in the first element's place, which differs from tile to tile as well: nothing of the
  // others' is worth a register outside of the loop over tiles.
  Value firstOfLane = b.add(b.add(begin, part.firstRow), part.fragments.laneRow(b));
  Value columnOfLane = b.add(firstColumn, swiglu ? b.mul(b.rem(b.subgroup, 2), part.columns / 2) : part.firstColumn);
  columnOfLane = b.add(columnOfLane, part.fragments.laneColumn(b));
  for (int64_t i = 0; i < part.down; ++i)
    for (int64_t j = 0; j < stored; ++j)
      for (int64_t e = 0; e < perLane; ++e) {
        Value row = b.add(firstOfLane, i * Fragments::kRows + part.fragments.rowOffset(e));
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
