#include "compiler/pack/layout.h"

#include "dialects/quantization/codes.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace qwench::pack {

using namespace quantization;

namespace {

// Columns that are staged before they are transposed: 32 lanes of 128 floats fill half of a 32 KiB
// first-level cache.
constexpr int64_t kStageColumns = 128;

/// out[i] = value(in[i]) for unaligned arrays.
template <typename In, typename Out>
void map(const std::byte *from, std::byte *to, int64_t count, auto value) {
  for (int64_t i = 0; i < count; i++) {
    In in;
    std::memcpy(&in, from + i * sizeof(In), sizeof in);
    Out out = value(in);
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

/// Piece p of each step of a row goes to p ^ lane % 8.
void exchangePieces(std::byte *line, int64_t bytes, int64_t lane) {
  constexpr int64_t piece = 16, pieces = 8;
  std::byte step[pieces * piece];
  for (std::byte *at = line; at < line + bytes; at += sizeof step) {
    std::memcpy(step, at, sizeof step);
    for (int64_t p = 0; p < pieces; p++)
      std::memcpy(at + (p ^ lane % pieces) * piece, step + p * piece, piece);
  }
}

} // namespace

void convert(const std::byte *from, hf::DType type, std::byte *to, Element element, int64_t count) {
  if (element == Element::F32) {
    if (type == hf::DType::F32)
      std::memcpy(to, from, count * 4);
    else if (type == hf::DType::F16)
      map<uint16_t, float>(from, to, count, [](uint16_t code) { return fromF16(code); });
    else
      map<uint16_t, float>(from, to, count, [](uint16_t code) { return fromBF16(code); });
    return;
  }
  if (type == hf::DType::F32)
    map<float, uint16_t>(from, to, count, [](float value) { return toBF16(value); });
  else if (type == hf::DType::F16)
    map<uint16_t, uint16_t>(from, to, count, [](uint16_t code) { return toBF16(fromF16(code)); });
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
      if (shape.swizzled)
        exchangePieces(line, padded * size, lane);
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
