// Quantized panels as panels of bf16 pairs or f32 in scratch, for products that take floats: e4m3 codes always, integer
// codes where many rows meet them on tiles.
#pragma once

#include "compiler/target/x86/panel_format.h"

namespace qwench::x86 {

/// How columns of a quantized panel become floats: `(code - zero) * scale`, rounded to the result's type (exact without group
/// scales); row scales are left out. The result is steps of 32 lanes by two columns of bf16, or by one of f32.
class PanelWidener {
public:
  /// To elements of type `result`.
  PanelWidener(const Weight &weight, mlir::Type result);

  /// Tells formats and results apart in the names of functions.
  std::string name() const;

  /// Emits columns [first, first + columns) of the panel that starts at byte `start` of `memory` (memref<?xi8>) as columns of
  /// `to` (memref<?xT>) from column `at` on. `first` and `columns` are multiples of 32, or of what it shares with a group's
  /// columns.
  void emit(KernelBuilder &b, mlir::Value memory, mlir::Value start, mlir::Value first, mlir::Value columns, mlir::Value to,
            mlir::Value at) const;

  /// The same as a call of a function that all kernels share, from column 0 of `to` on.
  void call(KernelBuilder &b, mlir::Value memory, mlir::Value start, mlir::Value first, mlir::Value columns,
            mlir::Value to) const;

private:
  PanelFormat format;
  bool integers;
  mlir::Type result;
};

} // namespace qwench::x86
