#include "compiler/pack/layout.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

namespace qwench::pack {

namespace {

// Columns that are staged before they are transposed: 32 lanes of 128 floats fill half of a 32 KiB
// first-level cache.
constexpr int64_t kStageColumns = 128;

uint16_t roundToBF16(uint32_t bits) {
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  uint32_t quiet = (bits >> 16) | 0x40;
  return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

template <typename T> T load(const std::byte *from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

/// out[i] = value(in[i]) for unaligned arrays; `value` takes and gives raw bits.
template <typename In, typename Out, typename Function>
void map(const std::byte *from, std::byte *to, int64_t count, Function value) {
  for (int64_t i = 0; i < count; i++) {
    Out out = value(load<In>(from + i * sizeof(In)));
    std::memcpy(to + i * sizeof(Out), &out, sizeof out);
  }
}

/// to[c * width + lane] = stage[lane * kStageColumns + c] for units of type T, 16 columns (a cache line of
/// 4-byte units) at a time.
template <typename T>
void transpose(const std::byte *stage, int64_t lanes, int64_t stageUnits, int64_t units, std::byte *to) {
  auto *from = reinterpret_cast<const T *>(stage);
  auto *out = reinterpret_cast<T *>(to);
  constexpr int64_t block = 16;
  for (int64_t first = 0; first < units; first += block) {
    int64_t end = std::min(first + block, units);
    for (int64_t lane = 0; lane < lanes; lane++)
      for (int64_t unit = first; unit < end; unit++)
        out[unit * lanes + lane] = from[lane * stageUnits + unit];
  }
}

void transposeBytes(const std::byte *stage, int64_t lanes, int64_t stageUnits, int64_t units,
                    int64_t unitBytes, std::byte *to) {
  for (int64_t unit = 0; unit < units; unit++)
    for (int64_t lane = 0; lane < lanes; lane++)
      std::memcpy(to + (unit * lanes + lane) * unitBytes, stage + (lane * stageUnits + unit) * unitBytes,
                  unitBytes);
}

} // namespace

uint16_t toBF16(float value) { return roundToBF16(std::bit_cast<uint32_t>(value)); }

float fromF16(uint16_t bits) {
  uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16, magnitude = bits & 0x7fff;
  // The half's exponent and mantissa stand in a float's as a number 2^112 times too small.
  float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  uint32_t result = magnitude >= 0x7c00 ? (magnitude << 13) | 0x7f800000 : std::bit_cast<uint32_t>(scaled);
  return std::bit_cast<float>(result | sign);
}

void convert(const std::byte *from, hf::DType type, std::byte *to, Element element, int64_t count) {
  auto f16ToF32 = [](uint16_t bits) { return std::bit_cast<uint32_t>(fromF16(bits)); };
  auto bf16ToF32 = [](uint16_t bits) { return static_cast<uint32_t>(bits) << 16; };
  if (element == Element::F32) {
    if (type == hf::DType::F32)
      std::memcpy(to, from, count * 4);
    else if (type == hf::DType::F16)
      map<uint16_t, uint32_t>(from, to, count, f16ToF32);
    else
      map<uint16_t, uint32_t>(from, to, count, bf16ToF32);
    return;
  }
  if (type == hf::DType::F32)
    map<uint32_t, uint16_t>(from, to, count, roundToBF16);
  else if (type == hf::DType::F16)
    map<uint16_t, uint16_t>(from, to, count, [&](uint16_t bits) { return roundToBF16(f16ToF32(bits)); });
  else
    std::memcpy(to, from, count * 2);
}

void packPanel(std::span<const SourceRow> rows, const PanelShape &shape, Element element, std::byte *to) {
  int64_t size = bytesOf(element), unitBytes = shape.depth * size;
  int64_t stageUnits = std::max<int64_t>(kStageColumns / shape.depth, 1),
          stageColumns = stageUnits * shape.depth;
  static thread_local std::vector<uint64_t> storage;
  storage.resize((shape.width * stageColumns * size + 7) / 8);
  auto *stage = reinterpret_cast<std::byte *>(storage.data());
  for (int64_t first = 0; first < shape.paddedColumns; first += stageColumns) {
    int64_t padded = std::min(stageColumns, shape.paddedColumns - first);
    int64_t present = std::clamp<int64_t>(shape.columns - first, 0, padded);
    for (int64_t lane = 0; lane < shape.width; lane++) {
      std::byte *line = stage + lane * stageColumns * size;
      const SourceRow &row = rows[lane];
      int64_t real = row.data ? present : 0;
      if (real)
        convert(row.data + first * (hf::bits(row.type) / 8), row.type, line, element, real);
      std::memset(line + real * size, 0, (padded - real) * size);
    }
    std::byte *out = to + first * shape.width * size;
    int64_t units = padded / shape.depth;
    if (unitBytes == 4)
      transpose<uint32_t>(stage, shape.width, stageUnits, units, out);
    else if (unitBytes == 2)
      transpose<uint16_t>(stage, shape.width, stageUnits, units, out);
    else if (unitBytes == 8)
      transpose<uint64_t>(stage, shape.width, stageUnits, units, out);
    else
      transposeBytes(stage, shape.width, stageUnits, units, unitBytes, out);
  }
}

} // namespace qwench::pack
