// Rows of activations times one panel of a weight, whatever their elements: what linear maps and grouped ones share.
#pragma once

#include "compiler/target/x86/micro_kernel.h"
#include "compiler/target/x86/panel_format.h"

namespace qwench::x86 {

struct PanelProduct {
  /// What a pass over a panel may take at most: bytes of its piece, and inputs.
  static constexpr int64_t kMaxPieceBytes = 64 << 10;
  static constexpr int64_t kMaxInputs = 1024;

  Rows in;
  Weight weight;
  int64_t inputs;           ///< of one pass over a panel, where these are cut
  bool consecutive = false; ///< listed rows follow one another in memory

  /// Takes the listed rows' products with one panel, lanes 0..15 and 16..31.
  using Finish = llvm::function_ref<void(mlir::Value row, mlir::Value first, mlir::Value second)>;

  /// Lists where row `number(i)` of `in` starts as row i, for i below `count` (at most kMaxListedRows).
  void listRows(KernelBuilder &b, mlir::Value count, llvm::function_ref<mlir::Value(mlir::Value)> number) const;

  /// Multiplies the first `count` listed rows with the panel that starts at element `start` of the weight's memory, and
  /// hands each row to `finish` once. Uses the thread's scratch.
  void emit(KernelBuilder &b, mlir::Value start, mlir::Value count, Finish finish) const;

  /// Most rows that gather() takes, a multiple of a tile's; 0 where this product is not one for tiles.
  int64_t gatheredRows(const KernelBuilder &b) const;
  /// Rows up to which micro-kernels multiply them as they are listed, because they wait for the weights anyway; of more, tiles
  /// are faster.
  int64_t fewRows(const KernelBuilder &b) const;
  /// Copies the first `count` listed rows side by side into scratch.
  void gather(KernelBuilder &b, mlir::Value count) const;
  /// emit() for the `count` rows that gather() took: on tiles, whole columns at once, each widened once for all rows.
  void emitGathered(KernelBuilder &b, mlir::Value start, mlir::Value count, Finish finish) const;

private:
  void emitFloats(KernelBuilder &b, mlir::Value start, mlir::Value count, Finish finish) const;
  void emitPieces(KernelBuilder &b, mlir::Value start, mlir::Value count, Finish finish) const;
  Product floatProduct(KernelBuilder &b, mlir::Value panel, mlir::Value panelAt, int64_t columns) const;
  void emitPiece(KernelBuilder &b, mlir::Value start, mlir::Value first, int64_t columns, mlir::Value count) const;
  void finishRows(KernelBuilder &b, mlir::Value count, const Halves &scales, float factor, Finish finish) const;
  /// The scales of the rows of the panel at `start`; nulls if rows have none.
  Halves rowScalesAt(KernelBuilder &b, mlir::Value start) const;
  void emitCodes(KernelBuilder &b, mlir::Value start, mlir::Value count, Finish finish) const;
  void emitGroups(KernelBuilder &b, mlir::Value start, mlir::Value count, bool gathered, Finish finish) const;
  int64_t gatheredStride() const;
};

} // namespace qwench::x86
