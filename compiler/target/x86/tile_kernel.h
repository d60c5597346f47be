// Products on AMX tiles: blocks of 32 or 16 rows by a panel. The packed layouts are what tiles read: a step of a panel is
// a row of a B tile, a row of activations a row of an A tile.
#pragma once

#include "compiler/target/x86/micro_kernel.h"

namespace qwench::x86 {

/// Rows of a tile; a block of two tiles of rows by two of columns keeps all eight tile registers busy.
constexpr int64_t kTileRows = 16;
/// Rows of the largest tile block.
constexpr int64_t kMaxTileBlock = 2 * kTileRows;

/// Columns of A that a tile holds as bf16.
constexpr int64_t kTileColumns = 32;

/// Covers rows [0, count) with blocks of 32 and 16 rows for tiles and the rest with those of the micro-kernels; calls
/// body(first row, rows of the block).
void forTileBlocks(KernelBuilder &b, mlir::Value count, llvm::function_ref<void(mlir::Value row, int64_t rows)> body);

/// Operands of C[rows, 32] += A[rows, columns] B[columns, 32] in bf16 pairs, B in a panel.
struct TileProduct {
  mlir::Value a;      ///< memref<?xbf16>
  mlir::Value aStart; ///< elements of `a` before the first row
  int64_t aStride;    ///< elements from row to row of A
  mlir::Value b;      ///< memref<?xbf16>: steps of two columns by 32 lanes
  mlir::Value bStart; ///< elements of `b` before the first step
  mlir::Value columns; ///< a multiple of kTileColumns
  mlir::Value c;      ///< memref<?xf32>, rows 32 elements apart
  mlir::Value cStart; ///< elements of `c` before the first row
};

/// Emits the product of 32 or 16 rows.
void emitTileProduct(KernelBuilder &b, const TileProduct &product, int64_t rows);

} // namespace qwench::x86
