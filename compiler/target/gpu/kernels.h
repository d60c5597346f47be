// The tile programs of the GPU backends: for each planned op a body and a number of tiles. A block runs one tile.
#pragma once

#include "compiler/target/gpu/kernel_builder.h"

#include <functional>

namespace qwench::gpu {

/// One launch of an op: how many subgroups a block has, the tiles, counted where it is launched, and the body of one.
/// Tiles depend on the plan alone, so that they are the same on every device of an executable.
struct Phase {
  llvm::StringLiteral suffix; ///< of the kernel's name
  int64_t subgroups;
  mlir::Value (*tiles)(StepBuilder &host, mlir::Operation *op);
  void (*body)(KernelBuilder &b, mlir::Operation *op);
};

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
// rotary_kernels.cpp
void emitRopeTable(KernelBuilder &b, mlir::Operation *op);
void emitRope(KernelBuilder &b, mlir::Operation *op);
void emitCacheWrite(KernelBuilder &b, mlir::Operation *op);
void emitQkNormRopeCache(KernelBuilder &b, mlir::Operation *op);
// attention_kernels.cpp
mlir::Value attentionTiles(StepBuilder &host, mlir::Operation *op);
void emitAttention(KernelBuilder &b, mlir::Operation *op);
bool fitsMatrixAttention(KernelBuilder &b, qwen::AttentionOp op); // matrix_attention.cpp
void emitMatrixAttention(KernelBuilder &b, qwen::AttentionOp op);
mlir::Value attentionCombineTiles(StepBuilder &host, mlir::Operation *op);
void emitAttentionCombine(KernelBuilder &b, mlir::Operation *op);
// router_kernels.cpp
mlir::Value oneTile(StepBuilder &host, mlir::Operation *op);
void emitRouter(KernelBuilder &b, mlir::Operation *op);
void emitFusedRouter(KernelBuilder &b, mlir::Operation *op);
void emitDispatch(KernelBuilder &b, mlir::Operation *op);
// grouped_kernels.cpp
mlir::Value groupedTiles(StepBuilder &host, mlir::Operation *op);
mlir::Value combineTiles(StepBuilder &host, mlir::Operation *op);
void emitGroupedLinear(KernelBuilder &b, mlir::Operation *op);
void emitCombine(KernelBuilder &b, mlir::Operation *op);
void emitGroupedLinearCombine(KernelBuilder &b, mlir::Operation *op);

/// Outputs that a subgroup computes at once: so many rows of weights are in flight.
constexpr int64_t kOutputs = 2;

/// Products of rows of a matrix with rows of activations, all lanes of a subgroup on each: every lane reads pieces of
/// each row, subgroupSize pieces apart, so that a subgroup reads whole cache lines.
struct SubgroupProduct {
  Buffer in;
  PackedWeight weight;

  /// Adds to `sums` (vector<kPiece x f32> for each row of activations by weight row) the products of the rows of `in`
  /// that start at `rows` and those of the weight that start at `weights` (element indices).
  llvm::SmallVector<mlir::Value> accumulate(KernelBuilder &b, mlir::ValueRange rows, mlir::ValueRange weights,
                                            llvm::SmallVector<mlir::Value> sums) const;
  /// Zeros to begin with.
  static llvm::SmallVector<mlir::Value> zeros(KernelBuilder &b, size_t count);
  /// The products, in all lanes.
  static llvm::SmallVector<mlir::Value> finish(KernelBuilder &b, mlir::ValueRange sums);
};

/// Products of a range of rows by a range of columns, by subgroups.
struct ProductTile {
  SubgroupProduct product;
  int64_t outputs; ///< columns of the result
  bool swiglu;     ///< column c is silu(gate) * up of the weight's rows c and outputs + c
  int64_t rows;    ///< most rows of a tile: with 32 or more, matrix units multiply, if there are any
  std::function<mlir::Value(mlir::Value row)> inputRow = nullptr; ///< row of the result to row of the input
  std::function<mlir::Value(mlir::Value weightRow)> bias = nullptr; ///< none if empty, or if it gives none
  std::function<void(mlir::Value value, mlir::Value row, mlir::Value column)> store = nullptr;

  /// Rows [begin, end) by columns [firstColumn, firstColumn + columns) of the result, of the matrix that starts at
  /// element `matrix` of the weight. The last columns may lie behind `outputs`.
  void emit(KernelBuilder &b, mlir::Value matrix, mlir::Value begin, mlir::Value end, mlir::Value firstColumn,
            int64_t columns) const;

private:
  bool fitsMatrixUnit(KernelBuilder &b, int64_t columns) const;
  void emitMatrix(KernelBuilder &b, mlir::Value matrix, mlir::Value begin, mlir::Value end, mlir::Value firstColumn,
                  int64_t columns) const;
  void finishRows(KernelBuilder &b, llvm::ArrayRef<mlir::Value> rows, mlir::Value end, mlir::Value column,
                  llvm::ArrayRef<mlir::Value> weightRows, llvm::ArrayRef<mlir::Value> products) const;
};

/// Where a cache keeps the keys and values of one slot, layer and head: [capacity, dim] each, row by row.
struct CacheHead {
  mlir::Value memory;       ///< memref<?xT>
  mlir::Value keys, values; ///< element indices
  int64_t dim;

  mlir::Value key(KernelBuilder &b, mlir::Value position) const { return b.add(keys, b.mul(position, dim)); }
  mlir::Value value(KernelBuilder &b, mlir::Value position) const { return b.add(values, b.mul(position, dim)); }
};
CacheHead cacheHead(KernelBuilder &b, qwen::CacheType type, mlir::Value slot, mlir::Value head);

} // namespace qwench::gpu
