// Operands of a tile of products on their way to workgroup memory, some inputs at a time, a step. The room of a step of all
// operands is a stage. Where the device copies asynchronously, stages are a ring: while one is multiplied, floats are copied to
// the one that was multiplied before it, and codes pass through registers, where they become bf16, to the one that is next.
// Where products go on beside their threads, the one that was multiplied before may still be read, and copies go to the one
// before that. Elsewhere there is one stage, and all of the next step waits in registers until it is multiplied.
#pragma once

#include "compiler/target/gpu/kernels.h"
#include "compiler/target/gpu/stage_barriers.h"
#include "compiler/target/gpu/warpgroup_unit.h"
#include "compiler/target/gpu/weight_rows.h"

#include <optional>

namespace qwench::gpu {

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

  /// Whether swizzled panels of a weight hold columns of a tile as they are to be staged.
  static bool copyPanels(KernelBuilder &b, int64_t outputs, bool swiglu) {
    return b.device.matrix == MatrixUnit::Wgmma && (!swiglu || outputs % WeightRows::kRows == 0);
  }

  using Multiply = llvm::function_ref<Values(const StagedRows &rows, const StagedRows &columns, ValueRange sums)>;
  /// The sums after all steps. Nobody reads what is staged any more when it is done.
  Values accumulate(KernelBuilder &b, Values sums, Multiply multiply) const;

private:
  /// Rows of floats: this thread moves one piece of every so many rows.
  struct FloatRows {
    Value memory;
    int64_t width, step;
    Value input;   ///< of the thread's pieces, in the step
    Values starts; ///< element of the row of each piece
    Value target;  ///< of the first, in a stage; the others follow `targetStep` elements apart
    int64_t targetStep;

    FloatRows(KernelBuilder &b, Value memory, int64_t width, int64_t step, int64_t rows, int64_t firstRow,
              llvm::function_ref<Value(Value)> rowStart);
    Values load(KernelBuilder &b, Value k) const;
    void store(KernelBuilder &b, ValueRange pieces, Value staged, Value stage) const;
    Values copy(KernelBuilder &b, Value k, Value staged, Value stage) const;
  };
  /// Panels of codes, which become bf16 where they are stored.
  struct CodePanels {
    const WeightPanel &panel;
    const TileColumns &columns;
    int64_t padded, step, pieces, firstRow; ///< inputs of a row of weights, of a step; its 16 bytes of panels; its place in a stage
    Values starts, inputs, panels;          ///< of each 16 bytes that this thread moves

    CodePanels(KernelBuilder &b, const WeightPanel &panel, int64_t padded, int64_t step, const TileColumns &columns,
               int64_t firstRow);
    Values load(KernelBuilder &b, Value k) const;
    void store(KernelBuilder &b, ValueRange loaded, Value staged, Value stage) const;
  };

  /// Swizzled panels of floats: for each of the tile's, a thread lets a step be copied by the unit that does.
  struct FloatPanels {
    StageBarriers barriers;
    Value memory, start; ///< of the thread's panel
    int64_t width, panels, rows;

    FloatPanels(KernelBuilder &b, const PackedWeight &weight, const TileColumns &columns, int64_t stages, int64_t rows);
    void copy(KernelBuilder &b, Value k, Value staged, Value stage, int64_t stageSize) const;
    void await(KernelBuilder &b, Value k, Value stage, int64_t stageSize, int64_t stages) const;
  };

  static int64_t stepOf(KernelBuilder &b);
  static int64_t stagesFor(KernelBuilder &b, int64_t rows);
  Value copy(KernelBuilder &b, Value k, Value stage) const;
  Values load(KernelBuilder &b, Value k) const;
  void store(KernelBuilder &b, ValueRange loaded, Value stage) const;
  void arrive(KernelBuilder &b, Value copies, Value k, Value stage) const;
  void awaitProducts(KernelBuilder &b, int64_t later) const;

  bool async, together; ///< copies, and products of four subgroups, go on beside the threads
  int64_t width, step, rows, stages, stageSize;
  int64_t unread; ///< stages that products may still read when the next ones begin
  int64_t ahead;  ///< steps from the one that is multiplied to the one that is copied
  Value staged;
  FloatRows input;
  std::optional<FloatRows> floats; ///< the weight's
  std::optional<CodePanels> codes;
  std::optional<FloatPanels> floatPanels;
};

} // namespace qwench::gpu
