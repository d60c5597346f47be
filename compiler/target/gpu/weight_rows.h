// Where rows of a matrix of floats lie: one after another, or `swizzled` (#qwen.layout), 8 rows of 64 inputs as they are to lie
// in workgroup memory.
#pragma once

#include "compiler/target/gpu/kernel_builder.h"

namespace qwench::gpu {

class WeightRows {
public:
  using Value = mlir::Value;
  /// Of a swizzled layout: rows of a panel, inputs of a step.
  static constexpr int64_t kRows = 8, kInputs = 64;

  explicit WeightRows(const PackedWeight &weight)
      : isSwizzled(weight.layout.isSwizzled()), padded(weight.layout.paddedInputs(weight.inputs())) {}

  static qwen::LayoutAttr layout(mlir::MLIRContext *context, bool swizzled);

  bool swizzled() const { return isSwizzled; }
  /// Element at which a row of the matrix that starts at `matrix` begins; of a panel, element at which all of it does.
  Value start(KernelBuilder &b, Value matrix, Value row) const;
  Value panelStart(KernelBuilder &b, Value matrix, Value panel) const { return b.add(matrix, b.mul(panel, kRows * padded)); }
  /// Element that column `column` of the row that begins at `start` is; those of a piece follow one another.
  Value place(KernelBuilder &b, Value start, Value column) const;

private:
  bool isSwizzled;
  int64_t padded; ///< inputs of a row
};

} // namespace qwench::gpu
