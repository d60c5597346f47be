// Operands of a tile of products on their way to workgroup memory, kStep inputs at a time. The room of a step of all operands
// is a stage. Where the device copies asynchronously, stages are a ring: while one is multiplied, floats are copied to the one
// that was multiplied before it, and codes pass through registers, where they become bf16, to the one that is next. Elsewhere
// there is one stage, and all of the next step waits in registers until it is multiplied.
#pragma once

#include "compiler/target/gpu/kernels.h"
#include "compiler/target/gpu/matrix_unit.h"

#include <optional>

namespace qwench::gpu {

/// Inputs of a step: four pieces, so that rows are swizzled (StagedRows).
constexpr int64_t kStep = 32;
constexpr int64_t kPiecesOfRow = kStep / kPiece;

/// The columns of a tile in their order in workgroup memory. With swiglu the part of a subgroup is gate columns and then the
/// up columns of the same numbers, so that a lane has both.
struct TileColumns {
  mlir::Value matrix, first; ///< of the weight; of the result
  int64_t outputs, count, ofPart;
  bool swiglu;

  /// Row of the weight behind a place.
  mlir::Value weightRow(KernelBuilder &b, mlir::Value place) const;
  /// Place of a lane of a panel of `lanes` rows, the number of panels counted from the tile's first.
  mlir::Value place(KernelBuilder &b, mlir::Value panel, int64_t lane, int64_t lanes) const;
};

class TileOperands {
public:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;
  using Values = llvm::SmallVector<Value>;

  /// `rows` rows of the product's input, which start at these elements, and `columns` of its weight. They fit.
  TileOperands(KernelBuilder &b, const SubgroupProduct &product, int64_t rows, llvm::function_ref<Value(Value)> rowStart,
               const TileColumns &columns);

  /// Whether the block's threads share out so many rows and columns evenly, and workgroup memory has room for them.
  static bool fit(KernelBuilder &b, int64_t rows, int64_t columns);

  using Multiply = llvm::function_ref<Values(const StagedRows &rows, const StagedRows &columns, ValueRange sums)>;
  /// The sums after all steps. No thread reads what is staged any more when it is done.
  Values accumulate(KernelBuilder &b, Values sums, Multiply multiply) const;

private:
  /// Rows of floats: this thread moves one piece of every so many rows.
  struct FloatRows {
    Value memory;
    int64_t width;
    Value input;   ///< of the thread's pieces, in the step
    Values starts; ///< element of the row of each piece
    Value target;  ///< of the first, in a stage; the others follow `targetStep` elements apart
    int64_t targetStep;

    FloatRows(KernelBuilder &b, Value memory, int64_t width, int64_t rows, int64_t firstRow,
              llvm::function_ref<Value(Value)> rowStart);
    Values load(KernelBuilder &b, Value k) const;
    void store(KernelBuilder &b, ValueRange pieces, Value staged, Value stage) const;
    Values copy(KernelBuilder &b, Value k, Value staged, Value stage) const;
  };
  /// Panels of codes, which become bf16 where they are stored.
  struct CodePanels {
    const WeightPanel &panel;
    const TileColumns &columns;
    int64_t padded, pieces, firstRow; ///< inputs of a row of weights; steps of the tile; its place in a stage
    Values starts, inputs, panels;    ///< of each step that this thread moves

    CodePanels(KernelBuilder &b, const WeightPanel &panel, int64_t padded, const TileColumns &columns, int64_t firstRow);
    Values load(KernelBuilder &b, Value k) const;
    void store(KernelBuilder &b, ValueRange loaded, Value staged, Value stage) const;
  };

  static int64_t stagesFor(KernelBuilder &b, int64_t rows);
  Value copy(KernelBuilder &b, Value k, Value stage) const;
  Values load(KernelBuilder &b, Value k) const;
  void store(KernelBuilder &b, ValueRange loaded, Value stage) const;
  void arrive(KernelBuilder &b, Value copies) const;

  int64_t width, rows, stages, stageSize;
  bool async;
  Value staged;
  FloatRows input;
  std::optional<FloatRows> floats; ///< the weight's
  std::optional<CodePanels> codes;
};

} // namespace qwench::gpu
