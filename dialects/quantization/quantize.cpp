#include "dialects/quantization/quantize.h"

#include "dialects/quantization/search.h"

#include <cstring>
#include <string>

namespace qwench::quantization {

#pragma clang fp contract(off)

namespace {

using namespace search;

constexpr uint32_t kInfinity = 0x7f800000;
// Squares of magnitudes from 2^-60 to 2^60 neither overflow nor vanish. Groups below are zeros; above is no weight.
constexpr uint32_t kLeast = std::bit_cast<uint32_t>(0x1p-60f), kMost = std::bit_cast<uint32_t>(0x1p60f);

/// How the search of a row ended.
enum class Outcome { Done, NotFinite, TooLarge };

/// The magnitude nearest to what a scale format holds.
QWENCH_INLINE float roundScale(Scale format, float value) {
  switch (format) {
  case Scale::F16:
    return fromF16(toF16(value));
  case Scale::BF16:
    return fromBF16(toBF16(value));
  case Scale::E8M0:
    return fromE8M0(toE8M0(value));
  case Scale::E4M3:
    return value > kMaxE4M3 ? INFINITY : fromE4M3(toE4M3(value));
  case Scale::F32:
    return value;
  }
  return value;
}

/// The scale and zero point of one group that is not all zeros.
QWENCH_INLINE ScaleAndZero searchGroup(const Format &format, const float *x, int64_t n, float largest, float rowScale) {
  switch (format.storage) {
  case Storage::I8:
    return format.zeroPoints ? asymmetricScale(x, n, 255) : ScaleAndZero{largest / 127, 0};
  case Storage::I4:
    return format.zeroPoints ? asymmetricScale(x, n, 15) : ScaleAndZero{int4Scale(x, n, largest), 0};
  case Storage::E2M1:
    if (format.scale == Scale::E8M0)
      return {mxfp4Scale(x, n, largest), 0};
    if (format.scale == Scale::E4M3)
      return {nvfp4Scale(x, n, largest, rowScale), 0};
    return {largest / kMaxE2M1, 0};
  case Storage::E4M3:
    return {largest / kMaxE4M3, 0};
  }
  return {};
}

QWENCH_INLINE void encodeGroup(const Format &format, const float *x, int64_t n, float scale, float zero, uint8_t *codes) {
  switch (format.storage) {
  case Storage::I8:
    return format.zeroPoints ? integerCodes(x, n, scale, zero, 0, 255, 0, codes)
                             : integerCodes(x, n, scale, 0, -127, 127, 128, codes);
  case Storage::I4:
    return format.zeroPoints ? integerCodes(x, n, scale, zero, 0, 15, 0, codes)
                             : integerCodes(x, n, scale, 0, -8, 7, 8, codes);
  case Storage::E2M1:
    return e2m1Codes(x, n, scale, codes);
  case Storage::E4M3:
    return e4m3Codes(x, n, scale, codes);
  }
}

/// The scale of all scales of a row: the largest e4m3 scale of the search stays below 448.
float rowScaleOf(const Format &format, float largest) {
  if (!format.rowScales)
    return 1;
  return std::bit_cast<uint32_t>(largest) < kLeast ? 0 : largest / kMaxE2M1 / 256;
}

QWENCH_INLINE Outcome quantizeGroups(const Format &format, std::span<const float> values, std::span<const float> scales,
                                     Row &row) {
  auto columns = static_cast<int64_t>(values.size()), n = format.groupColumns(columns);
  if (format.rowScales) {
    uint32_t bits = largestBits(values.data(), columns);
    if (bits >= kInfinity)
      return Outcome::NotFinite;
    row.rowScale = rowScaleOf(format, std::bit_cast<float>(bits));
  }
  for (int64_t group = 0; group < format.groups(columns); group++) {
    const float *x = values.data() + group * n;
    uint32_t bits = largestBits(x, n);
    if (bits >= kInfinity)
      return Outcome::NotFinite;
    if (bits < kLeast || row.rowScale == 0)
      continue;
    if (bits > kMost)
      return Outcome::TooLarge;
    ScaleAndZero found = scales.empty() ? searchGroup(format, x, n, std::bit_cast<float>(bits), row.rowScale)
                                        : ScaleAndZero{scales[group], 0};
    float scale = roundScale(format.scale, found.scale);
    if (!std::isfinite(scale))
      return Outcome::TooLarge;
    row.scales[group] = scale;
    if (format.zeroPoints)
      row.zeros[group] = static_cast<uint8_t>(found.zero);
    encodeGroup(format, x, n, scale * row.rowScale, found.zero, row.codes.data() + group * n);
  }
  return Outcome::Done;
}

QWENCH_INLINE void decode(const Format &format, const Row &row, std::span<float> values) {
  int64_t columns = static_cast<int64_t>(values.size()), n = format.groupColumns(static_cast<int64_t>(row.codes.size()));
  for (int64_t first = 0, group = 0; first < columns; first += n, group++) {
    const uint8_t *codes = row.codes.data() + first;
    int64_t count = std::min(n, columns - first);
    float scale = row.scales[group], *out = values.data() + first;
    int32_t zero = format.zeroPoints ? row.zeros[group] : zeroCode(format);
    if (format.storage == Storage::E2M1)
      for (int64_t i = 0; i < count; i++)
        out[i] = fromE2M1(codes[i]) * scale * row.rowScale;
    else if (format.storage == Storage::E4M3)
      for (int64_t i = 0; i < count; i++)
        out[i] = fromE4M3(codes[i]) * scale * row.rowScale;
    else
      for (int64_t i = 0; i < count; i++)
        out[i] = static_cast<float>(codes[i] - zero) * scale * row.rowScale;
  }
}

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))) Outcome
quantizeAvx512(const Format &format, std::span<const float> values, std::span<const float> scales, Row &row) {
  return quantizeGroups(format, values, scales, row);
}
__attribute__((target("avx2"))) Outcome quantizeAvx2(const Format &format, std::span<const float> values,
                                                     std::span<const float> scales, Row &row) {
  return quantizeGroups(format, values, scales, row);
}
#endif

Outcome quantizeWidest(const Format &format, std::span<const float> values, std::span<const float> scales, Row &row) {
#if defined(__x86_64__)
  static const bool avx512 = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                             __builtin_cpu_supports("avx512vl");
  static const bool avx2 = __builtin_cpu_supports("avx2");
  if (avx512)
    return quantizeAvx512(format, values, scales, row);
  if (avx2)
    return quantizeAvx2(format, values, scales, row);
#endif
  return quantizeGroups(format, values, scales, row);
}

Status notFinite(std::span<const float> values) {
  size_t at = 0;
  while (at + 1 < values.size() && std::isfinite(values[at]))
    at++;
  return userError("expected finite numbers to quantize, found " + std::to_string(values[at]) + " in column " +
                   std::to_string(at));
}

} // namespace

int64_t bitsOf(Storage storage) { return storage == Storage::I4 || storage == Storage::E2M1 ? 4 : 8; }

int64_t bytesOf(Scale scale) {
  switch (scale) {
  case Scale::F32:
    return 4;
  case Scale::F16:
  case Scale::BF16:
    return 2;
  case Scale::E8M0:
  case Scale::E4M3:
    return 1;
  }
  return 0;
}

void storeScale(Scale format, float value, std::byte *to) {
  uint32_t bits = format == Scale::F16    ? toF16(value)
                  : format == Scale::BF16 ? toBF16(value)
                  : format == Scale::E8M0 ? (value == 0 ? 0 : toE8M0(value))
                  : format == Scale::E4M3 ? toE4M3(value)
                                          : std::bit_cast<uint32_t>(value);
  std::memcpy(to, &bits, bytesOf(format));
}

float loadScale(Scale format, const std::byte *from) {
  uint32_t bits = 0;
  std::memcpy(&bits, from, bytesOf(format));
  switch (format) {
  case Scale::F16:
    return fromF16(static_cast<uint16_t>(bits));
  case Scale::BF16:
    return fromBF16(static_cast<uint16_t>(bits));
  case Scale::E8M0:
    return fromE8M0(static_cast<uint8_t>(bits));
  case Scale::E4M3:
    return fromE4M3(static_cast<uint8_t>(bits));
  case Scale::F32:
    return std::bit_cast<float>(bits);
  }
  return 0;
}

uint8_t zeroCode(const Format &format) {
  if (format.zeroPoints)
    return 0;
  return format.storage == Storage::I8 ? 128 : format.storage == Storage::I4 ? 8 : 0;
}

void Row::clear(const Format &format, int64_t columns) {
  codes.assign(columns, zeroCode(format));
  scales.assign(format.groups(columns), 0);
  zeros.assign(format.zeroPoints ? format.groups(columns) : 0, 0);
  rowScale = format.rowScales ? 0 : 1;
}

PanelParts panelParts(const Format &format, int64_t width, int64_t paddedColumns, bool planes) {
  int64_t groups = format.groups(paddedColumns), columns = format.groupColumns(paddedColumns);
  int64_t codes = columns * width * bitsOf(format.storage) / 8, rowScales = format.rowScales ? 4 * width : 0;
  int64_t scales = width * (format.group ? bytesOf(format.scale) : 4), zeros = format.zeroPoints ? width : 0;
  if (planes) {
    int64_t scalesAt = groups * codes + rowScales;
    return {0, codes, scalesAt, scales, scalesAt + groups * scales, zeros, groups * codes};
  }
  int64_t stride = scales + zeros + codes;
  return {rowScales + scales + zeros, stride, rowScales, stride, rowScales + scales, stride, 0};
}

int64_t paddedColumns(const Format &format, int64_t columns) {
  int64_t multiple = std::max<int64_t>(format.group, kLanes);
  return (columns + multiple - 1) / multiple * multiple;
}

Status quantizeRow(const Format &format, std::span<const float> values, std::span<const float> scales, Row &row) {
  auto columns = static_cast<int64_t>(values.size());
  if (format.group % kLanes || columns % kLanes || columns % format.groupColumns(std::max<int64_t>(columns, 1)) ||
      (format.groupRows > 1) != !scales.empty() ||
      (!scales.empty() && static_cast<int64_t>(scales.size()) != format.groups(columns)))
    return internalError("quantize: expected whole groups of columns and, where groups have several rows, their scales");
  if (format.scale == Scale::E8M0 && format.storage == Storage::I4)
    return userError("expected scales with a sign for int4, found f8E8M0FNU");
  if (format.rowScales && (format.storage != Storage::E2M1 || format.scale != Scale::E4M3))
    return userError("expected row scales with f4E2M1FN codes and f8E4M3FN scales only");
  row.clear(format, columns);
  switch (quantizeWidest(format, values, scales, row)) {
  case Outcome::Done:
    return ok();
  case Outcome::NotFinite:
    return notFinite(values);
  case Outcome::TooLarge:
    return userError("expected numbers whose scales fit their format, found a magnitude of " +
                     std::to_string(std::bit_cast<float>(largestBits(values.data(), columns))));
  }
  return ok();
}

Status addMaxima(const Format &format, std::span<const float> values, std::span<float> maxima) {
  auto columns = static_cast<int64_t>(values.size()), n = format.groupColumns(columns);
  for (size_t group = 0; group < maxima.size(); group++) {
    uint32_t bits = largestBits(values.data() + group * n, n);
    if (bits >= kInfinity)
      return notFinite(values);
    maxima[group] = std::max(maxima[group], std::bit_cast<float>(bits));
  }
  return ok();
}

void blockScales(const Format &format, std::span<float> maximaToScales) {
  float most = format.storage == Storage::E4M3   ? kMaxE4M3
               : format.storage == Storage::E2M1 ? kMaxE2M1
               : format.storage == Storage::I8   ? 127
                                                 : 7;
  for (float &value : maximaToScales)
    value = roundScale(format.scale, value / most);
}

void dequantizeRow(const Format &format, const Row &row, std::span<float> values) { decode(format, row, values); }

Status roundMatrix(const Format &format, std::span<float> values, int64_t columns) {
  int64_t rows = columns ? static_cast<int64_t>(values.size()) / columns : 0, padded = paddedColumns(format, columns);
  std::vector<float> staged(padded), scales;
  auto stage = [&](int64_t n) { std::copy_n(values.data() + n * columns, columns, staged.data()); };
  Row row;
  for (int64_t n = 0; n < rows; n++) {
    if (format.groupRows > 1 && n % format.groupRows == 0) {
      scales.assign(format.groups(padded), 0);
      for (int64_t other = n; other < std::min(n + format.groupRows, rows); other++) {
        stage(other);
        if (Status status = addMaxima(format, staged, scales); !status)
          return status;
      }
      blockScales(format, scales);
    }
    stage(n);
    if (Status status = quantizeRow(format, staged, scales, row); !status)
      return status;
    dequantizeRow(format, row, values.subspan(n * columns, columns));
  }
  return ok();
}

} // namespace qwench::quantization
