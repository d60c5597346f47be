// Few rows of f32 times panels of e4m3 codes, which become floats in registers: a panel is read once, as it lies in memory.
#pragma once

#include "compiler/target/x86/panel_format.h"

namespace qwench::x86 {

/// C[rows, 32] = A[rows, K] B[K, 32] without the row scales of B.
struct E4M3Product {
  PanelFormat format;
  mlir::Value a;          ///< memref<?xf32>: activations
  mlir::Value rowOffsets; ///< memref<?xi64>: where row i of A starts, in elements
  mlir::Value b;          ///< memref<?xi8>: the panel
  mlir::Value bStart;     ///< bytes of `b` before the panel's first group
  int64_t columns;        ///< K, a multiple of 2; a last group may have fewer columns than others
  mlir::Value c;          ///< memref<?xf32>, rows 32 apart
};

/// Most rows for which this beats widening a panel once for all of them: then two blocks read it from a cache.
constexpr int64_t kMostE4M3Rows = 8;

/// Emits the product for the first `count` listed rows, at most kMostE4M3Rows.
void emitE4M3Product(KernelBuilder &b, const E4M3Product &product, mlir::Value count);

} // namespace qwench::x86
