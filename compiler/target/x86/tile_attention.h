// Attention's products on AMX tiles: the general strides of keys, values and scores, with or without what C holds.
#pragma once

#include "compiler/target/x86/tile_kernel.h"

namespace qwench::x86 {

/// Covers rows [0, count) of a product whose rows of A lie `aStride` elements apart: blocks of 32 and 16 rows on tiles where
/// the CPU multiplies these elements on tiles, and the rest with the micro-kernels. `cStart` gives the element of C where a
/// row's columns begin.
void emitAttentionProduct(KernelBuilder &b, const Product &product, int64_t aStride, mlir::Value count,
                          llvm::function_ref<mlir::Value(mlir::Value row)> cStart);

} // namespace qwench::x86
