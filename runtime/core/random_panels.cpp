#include "runtime/core/random_panels.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>

namespace qwench {

namespace {

using nlohmann::json;

constexpr uint64_t kMostColumns = 1u << 24, kMostRows = 1u << 28, kMostMatrices = 1u << 20;

uint64_t roundUp(uint64_t value, uint64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

inline __attribute__((always_inline)) void fillCodes(uint8_t *at, uint64_t bytes, uint32_t key, uint32_t mask,
                                                     uint32_t base) {
  for (uint64_t i = 0; i < bytes / 4; ++i) {
    uint32_t word = (scramble(static_cast<uint32_t>(i) ^ key) & mask) | base;
    std::memcpy(at + 4 * i, &word, 4);
  }
}

__attribute__((target("avx2"))) void fillCodesAvx2(uint8_t *at, uint64_t bytes, uint32_t key, uint32_t mask,
                                                   uint32_t base) {
  fillCodes(at, bytes, key, mask, base);
}

void fillCodesWidest(uint8_t *at, uint64_t bytes, uint32_t key, uint32_t mask, uint32_t base) {
  static const bool avx2 = __builtin_cpu_supports("avx2");
  if (avx2)
    fillCodesAvx2(at, bytes, key, mask, base);
  else
    fillCodes(at, bytes, key, mask, base);
}

/// Whether a lane of a panel is a row of the matrix.
bool isRow(const RandomPanels &p, uint64_t panel, uint64_t lane) {
  return p.pairHalves ? panel * (p.width / 2) + lane % (p.width / 2) < p.rows / 2 : panel * p.width + lane < p.rows;
}

/// The zero code in column `column` of a group, in all lanes.
void clearColumn(const RandomPanels &p, uint8_t *codes, uint64_t column) {
  uint64_t lanes = p.codeBits == 4 ? p.width / 2 : p.width;
  auto byte = static_cast<uint8_t>(p.codeBits == 4 ? p.zeroCode << 4 | p.zeroCode : p.zeroCode);
  for (uint64_t lane = 0; lane < lanes; ++lane)
    codes[(column / p.depth * lanes + lane) * p.depth + column % p.depth] = byte;
}

} // namespace

uint64_t RandomPanels::panels() const {
  uint64_t rowsOfPanel = pairHalves ? width / 2 : width, all = pairHalves ? rows / 2 : rows;
  // With halves each is rounded up to a whole width: an even number of panels.
  return pairHalves ? 2 * roundUp(all, width) / width : roundUp(all, rowsOfPanel) / width;
}

uint64_t RandomPanels::panelBytes() const {
  uint64_t groups = paddedColumns / group;
  uint64_t bytes = (rowScales ? 4 * width : 0) + groups * width * (scaleBytes + (zeroPoints ? 1 : 0));
  return roundUp(bytes + paddedColumns * width * codeBits / 8, 64);
}

void fillRandomPanel(const RandomPanels &p, uint64_t index, uint32_t key, uint8_t *at) {
  const uint64_t panel = index % p.panels(), codeBytes = p.group * p.width * p.codeBits / 8, groups = p.paddedColumns / p.group;
  uint8_t *const end = at + p.panelBytes();
  auto mask = static_cast<uint32_t>(p.codeMask * 0x01010101u), base = static_cast<uint32_t>(p.codeBase * 0x01010101u);
  auto scales = [&](uint64_t bits, uint64_t bytes, bool within) {
    for (uint64_t lane = 0; lane < p.width; ++lane, at += bytes) {
      uint64_t value = within && isRow(p, panel, lane) ? bits : 0;
      std::memcpy(at, &value, bytes);
    }
  };
  auto codes = [&](uint64_t first) {
    fillCodesWidest(at, codeBytes, scramble(key + static_cast<uint32_t>(first)), mask, base);
    for (uint64_t column = first < p.columns ? p.columns - first : 0; column < p.group; ++column)
      clearColumn(p, at, column);
    at += codeBytes;
  };
  for (uint64_t group = 0; p.planes && group < groups; ++group)
    codes(group * p.group);
  if (p.rowScales)
    scales(p.rowScale, 4, true);
  for (uint64_t group = 0; group < groups; ++group) {
    scales(p.scale, p.scaleBytes, group * p.group < p.columns);
    if (p.planes)
      continue;
    if (p.zeroPoints)
      scales(p.zeroPoint, 1, true);
    codes(group * p.group);
  }
  for (uint64_t group = 0; p.planes && p.zeroPoints && group < groups; ++group)
    scales(p.zeroPoint, 1, true);
  std::memset(at, 0, end - at);
}

Status readRandomPanels(const json &object, uint64_t bytes, RandomPanels &out) {
  auto wrong = [](const std::string &what) { return userError("metadata section: expected " + what + " of random panels"); };
  if (!object.is_object())
    return wrong("an object");
  struct Field {
    const char *name;
    uint64_t *to, low, high;
  };
  for (Field f : {Field{"matrices", &out.matrices, 1, kMostMatrices}, Field{"rows", &out.rows, 1, kMostRows},
                  Field{"columns", &out.columns, 1, kMostColumns}, Field{"width", &out.width, 2, 1024},
                  Field{"padded_columns", &out.paddedColumns, 1, kMostColumns}, Field{"depth", &out.depth, 1, 64},
                  Field{"group", &out.group, 1, kMostColumns}, Field{"code_bits", &out.codeBits, 4, 8},
                  Field{"code_mask", &out.codeMask, 0, 255}, Field{"code_base", &out.codeBase, 0, 255},
                  Field{"zero_code", &out.zeroCode, 0, 255}, Field{"zero_point", &out.zeroPoint, 0, 255},
                  Field{"scale_bytes", &out.scaleBytes, 1, 4}, Field{"scale", &out.scale, 0, UINT32_MAX},
                  Field{"row_scale", &out.rowScale, 0, UINT32_MAX}}) {
    auto it = object.find(f.name);
    if (it == object.end() || !it->is_number_unsigned() || it->get<uint64_t>() < f.low || it->get<uint64_t>() > f.high)
      return wrong(std::string("'") + f.name + "' from " + std::to_string(f.low) + " to " + std::to_string(f.high));
    *f.to = it->get<uint64_t>();
  }
  for (auto [name, to] : {std::pair("pair_halves", &out.pairHalves), {"zero_points", &out.zeroPoints},
                          {"row_scales", &out.rowScales}, {"planes", &out.planes}}) {
    auto it = object.find(name);
    if (it == object.end() && to == &out.planes)
      continue;
    if (it == object.end() || !it->is_boolean())
      return wrong(std::string("'") + name + "' as true or false");
    *to = it->get<bool>();
  }
  if (out.width % 2 || out.columns > out.paddedColumns || out.paddedColumns % out.group || out.group % out.depth ||
      out.group * out.width * out.codeBits / 8 % 4 || (out.codeBits != 4 && out.codeBits != 8))
    return wrong("an even width, whole groups and whole steps");
  if (out.panels() == 0 || out.panelBytes() * out.panels() > bytes ||
      out.panelBytes() * out.panels() * out.matrices != bytes) // at most 2^20 matrices of `bytes` < 2^44
    return wrong("the " + std::to_string(bytes) + " bytes of the tensor");
  return ok();
}

} // namespace qwench
