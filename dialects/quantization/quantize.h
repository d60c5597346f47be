// Rows of quantized weights: which codes and scales stand for given floats, and which floats they stand for. One
// library for packing and for the reference evaluator, so that both see the same codes.
//
//   value = (code - zero) * scale * row scale
//
// Plain C++ without MLIR. The results do not depend on the CPU: sums run in 16 fixed lanes, nothing is contracted.
#pragma once

#include "runtime/abi/result.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace qwench::quantization {

/// What a code is: 8 or 4 bit integers, e2m1, e4m3.
enum class Storage { I8, I4, E2M1, E4M3 };
/// What a scale is stored as.
enum class Scale { F32, F16, BF16, E8M0, E4M3 };

int64_t bitsOf(Storage storage);
int64_t bytesOf(Scale scale);
/// Writes a scale that its format holds exactly, and reads it back. Little endian, bytesOf(format) bytes.
void storeScale(Scale format, float value, std::byte *to);
float loadScale(Scale format, const std::byte *from);

/// !qwen.quant as plain data (dialects/QwenDialect.td says what each member means).
struct Format {
  Storage storage = Storage::I8;
  int64_t group = 0; ///< columns that share a scale, a multiple of 16; 0: the whole row
  Scale scale = Scale::F32;
  int64_t groupRows = 1; ///< rows that share it
  bool zeroPoints = false;
  bool rowScales = false;

  /// Scales of a row of `columns` columns, which are a multiple of the group.
  int64_t groups(int64_t columns) const { return group == 0 ? 1 : columns / group; }
  int64_t groupColumns(int64_t columns) const { return group == 0 ? columns : group; }
  bool operator==(const Format &) const = default;
};

/// The byte whose value is 0 with zero point 0: 128 of int8, 8 of symmetric int4, else 0.
uint8_t zeroCode(const Format &format);

/// A row. Codes are the bytes of the packed layout, one for each column: int8 as value + 128, symmetric int4 as value
/// + 8, int4 with zero points as 0..15, e2m1 in the low four bits, e4m3.
struct Row {
  std::vector<uint8_t> codes;
  std::vector<float> scales;   ///< one for each group, exact in the format's scale type
  std::vector<uint8_t> zeros;  ///< one for each group, with zero points
  float rowScale = 1;          ///< 1 without row scales

  /// Makes it a row of zeros.
  void clear(const Format &format, int64_t columns);
};

/// Where the parts of a panel of `width` rows lie, in bytes (#qwen.layout, dialects/QwenDialect.td): the first group's, and
/// from group to group. The row scales of a format without groups are its scales.
struct PanelParts {
  int64_t codes, codesStride, scales, scalesStride, zeros, zerosStride, rowScales;
};

/// `planes`: each part of all groups together, codes first; else group after group.
PanelParts panelParts(const Format &format, int64_t width, int64_t paddedColumns, bool planes);

/// Columns to which a row of `columns` is padded with zeros before it is quantized: a multiple of 16 and of the group.
int64_t paddedColumns(const Format &format, int64_t columns);

/// Quantizes a row of floats, whose number is paddedColumns() of itself, to the scales (and zero points) that make the
/// sum of squared errors small: int4 over a range of scales with the best fit for each, fp4 over the neighbours of the
/// scale that maps the largest magnitude to 6, int8 and fp8 from the largest magnitude. Fails if a value is not finite
/// or too large for the scale type.
/// `scales`: of the row's block, as blockScales() gives them, where the format's groups have several rows; else empty.
Status quantizeRow(const Format &format, std::span<const float> values, std::span<const float> scales, Row &row);

/// Scales of a block of rows of a format whose groups have several rows, in two steps: the largest magnitude of each
/// group over all rows, then its scale. Fails if a value is not finite.
Status addMaxima(const Format &format, std::span<const float> values, std::span<float> maxima);
void blockScales(const Format &format, std::span<float> maximaToScales);

/// The values of a row, as many as `values` holds.
void dequantizeRow(const Format &format, const Row &row, std::span<float> values);

/// Replaces a matrix [rows, columns], row-major and unpadded, by the values of its codes. Blocks of groupRows rows are
/// counted from row 0. Fails as quantizeRow does.
Status roundMatrix(const Format &format, std::span<float> values, int64_t columns);

} // namespace qwench::quantization
