// Products of quantized activations with quantized panels on AMX tiles of bytes: what group_kernel.h does with vpdpbusd, for
// blocks of rows. Tiles read panels and rows as they lie.
#pragma once

#include "compiler/target/x86/group_kernel.h"
#include "compiler/target/x86/tile_kernel.h"

namespace qwench::x86 {

/// Columns of a tile of bytes.
constexpr int64_t kByteTileColumns = 64;
/// Columns of the smallest group for which scaling its sums costs less than tiles of bytes save: int4 in groups of 64 is 10 %
/// slower so than widened to bf16, int8 in groups of 128 30 % faster.
constexpr int64_t kMinByteTileGroup = 128;

/// Elements of memory that a product's integer sums take: those of two groups, and zeros.
constexpr int64_t kGroupTileSums = 2 * kMostTileRows * kPanel + kMostTileRows / kTileRows * kPanel;

/// A product as micro-kernels have it, but for the rows of A: these lie `aStride` bytes apart, from byte `aStart` on. Its panel's
/// codes are bytes.
struct GroupTileProduct {
  GroupProduct product; ///< without rowOffsets
  mlir::Value aStart;
  int64_t aStride;
  mlir::Value sums; ///< memref<?xi32> of kGroupTileSums
};

/// Whether the CPU multiplies bytes on tiles, and groups of this many columns are whole tiles and long enough.
bool groupTilesFit(const Machine &machine, int64_t group);

/// Emits C[times * rows, 32] += A[times * rows, K] B[K, 32] for rows of a tile block, 4, 8 or a multiple of 16 up to 48, from
/// element `cStart` of `c` on.
void emitGroupTileProduct(KernelBuilder &b, const GroupTileProduct &product, int64_t rows, mlir::Value times, mlir::Value cStart);

} // namespace qwench::x86
