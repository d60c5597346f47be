// Products on AMX tiles: blocks of rows by a panel, for linear maps, experts and attention. The packed layouts are what tiles
// read: a step of a panel is a row of a B tile, a row of activations a row of an A tile.
#pragma once

#include "compiler/target/x86/micro_kernel.h"
#include "compiler/target/x86/widen_kernel.h"

namespace qwench::x86 {

/// Rows of a tile; a block of two tiles of rows by two of columns keeps all eight tile registers busy.
constexpr int64_t kTileRows = 16;
/// Rows of the largest block that many rows are cut into, and of the smallest.
constexpr int64_t kMaxTileBlock = 2 * kTileRows;
constexpr int64_t kMinTileBlock = 4;
/// Rows of the largest block there is: three tiles of rows by two of columns, for which B is read once and A twice.
constexpr int64_t kMostTileRows = 3 * kTileRows;

/// Columns of A that a tile holds as bf16: 16 steps of pairs.
constexpr int64_t kTileColumns = 32;

/// Columns of a quantized panel that a tile kernel widens just before it multiplies them, one tile's columns after the other:
/// to the product's `b`, whose steps are then those of a ring.
struct WidenAhead {
  PanelWidener widener;
  mlir::Value memory, start; ///< of the quantized panel
  mlir::Value first;         ///< column of the panel that is the product's first
  mlir::Value columns;       ///< of the ring, a multiple of kTileColumns; `b` starts with them
};

/// A product as micro-kernels have it, but for the rows of A: these lie `aStride` elements apart, from element `aStart` on.
struct TileProduct {
  Product product; ///< without rowOffsets
  mlir::Value aStart;
  int64_t aStride;
  const WidenAhead *widen = nullptr;
};

/// Whether the CPU multiplies these elements on tiles, and tiles cover the steps of K.
bool tilesFit(const KernelBuilder &b, const Product &product);

/// Covers rows [0, count) with tile blocks of 32, 16, 8 and 4 rows, for which it calls tiles(first row, rows of the block,
/// number of such blocks that follow one another), and the rest with blocks of the micro-kernels, of these sizes. As many rows
/// as the smallest tile block has are left to those when they are alone: reading the panel is what they wait for.
void forTileBlocks(KernelBuilder &b, mlir::Value count, llvm::ArrayRef<int64_t> microBlocks,
                   llvm::function_ref<void(mlir::Value row, int64_t rows, mlir::Value times)> tiles,
                   llvm::function_ref<void(mlir::Value row, int64_t rows)> micro);

/// Calls body(rows) for the one block of whole tiles, up to `most` rows, that holds `count` rows: what lies behind the last of them
/// is multiplied, too, and not looked at.
void forWholeTiles(KernelBuilder &b, mlir::Value count, int64_t most, llvm::function_ref<void(int64_t rows)> body);

/// Calls body(row, times, whether it is the first block) for `times` blocks of `rows` rows from `row` on: the very first of all
/// apart, which reads from memory what the others find in a cache.
void firstBlockApart(KernelBuilder &b, mlir::Value row, int64_t rows, mlir::Value times,
                     llvm::function_ref<void(mlir::Value row, mlir::Value times, bool first)> body);

/// Calls add(block, half, A's tile, B's tile) for `blocks` tiles of rows by the two halves of a panel, in an order that the eight
/// tile registers allow.
void forTilesOfBlock(int64_t blocks, llvm::function_ref<mlir::Value(int64_t block)> loadA,
                     llvm::function_ref<mlir::Value(int64_t half)> loadB,
                     llvm::function_ref<void(int64_t block, int64_t half, mlir::Value x, mlir::Value weights)> add);

/// Emits C[times * rows, 32] (+)= A[times * rows, K] B[K, 32] for rows of a tile block, 4, 8 or a multiple of 16 up to 48, from
/// element `cStart` of `c` on. Rows are widened for once at most.
void emitTileProduct(KernelBuilder &b, const TileProduct &product, int64_t rows, mlir::Value times, mlir::Value cStart);

} // namespace qwench::x86
