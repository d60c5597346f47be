// Products on AMX tiles: blocks of rows by a panel, for linear maps, experts and attention. The packed layouts are what tiles
// read: a step of a panel is a row of a B tile, a row of activations a row of an A tile.
#pragma once

#include "compiler/target/x86/micro_kernel.h"

namespace qwench::x86 {

/// Rows of a tile; a block of two tiles of rows by two of columns keeps all eight tile registers busy.
constexpr int64_t kTileRows = 16;
/// Rows of the largest tile block, and of the smallest.
constexpr int64_t kMaxTileBlock = 2 * kTileRows;
constexpr int64_t kMinTileBlock = 4;

/// Columns of A that a tile holds as bf16: 16 steps of pairs.
constexpr int64_t kTileColumns = 32;

/// A product as micro-kernels have it, but for the rows of A: these lie `aStride` elements apart, from element `aStart` on.
struct TileProduct {
  Product product; ///< without rowOffsets
  mlir::Value aStart;
  int64_t aStride;
};

/// Whether the CPU multiplies these elements on tiles, and tiles cover the steps of K.
bool tilesFit(const KernelBuilder &b, const Product &product);

/// Covers rows [0, count) with tile blocks of 32, 16, 8 and 4 rows, for which it calls tiles(first row, rows of the block),
/// and the rest with blocks of the micro-kernels. As many rows as the smallest tile block has are left to those when they are
/// alone: reading the panel is what they wait for.
void forTileBlocks(KernelBuilder &b, mlir::Value count, llvm::function_ref<void(mlir::Value row, int64_t rows)> tiles,
                   llvm::function_ref<void(mlir::Value row, int64_t rows)> micro);

/// Emits C[rows, 32] (+)= A[rows, K] B[K, 32] for the rows of a tile block, from element `cStart` of `c` on.
void emitTileProduct(KernelBuilder &b, const TileProduct &product, int64_t rows, mlir::Value cStart);

} // namespace qwench::x86
