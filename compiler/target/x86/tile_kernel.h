// Products on AMX tiles: blocks of 32 or 16 rows by a panel. The packed layouts are what tiles read: a step of a panel is
// a row of a B tile, a row of activations a row of an A tile.
#pragma once

#include "compiler/target/x86/micro_kernel.h"

namespace qwench::x86 {

/// Rows of a tile; a block of two tiles of rows by two of columns keeps all eight tile registers busy.
constexpr int64_t kTileRows = 16;
/// Rows of the largest tile block.
constexpr int64_t kMaxTileBlock = 2 * kTileRows;

/// Whether tiles can compute this product: bf16 pairs on a CPU that has the tiles.
bool tilesFit(const KernelBuilder &b, const Product &product);

/// Covers rows [begin, end) with blocks of 32 and 16 rows for tiles, if they fit, and the rest with the blocks of the
/// micro-kernels; calls body(first row, rows of the block).
void forProductBlocks(KernelBuilder &b, const Product &product, mlir::Value begin, mlir::Value end,
                      llvm::function_ref<void(mlir::Value row, int64_t rows)> body);

/// Emits C[row .. row + rows, column of C `cStart`] with tiles; rows is 32 or 16, and rows of A lie `aStride` apart.
void emitTileProduct(KernelBuilder &b, const Product &product, mlir::Value row, int64_t rows, mlir::Value cStart);

} // namespace qwench::x86
