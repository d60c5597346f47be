// A weight matrix of a quantized checkpoint, in the one form that all layouts of quantization.h can be read
// in.
#pragma once

#include "dialects/quantization/quantize.h"
#include "frontends/huggingface/quantization.h"
#include "frontends/huggingface/safetensors.h"
#include "runtime/abi/result.h"

#include <cstdint>
#include <optional>
#include <string>

namespace qwench::hf {

/// What the numbers of a stored matrix are: value = (code - zero) * scale. Two matrices of equal formats can
/// share a type of the compiler.
struct StoredFormat {
  enum class Codes : uint8_t {
    U4,   ///< 0 to 15
    U8,   ///< 0 to 255
    E4M3, ///< f8E4M3FN as a byte; there is no zero
  };
  Codes codes = Codes::U4;
  int64_t group = 0;        ///< columns that share a scale, the last group may be shorter; 0: all of a row
  int64_t groupRows = 1;    ///< rows that share it; more than 1 for fp8 only
  DType scale = DType::F16; ///< F16, BF16, F32 or F8_E8M0
  bool zeroPoints =
      false; ///< false: the zero of every group is 8 (U4) or 128 (U8), so the codes are signed numbers
  bool scattered =
      false; ///< act-order: the columns of a group are not consecutive, and only values can be read

  bool operator==(const StoredFormat &) const = default;
};

/// How a configuration says that matrices are stored. The tensors of a checkpoint may say more.
StoredFormat declaredFormat(const QuantizationConfig &config);

/// The compiler's format whose codes, scales and zero points are exactly those of matrices stored so; nothing
/// where there is none, and then `reason` says why.
std::optional<quantization::Format> formatOf(const StoredFormat &stored, std::string &reason);

/// The tensors of a matrix; those that a layout lacks have no data.
struct QuantizedParts {
  TensorView weight; ///< weight of fp8, qweight of gptq and awq
  TensorView scales; ///< weight_scale_inv, scales
  TensorView zeros;  ///< qzeros of gptq and awq
  TensorView groups; ///< g_idx of gptq, if it is there
};

/// A matrix [rows, columns]. Cheap to copy; valid as long as the checkpoint's mapping. Reading is
/// thread-safe, and best done for as many consecutive rows at a time as fit: layouts interleave them.
class QuantizedMatrix {
public:
  /// Fails unless types and shapes of the parts are those of the layout and every column's group exists. A
  /// g_idx that is all zeros counts as absent, as it does for the kernels that gptq checkpoints are made for.
  /// Rows of fp8's scales count from the start of a tensor with `gridRows` rows, of which the matrix is rows
  /// firstRow on: experts that were fused share blocks.
  static Result<QuantizedMatrix> make(const QuantizationConfig &config, int64_t rows, int64_t columns,
                                      const QuantizedParts &parts, int64_t gridRows, int64_t firstRow);

  /// The format, for which all scales and zero points are read. Fails if a scale is not finite.
  Result<StoredFormat> examine() const;
  /// What examine() has found before.
  void setFormat(const StoredFormat &format) { stored = format; }
  const std::optional<StoredFormat> &format() const { return stored; }

  int64_t rows() const { return rowCount; }
  int64_t columns() const { return columnCount; }
  /// Scales of a row.
  int64_t groups() const;
  /// The largest part, for release().
  const TensorView &weight() const { return parts.weight; }

  /// Values of rows [row, row + count), exact up to one rounding to f32; row i at to + i * stride.
  void values(int64_t row, int64_t count, float *to, int64_t stride) const;
  /// Codes of the rows, one byte each; row i at to + i * stride.
  void codes(int64_t row, int64_t count, uint8_t *to, int64_t stride) const;
  /// The scales of one row, groups() of them.
  void scales(int64_t row, float *to) const;
  /// The zero points of one row, groups() of them; 0 for fp8.
  void zeros(int64_t row, uint8_t *to) const;

private:
  Status checkParts(int64_t gridRows) const;
  bool fp8() const { return method == QuantMethod::Fp8; }
  int64_t columnsOfGroup() const { return group ? group : columnCount; }
  float scaleAt(int64_t index) const;
  int32_t groupNumber(int64_t column) const;
  Status readGroups();
  Status examineScales() const;
  bool hasOtherZeros() const;
  void gptqCodes(int64_t row, int64_t count, uint8_t *to, int64_t stride) const;
  void awqCodes(int64_t row, int64_t count, uint8_t *to, int64_t stride) const;

  QuantMethod method = QuantMethod::Fp8;
  int bits = 8;
  int64_t group = 0; ///< 0: all of a row
  int64_t blockRows = 1;
  bool symmetric = false, zerosMinusOne = false;
  int64_t rowCount = 0, columnCount = 0, firstRow = 0;
  QuantizedParts parts;
  std::optional<StoredFormat> stored;
};

} // namespace qwench::hf
