// Quantized panels as panels of bf16 pairs or f32 in scratch, for products that take floats: e4m3 codes always, integer
// codes where many rows meet them on tiles.
#pragma once

#include "compiler/target/x86/panel_format.h"

namespace qwench::x86 {

/// Writes columns [first, first + columns) of the panel that starts at byte `start` of the weight's memory to `to`
/// (memref<?xT>) as steps of 32 lanes by two columns of bf16, or by one of f32. Values are `(code - zero) * scale`, rounded to
/// T (exact without group scales); row scales are left out. `first` and `columns` are multiples of 32, or of what it shares
/// with a group's columns.
void emitWiden(KernelBuilder &b, const Weight &weight, mlir::Value start, mlir::Value first, mlir::Value columns,
               mlir::Value to);

} // namespace qwench::x86
