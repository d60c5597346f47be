#include "compiler/target/gpu/weight_rows.h"

using namespace mlir;

namespace qwench::gpu {

qwen::LayoutAttr WeightRows::layout(MLIRContext *context, bool swizzled) {
  return swizzled ? qwen::LayoutAttr::get(context, "swizzled", kRows, kInputs, kInputs, false)
                  : qwen::LayoutAttr::get(context, "rows", 1, 1, kPiece, false);
}

Value WeightRows::start(KernelBuilder &b, Value matrix, Value row) const {
  if (!isSwizzled)
    return b.add(matrix, b.mul(row, padded));
  return b.add(panelStart(b, matrix, b.div(row, kRows)), b.mul(b.rem(row, kRows), kInputs));
}

Value WeightRows::place(KernelBuilder &b, Value start, Value column) const {
  if (!isSwizzled)
    return b.add(start, column);
  // Panels and steps are whole multiples of 8 rows of a step, so the start says which of the 8 it is.
  Value row = b.div(start, kInputs), piece = arith::XOrIOp::create(b, b.div(column, kPiece), row);
  Value inStep = b.add(b.mul(b.rem(piece, kInputs / kPiece), kPiece), b.rem(column, kPiece));
  return b.add(b.add(start, b.mul(b.div(column, kInputs), kRows * kInputs)), inStep);
}

} // namespace qwench::gpu
