// The tile programs of the GPU backends: for each planned op a body and a number of tiles. A block runs one tile.
#pragma once

#include "compiler/target/gpu/cache.h"
#include "compiler/target/gpu/kernel_builder.h"
#include "compiler/target/gpu/lane_products.h"
#include "compiler/target/gpu/weight_panel.h"

#include <functional>

namespace qwench::gpu {

/// One launch of an op: how many subgroups a block has, the tiles, counted where it is launched, and the body of one.
/// Tiles depend on the plan alone, so that they are the same on every device of an executable.
struct Phase {
  int64_t subgroups;
  mlir::Value (*tiles)(StepBuilder &host, mlir::Operation *op);
  void (*body)(KernelBuilder &b, mlir::Operation *op);
  /// Of a tile whose weights are known before what it multiplies: asks memory for them. Null: there is nothing to ask for.
  void (*ahead)(KernelBuilder &b, mlir::Operation *op) = nullptr;
  /// Blocks that a multiprocessor should hold of a decode step's launch, so that enough of them wait for memory. Null: no matter.
  int64_t (*together)(mlir::Operation *op) = nullptr;
};

/// Subgroups of a block of the kernel that is a whole decode step: those for which tiles of weights are cut.
constexpr int64_t kPersistentSubgroups = 4;

/// What emits one op.
struct TileProgram {
  llvm::StringLiteral op;
  Phase phase;
};

/// All of them; an op that is not listed is one that the GPU backends cannot lower.
llvm::ArrayRef<TileProgram> tilePrograms();
const TileProgram *findTileProgram(mlir::Operation *op);

// row_kernels.cpp
mlir::Value rowTiles(StepBuilder &host, mlir::Operation *op);
void emitEmbedding(KernelBuilder &b, mlir::Operation *op);
void emitRmsNorm(KernelBuilder &b, mlir::Operation *op);
void emitSwiglu(KernelBuilder &b, mlir::Operation *op);
void emitAdd(KernelBuilder &b, mlir::Operation *op);
void emitOutputRows(KernelBuilder &b, mlir::Operation *op);
// linear_kernels.cpp
mlir::Value linearTiles(StepBuilder &host, mlir::Operation *op);
void emitLinear(KernelBuilder &b, mlir::Operation *op);
int64_t linearTogether(mlir::Operation *op);
void emitLinearAhead(KernelBuilder &b, mlir::Operation *op);
// rotary_kernels.cpp
void emitRopeTable(KernelBuilder &b, mlir::Operation *op);
void emitRope(KernelBuilder &b, mlir::Operation *op);
void emitCacheWrite(KernelBuilder &b, mlir::Operation *op);
mlir::Value qkNormRopeCacheTiles(StepBuilder &host, mlir::Operation *op);
void emitQkNormRopeCache(KernelBuilder &b, mlir::Operation *op);
// attention_kernels.cpp
mlir::Value attentionTiles(StepBuilder &host, mlir::Operation *op);
void emitAttention(KernelBuilder &b, mlir::Operation *op);
int64_t attentionTogether(mlir::Operation *op);
/// Why an op's rows are not multiplied on the device's matrix units, by a subgroup or by four together; nothing where they can be.
std::string matrixAttentionRefusal(KernelBuilder &b, qwen::AttentionOp op); // matrix_attention.cpp
std::string warpgroupAttentionRefusal(qwen::AttentionOp op);                // warpgroup_attention.cpp, of the others
void emitMatrixAttention(KernelBuilder &b, qwen::AttentionOp op);
void emitWarpgroupAttention(KernelBuilder &b, qwen::AttentionOp op);
mlir::Value attentionCombineTiles(StepBuilder &host, mlir::Operation *op);
void emitAttentionCombine(KernelBuilder &b, mlir::Operation *op);
// router_kernels.cpp
mlir::Value oneTile(StepBuilder &host, mlir::Operation *op);
void emitRouter(KernelBuilder &b, mlir::Operation *op);
void emitDispatch(KernelBuilder &b, mlir::Operation *op);
void emitRouterDispatch(KernelBuilder &b, mlir::Operation *op);
/// Pairs of a row and an expert up to which a thread for each expert reads all of them to sort.
constexpr int64_t kFewPairs = 256;
// sample_kernel.cpp
void emitSample(KernelBuilder &b, mlir::Operation *op);
// grouped_kernels.cpp
mlir::Value groupedTiles(StepBuilder &host, mlir::Operation *op);
mlir::Value combineTiles(StepBuilder &host, mlir::Operation *op);
void emitGroupedLinear(KernelBuilder &b, mlir::Operation *op);
void emitCombine(KernelBuilder &b, mlir::Operation *op);
void emitGroupedLinearCombine(KernelBuilder &b, mlir::Operation *op);
// ahead.cpp
void emitGroupedLinearCombineAhead(KernelBuilder &b, mlir::Operation *op);

/// What products of `columns` outputs from `first` on read of the matrix that starts at element `matrix` of a weight (byte, where it
/// is quantized). `outputs`: of the product; with swiglu they are of two rows each.
struct Columns {
  PackedWeight weight;
  mlir::Value matrix, first;
  int64_t columns, outputs;
  bool swiglu;

  /// Asks for it, as far as a block's share of what may be on its way reaches. Threads `thread`, `thread` + `threads`, ... of those
  /// that ask take a line each; `sharers` blocks' worth of others ask at the same time.
  void prefetch(KernelBuilder &b, mlir::Value thread, int64_t threads, int64_t sharers = 1) const;
};

/// rms_norm of vectors of as many elements as `weight` has: x / sqrt(mean(x^2) + eps) * weight.
struct RmsNorm {
  Buffer in;
  PackedWeight weight;
  llvm::APFloat eps;

  int64_t count() const { return weight.type.getDimSize(0); }
  /// Normalizes the vector of `in` that starts at `source` into that of `out` at `target`. Threads first, first + step, ... share
  /// the work; `total` adds what they have summed up. `aligned`: whether `out` may be written in pieces.
  void emit(KernelBuilder &b, mlir::Value source, mlir::Value out, mlir::Value target, bool aligned, mlir::Value first, int64_t step,
            llvm::function_ref<mlir::Value(mlir::Value)> total) const;
};

/// Rows of float weights that a subgroup takes at once: so many are in flight.
constexpr int64_t kOutputs = 2;

/// Products of rows of a matrix with rows of activations, all lanes of a subgroup on each: every lane reads pieces of
/// each row, subgroupSize pieces apart, so that a subgroup reads whole cache lines. What lanes have of bf16 is multiplied on a
/// matrix unit, if there is one that takes it (lane_products.h).
struct SubgroupProduct {
  Buffer in;
  PackedWeight weight;
  std::optional<WeightPanel> panel; ///< of quantized weights
  std::optional<LaneProducts> unit; ///< where a matrix unit multiplies; a lane has panels, pieces and a row as it says

  SubgroupProduct(KernelBuilder &b, const Buffer &in, const PackedWeight &weight);

  /// Rows of weights that are multiplied at once: a panel where they are quantized.
  int64_t rowsAtOnce() const { return panel ? panel->rows() : kOutputs; }
  /// So many times as many, where each lane has one of several panels.
  int64_t panels() const { return unit ? unit->panels() : 1; }
  /// Whether a matrix unit can multiply.
  bool onMatrixUnit(const KernelBuilder &b) const;
  /// The same for `rows` rows of activations at once, by a matrix unit if it can. Its lanes have a row of activations each.
  SubgroupProduct forRows(KernelBuilder &b, int64_t rows) const;
  /// From one matrix of a stack to the next: elements, or words where they are quantized.
  int64_t matrixStride() const { return panel ? weight.matrixStride() / 4 : weight.matrixStride(); }
  /// Where rows of the matrix at `matrix` start: those of these numbers, or the panel of that number.
  llvm::SmallVector<mlir::Value> starts(KernelBuilder &b, mlir::Value matrix, mlir::ValueRange rows, mlir::Value panel) const;

  /// Adds to `sums` (for each row of activations by weight row; of a matrix unit for each two weight rows) the products of the rows
  /// of `in` that start at `rows` and the rows of the weight at `starts`, without row scales.
  llvm::SmallVector<mlir::Value> accumulate(KernelBuilder &b, mlir::ValueRange rows, mlir::ValueRange starts,
                                            llvm::SmallVector<mlir::Value> sums) const;
  /// Zeros to begin with, for `rows` rows of activations: vectors whose elements are the parts of a sum.
  llvm::SmallVector<mlir::Value> zeros(KernelBuilder &b, int64_t rows) const;
  /// f32 that the weight rows at `starts` are still to be multiplied by; none if there are none.
  llvm::SmallVector<mlir::Value> rowScales(KernelBuilder &b, mlir::ValueRange starts) const;
  /// `sums` and `products` times the factor of their weight rows.
  llvm::SmallVector<mlir::Value> addScaled(KernelBuilder &b, mlir::ValueRange products, mlir::ValueRange factors,
                                           mlir::ValueRange sums) const;
  /// For each row of activations by weight row the sum of all lanes, in all lanes; of a matrix unit that of the lane's row and panel.
  llvm::SmallVector<mlir::Value> finish(KernelBuilder &b, mlir::ValueRange sums) const;
  /// Of as many values as a power of two, that of the lane's number modulo theirs. A condition for each bit: one for each value
  /// would be more than CDNA has scalar registers for.
  static mlir::Value ofLane(KernelBuilder &b, llvm::SmallVector<mlir::Value> values);

private:
  llvm::SmallVector<mlir::Value> load(KernelBuilder &b, mlir::ValueRange starts, mlir::Value column) const;
  void multiply(KernelBuilder &b, mlir::ValueRange loaded, mlir::ValueRange inputs, llvm::MutableArrayRef<mlir::Value> sums) const;
  void multiplyLanes(KernelBuilder &b, mlir::ValueRange loaded, mlir::Value input, llvm::MutableArrayRef<mlir::Value> sums) const;
  void multiplyRest(KernelBuilder &b, mlir::Value row, mlir::ValueRange starts, mlir::Value column, mlir::Value inputColumn,
                    llvm::MutableArrayRef<mlir::Value> sums) const;
};

/// Products of a range of rows by a range of columns, by subgroups.
struct ProductTile {
  SubgroupProduct product;
  int64_t outputs; ///< columns of the result
  bool swiglu;     ///< column c is silu(gate) * up of the weight's rows c and outputs + c
  int64_t rows;    ///< most rows of a tile: with 32 or more, matrix units multiply, if there are any
  std::optional<RmsNorm> norm = std::nullopt; ///< of the input's rows, which the block does itself: for few rows
  std::function<mlir::Value(mlir::Value row)> inputRow = nullptr; ///< row of the result to row of the input
  std::function<mlir::Value(mlir::Value weightRow)> bias = nullptr; ///< none if empty, or if it gives none
  std::function<void(mlir::Value value, mlir::Value row, mlir::Value column)> store = nullptr;

  /// Rows [begin, end) by columns [firstColumn, firstColumn + columns) of the result, of the matrix that starts at
  /// `matrix` of the weight (see SubgroupProduct::matrixStride). The last columns may lie behind `outputs`.
  void emit(KernelBuilder &b, mlir::Value matrix, mlir::Value begin, mlir::Value end, mlir::Value firstColumn,
            int64_t columns) const;

private:
  bool fitsMatrixUnit(KernelBuilder &b, int64_t columns) const;
  void emitMatrix(KernelBuilder &b, mlir::Value matrix, mlir::Value begin, mlir::Value end, mlir::Value firstColumn,
                  int64_t columns) const;
  void emitNormalized(KernelBuilder &b, mlir::Value matrix, mlir::Value begin, mlir::Value end, mlir::Value firstColumn,
                      int64_t columns) const;
  struct Group;
  struct RowBlock;
  void forGroups(KernelBuilder &b, const SubgroupProduct &product, mlir::Value matrix, mlir::Value firstColumn, int64_t columns,
                 llvm::function_ref<void(const Group &)> body) const;
  void multiplyRows(KernelBuilder &b, const SubgroupProduct &product, const Group &group, const RowBlock &rows) const;
  llvm::SmallVector<mlir::Value> weightRows(KernelBuilder &b, mlir::Value column) const;
  llvm::SmallVector<mlir::Value> finished(KernelBuilder &b, llvm::ArrayRef<mlir::Value> weightRows,
                                          llvm::ArrayRef<mlir::Value> products) const;
  void finishRows(KernelBuilder &b, const Group &group, const RowBlock &rows, llvm::ArrayRef<mlir::Value> products) const;
  void finishLanes(KernelBuilder &b, const LaneProducts &unit, const Group &group, const RowBlock &rows,
                   llvm::ArrayRef<mlir::Value> products) const;
};

} // namespace qwench::gpu
