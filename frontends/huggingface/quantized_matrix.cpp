#include "frontends/huggingface/quantized_matrix.h"

#include "dialects/quantization/codes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

namespace qwench::hf {
namespace {

constexpr int64_t kWordBits = 32;
/// Groups of the compiler's formats.
constexpr int64_t kGroupGranule = 16, kMaxGroup = 1024;
/// In which nibble of its word awq keeps output n % 8.
constexpr std::array<int, 8> kAwqNibble = {0, 4, 1, 5, 2, 6, 3, 7};

template <typename T> T load(const std::byte *data, int64_t index) {
  T value;
  std::memcpy(&value, data + index * static_cast<int64_t>(sizeof value), sizeof value);
  return value;
}

int64_t ceilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

Status expectShape(const TensorView &view, const std::vector<int64_t> &shape) {
  if (view.shape == shape)
    return ok();
  return userError("expected shape " + formatShape(shape) + " of " + view.name +
                   " as config.json says, found " + formatShape(view.shape));
}

Status expectType(const TensorView &view, std::initializer_list<DType> types) {
  if (std::find(types.begin(), types.end(), view.dtype) != types.end())
    return ok();
  std::string list;
  for (const DType *type = types.begin(); type != types.end(); ++type)
    list += (type == types.begin() ? "" : type + 1 == types.end() ? " or " : ", ") + std::string(name(*type));
  return userError("expected " + view.name + " of type " + list + ", found " + std::string(name(view.dtype)));
}

StoredFormat::Codes codesOf(QuantMethod method, int bits) {
  if (method == QuantMethod::Fp8)
    return StoredFormat::Codes::E4M3;
  return bits == 4 ? StoredFormat::Codes::U4 : StoredFormat::Codes::U8;
}

} // namespace

StoredFormat declaredFormat(const QuantizationConfig &config) {
  StoredFormat format;
  format.codes = codesOf(config.method, config.bits);
  format.group = config.group, format.groupRows = config.blockRows;
  format.scale = config.method == QuantMethod::Fp8 ? DType::F32 : DType::F16;
  format.zeroPoints =
      config.method == QuantMethod::Awq || (config.method == QuantMethod::Gptq && !config.symmetric);
  format.scattered = config.actOrder;
  return format;
}

std::optional<quantization::Format> formatOf(const StoredFormat &stored, std::string &reason) {
  using quantization::Scale, quantization::Storage;
  if (stored.scattered) {
    reason = "the columns of their groups are scattered (act-order)";
    return std::nullopt;
  }
  if (stored.group % kGroupGranule || stored.group > kMaxGroup) {
    reason = "expected groups of at most " + std::to_string(kMaxGroup) + " columns, a multiple of " +
             std::to_string(kGroupGranule) + ", found " + std::to_string(stored.group);
    return std::nullopt;
  }
  if (stored.zeroPoints && stored.group == 0) {
    reason = "zero points need groups, and theirs are whole rows";
    return std::nullopt;
  }
  quantization::Format format;
  format.storage = stored.codes == StoredFormat::Codes::E4M3 ? Storage::E4M3
                   : stored.codes == StoredFormat::Codes::U4 ? Storage::I4
                                                             : Storage::I8;
  // f32 holds every other scale exactly.
  format.scale = stored.scale == DType::F16 && stored.group ? Scale::F16 : Scale::F32;
  format.group = stored.group, format.groupRows = stored.groupRows, format.zeroPoints = stored.zeroPoints;
  return format;
}

Result<QuantizedMatrix> QuantizedMatrix::make(const QuantizationConfig &config, int64_t rows, int64_t columns,
                                              const QuantizedParts &parts, int64_t gridRows,
                                              int64_t firstRow) {
  QuantizedMatrix matrix;
  matrix.method = config.method;
  matrix.bits = config.bits;
  matrix.group = config.group;
  matrix.symmetric = config.symmetric;
  matrix.blockRows = config.blockRows;
  matrix.zerosMinusOne = config.zerosMinusOne;
  matrix.rowCount = rows, matrix.columnCount = columns, matrix.firstRow = firstRow;
  matrix.parts = parts;
  if (Status status = matrix.checkParts(gridRows); !status)
    return status.takeError();
  if (Status status = matrix.readGroups(); !status)
    return status.takeError();
  return matrix;
}

Status QuantizedMatrix::checkParts(int64_t gridRows) const {
  int64_t perWord = kWordBits / bits, count = groups();
  std::vector<int64_t> weight, scales, zeros = {count, rowCount / perWord};
  if (fp8()) {
    weight = {rowCount, columnCount};
    scales = {ceilDivide(gridRows, blockRows), count};
  } else {
    bool packsColumns = method == QuantMethod::Gptq;
    if (rowCount % perWord || (packsColumns && columnCount % perWord))
      return userError("expected sizes that are multiples of " + std::to_string(perWord) + " for " +
                       parts.weight.name + ", found " + formatShape(std::array{rowCount, columnCount}));
    weight = packsColumns ? std::vector{columnCount / perWord, rowCount}
                          : std::vector{columnCount, rowCount / perWord};
    scales = {count, rowCount};
  }
  if (Status status = expectType(parts.weight, {fp8() ? DType::F8_E4M3 : DType::I32}); !status)
    return status;
  if (Status status = expectShape(parts.weight, weight); !status)
    return status;
  if (Status status = fp8() ? expectType(parts.scales, {DType::F32, DType::BF16, DType::F16, DType::F8_E8M0})
                            : expectType(parts.scales, {DType::F16, DType::BF16, DType::F32});
      !status)
    return status;
  if (Status status = expectShape(parts.scales, scales); !status || fp8())
    return status;
  if (Status status = expectType(parts.zeros, {DType::I32}); !status)
    return status;
  if (Status status = expectShape(parts.zeros, zeros); !status || !parts.groups.data)
    return status;
  if (Status status = expectType(parts.groups, {DType::I32}); !status)
    return status;
  return expectShape(parts.groups, {columnCount});
}

/// Checks g_idx, and forgets it unless it scatters columns.
Status QuantizedMatrix::readGroups() {
  if (!parts.groups.data)
    return ok();
  bool inOrder = true, allZero = true;
  for (int64_t k = 0; k < columnCount; ++k) {
    int32_t found = groupNumber(k);
    if (found < 0 || found >= groups())
      return userError("expected groups below " + std::to_string(groups()) + " in " + parts.groups.name +
                       ", found " + std::to_string(found) + " at [" + std::to_string(k) + "]");
    inOrder &= found == k / columnsOfGroup();
    allZero &= found == 0;
  }
  if (inOrder || allZero)
    parts.groups = {};
  return ok();
}

int64_t QuantizedMatrix::groups() const { return ceilDivide(columnCount, columnsOfGroup()); }

float QuantizedMatrix::scaleAt(int64_t index) const {
  const std::byte *data = parts.scales.data;
  switch (parts.scales.dtype) {
  case DType::F16:
    return quantization::fromF16(load<uint16_t>(data, index));
  case DType::BF16:
    return quantization::fromBF16(load<uint16_t>(data, index));
  case DType::F8_E8M0:
    return quantization::fromE8M0(load<uint8_t>(data, index));
  default:
    return load<float>(data, index);
  }
}

int32_t QuantizedMatrix::groupNumber(int64_t column) const {
  return parts.groups.data ? load<int32_t>(parts.groups.data, column)
                           : static_cast<int32_t>(column / columnsOfGroup());
}

//===-- Examination -----------------------------------------------------------------------------------------------===//

Result<StoredFormat> QuantizedMatrix::examine() const {
  if (Status status = examineScales(); !status)
    return status.takeError();
  StoredFormat format;
  format.codes = codesOf(method, bits);
  format.group = group, format.groupRows = blockRows, format.scale = parts.scales.dtype;
  if (fp8())
    return format;
  format.scattered = parts.groups.data != nullptr;
  // Matrices of one model should have one format, also where the zero points of one happen to be in the
  // middle.
  format.zeroPoints = (!symmetric && group) || hasOtherZeros();
  return format;
}

Status QuantizedMatrix::examineScales() const {
  int64_t width = parts.scales.shape[1], count = parts.scales.shape[0] * width;
  for (int64_t i = 0; i < count; ++i)
    if (float scale = scaleAt(i); !std::isfinite(scale))
      return userError("expected finite numbers in " + parts.scales.name + ", found " +
                       (std::isnan(scale) ? "nan" : "infinity") + " at " +
                       formatShape(std::array{i / width, i % width}));
  return ok();
}

bool QuantizedMatrix::hasOtherZeros() const {
  // A word of equal fields, each 2^(bits - 1), one less where the format stores it so.
  uint32_t field = (1u << (bits - 1)) - (zerosMinusOne ? 1 : 0), symmetric = 0;
  for (int shift = 0; shift < kWordBits; shift += bits)
    symmetric |= field << shift;
  int64_t words = static_cast<int64_t>(parts.zeros.bytes) / 4;
  for (int64_t i = 0; i < words; ++i)
    if (load<uint32_t>(parts.zeros.data, i) != symmetric)
      return true;
  return false;
}

//===-- Reading ---------------------------------------------------------------------------------------------------===//

void QuantizedMatrix::codes(int64_t row, int64_t count, uint8_t *to, int64_t stride) const {
  if (method == QuantMethod::Gptq)
    return gptqCodes(row, count, to, stride);
  if (method == QuantMethod::Awq)
    return awqCodes(row, count, to, stride);
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(to + i * stride, parts.weight.data + (row + i) * columnCount, columnCount);
}

void QuantizedMatrix::gptqCodes(int64_t row, int64_t count, uint8_t *to, int64_t stride) const {
  int64_t perWord = kWordBits / bits;
  uint32_t mask = (1u << bits) - 1;
  for (int64_t word = 0; word < columnCount / perWord; ++word)
    for (int64_t i = 0; i < count; ++i) {
      uint32_t packed = load<uint32_t>(parts.weight.data, word * rowCount + row + i);
      uint8_t *out = to + i * stride + word * perWord;
      for (int64_t j = 0; j < perWord; ++j)
        out[j] = static_cast<uint8_t>(packed >> (j * bits) & mask);
    }
}

void QuantizedMatrix::awqCodes(int64_t row, int64_t count, uint8_t *to, int64_t stride) const {
  constexpr int64_t perWord = kWordBits / 4;
  for (int64_t k = 0; k < columnCount; ++k) {
    int64_t line = k * (rowCount / perWord);
    for (int64_t i = 0; i < count; ++i) {
      int64_t n = row + i;
      uint32_t packed = load<uint32_t>(parts.weight.data, line + n / perWord);
      to[i * stride + k] = static_cast<uint8_t>(packed >> (4 * kAwqNibble[n % perWord]) & 15);
    }
  }
}

void QuantizedMatrix::scales(int64_t row, float *to) const {
  int64_t count = groups(), first = (firstRow + row) / blockRows * count;
  for (int64_t g = 0; g < count; ++g)
    to[g] = scaleAt(fp8() ? first + g : g * rowCount + row);
}

void QuantizedMatrix::zeros(int64_t row, uint8_t *to) const {
  int64_t count = groups(), perWord = kWordBits / bits;
  if (fp8()) {
    std::fill(to, to + count, 0);
    return;
  }
  int64_t place = row % perWord;
  int64_t shift = bits * (method == QuantMethod::Awq ? kAwqNibble[place] : place);
  for (int64_t g = 0; g < count; ++g) {
    uint32_t stored = load<uint32_t>(parts.zeros.data, g * (rowCount / perWord) + row / perWord) >> shift;
    to[g] = static_cast<uint8_t>((stored + (zerosMinusOne ? 1 : 0)) & ((1u << bits) - 1));
  }
}

void QuantizedMatrix::values(int64_t row, int64_t count, float *to, int64_t stride) const {
  static thread_local std::vector<uint8_t> block, rowZeros;
  static thread_local std::vector<float> rowScales;
  block.resize(count * columnCount), rowZeros.resize(groups()), rowScales.resize(groups());
  codes(row, count, block.data(), columnCount);
  for (int64_t i = 0; i < count; ++i) {
    scales(row + i, rowScales.data());
    zeros(row + i, rowZeros.data());
    const uint8_t *from = block.data() + i * columnCount;
    float *out = to + i * stride;
    for (int64_t first = 0, end; first < columnCount; first = end) {
      // Scattered columns are groups of one.
      int32_t g = groupNumber(first);
      end = parts.groups.data ? first + 1 : std::min(first + columnsOfGroup(), columnCount);
      float scale = rowScales[g], zero = rowZeros[g];
      if (fp8())
        for (int64_t k = first; k < end; ++k)
          out[k] = quantization::fromE4M3(from[k]) * scale;
      else
        for (int64_t k = first; k < end; ++k)
          out[k] = (static_cast<float>(from[k]) - zero) * scale;
    }
  }
}

} // namespace qwench::hf
