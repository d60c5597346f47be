// Quantized panels as panels of bf16 pairs in scratch, for products that take floats: unpacked once, read by many rows.
#pragma once

#include "compiler/target/x86/panel_format.h"

namespace qwench::x86 {

/// Columns that are widened at a time: what any range that is widened is a multiple of, unless groups are of 16 columns.
int64_t widenedColumns(qwen::QuantType type);

/// Writes columns [first, first + columns) of the panel that starts at byte `start` of the weight's memory to `to`
/// (memref<?xbf16>) as steps of two columns by 32 lanes. Values are `(code - zero) * scale` rounded to bf16 (exact without
/// group scales); row scales are left out. `first` and `columns` are multiples of widenedColumns().
void emitWiden(KernelBuilder &b, const Weight &weight, mlir::Value start, mlir::Value first, mlir::Value columns,
               mlir::Value to);

/// Whether products with such a weight are still to be multiplied by each row's scale.
bool hasRowScales(qwen::QuantType type);

} // namespace qwench::x86
