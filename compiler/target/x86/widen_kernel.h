// Quantized panels as panels of bf16 pairs or f32 in scratch, for products that take floats: e4m3 codes always, integer
// codes where many rows meet them on tiles.
#pragma once

#include "compiler/target/x86/panel_format.h"

namespace qwench::x86 {

/// Columns that are widened at a time: what any range that is widened is a multiple of, unless groups are of 16 columns.
int64_t widenedColumns(qwen::QuantType type);

/// Writes columns [first, first + columns) of the panel that starts at byte `start` of the weight's memory to `to`
/// (memref<?xT>) as steps of 32 lanes by two columns of bf16, or by one of f32. Values are `(code - zero) * scale`, rounded to
/// T (exact without group scales); row scales are left out. `first` and `columns` are multiples of widenedColumns().
void emitWiden(KernelBuilder &b, const Weight &weight, mlir::Value start, mlir::Value first, mlir::Value columns,
               mlir::Value to);

/// Whether products with such a weight are still to be multiplied by each row's scale.
bool hasRowScales(qwen::QuantType type);

} // namespace qwench::x86
