// How a panel of a quantized weight is read: `planes` of #qwen.layout whose steps are 16 bytes, 8 columns of 2 rows of
// 8-bit codes or of 4 rows of 4-bit codes. A lane reads whole steps, so a subgroup reads whole cache lines.
#pragma once

#include "compiler/target/gpu/kernel_builder.h"
#include "dialects/quantization/quantize.h"

namespace qwench::gpu {

class WeightPanel {
public:
  using Value = mlir::Value;
  using Values = llvm::SmallVector<Value>;

  WeightPanel(KernelBuilder &b, const PackedWeight &weight);

  /// The layout of matrices of such elements.
  static qwen::LayoutAttr layout(qwen::QuantType type, bool pairHalves);
  /// Rows of a panel: 2 or 4.
  static int64_t rowsOf(qwen::QuantType type) { return 16 / type.codeBits(); }
  int64_t rows() const { return rowsOf(type); }
  /// Whether the products with a row are still to be multiplied by its scale.
  static bool hasRowScales(qwen::QuantType type) { return type.getRowScales() || type.getGroup() == 0; }

  /// Word at which panel `panel` of the matrix that starts at word `matrix` begins.
  Value start(KernelBuilder &b, Value matrix, Value panel) const { return b.add(matrix, b.mul(panel, stride / 4)); }

  /// What memory holds of columns column .. column + kPiece - 1 (a multiple of kPiece, less than the padded width): codes,
  /// and the scales and zero points of their group, if it has any.
  Values load(KernelBuilder &b, Value start, Value column) const;
  /// The codes less their zero points, a vector<kPiece x f32> for each row; of e2m1 and e4m3 their values, scaled by a
  /// power of two that rowScales() undoes, or scales() if there are none.
  Values codes(KernelBuilder &b, mlir::ValueRange loaded) const;
  /// The f32 scale of each row's group; none without groups.
  Values scales(KernelBuilder &b, mlir::ValueRange loaded) const;
  /// Whether pairs() are exact for lanes of which `lanes` together are to share a scale: bf16 has the digits of any code, but where
  /// groups have fewer columns than those lanes' pieces it must have those of its product with the scale, too: of nvfp4.
  static bool hasPairs(qwen::QuantType type, int64_t lanes);
  /// The same as codes(), as a vector<kPiece x bf16> for each row in the order of kPairOrder, and the f32 that each is still to be
  /// multiplied by; none without groups, or if `lanes` lanes do not share one and pairs are multiplied by it already.
  std::pair<Values, Values> pairs(KernelBuilder &b, mlir::ValueRange loaded, int64_t lanes) const;
  /// Codes times scales: all but the row scales.
  Values values(KernelBuilder &b, mlir::ValueRange loaded) const;
  /// The f32 scales of the panel's rows, with which codes() or values() become values; none if there are none.
  Values rowScales(KernelBuilder &b, Value start) const;
  /// That of one row of the matrix that starts at word `matrix`.
  Value rowScale(KernelBuilder &b, Value matrix, Value row) const;
  /// Panel and lane of a row of the matrix.
  std::pair<Value, Value> place(KernelBuilder &b, Value row) const;

private:
  Value group(KernelBuilder &b, Value start, Value group, int64_t part, int64_t bytes) const;
  Values zeroPoints(KernelBuilder &b, Value loaded) const;
  Values extractAll(KernelBuilder &b, Value vector) const;
  double codeFactor() const;

  qwen::QuantType type;
  int64_t outputs; ///< rows of a half, with halves; else of the matrix
  bool pairHalves;
  int64_t stride;  ///< bytes of a panel
  quantization::PanelParts parts;
  Value memory, memoryWords;
};

} // namespace qwench::gpu
