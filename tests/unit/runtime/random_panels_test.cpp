// Made-up panels of quantized weights: their size is the layout's, their padding is zero, and what describes them is
// checked.
#include "runtime/core/metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

namespace qwench {
namespace {

using nlohmann::json;
using testing::HasSubstr;

/// Two matrices [70, 100] of int4 in groups of 64, gate and up in halves: 2 x 2 x 35 rows, 4 panels of 2 groups.
json int4Panels() {
  return {{"matrices", 2},        {"rows", 70},         {"columns", 100},    {"padded_columns", 128}, {"width", 32},
          {"depth", 4},           {"pair_halves", true}, {"group", 64},       {"zero_points", false},  {"row_scales", false},
          {"code_bits", 4},       {"code_mask", 255},   {"code_base", 0},    {"zero_code", 8},        {"zero_point", 8},
          {"scale_bytes", 2},     {"scale", 0x3c00},    {"row_scale", 0}};
}
constexpr uint64_t kPanelBytes = 2 * (32 * 2 + 64 * 16);

std::string metadata(const json &panels, uint64_t bytes) {
  json tensor = {{"name", "w"}, {"offset", 0}, {"bytes", bytes}, {"panels", panels}};
  return json{{"random_weights", {{"seed", 1}, {"tensors", json::array({tensor})}}}}.dump();
}

RandomPanels read(const json &panels, uint64_t bytes) {
  Result<Metadata> found = parseMetadata(metadata(panels, bytes), 1 << 20);
  EXPECT_TRUE(found) << (found ? "" : found.error().message);
  return found ? *found->randomWeights->tensors[0].panels : RandomPanels();
}

TEST(RandomPanels, HaveScalesForRowsAndZerosForPadding) {
  RandomPanels panels = read(int4Panels(), 2 * 4 * kPanelBytes);
  ASSERT_EQ(panels.panels(), 4u);
  ASSERT_EQ(panels.panelBytes(), kPanelBytes);
  double squares = 0;
  int real = 0;
  for (uint64_t panel = 0; panel < 4; ++panel) {
    std::vector<uint8_t> bytes(kPanelBytes + 8, 0xee);
    fillRandomPanel(panels, 4 + panel, 7, bytes.data());
    EXPECT_THAT(std::vector<uint8_t>(bytes.end() - 8, bytes.end()), testing::Each(0xee)) << "written behind the panel";
    for (uint64_t group = 0; group < 2; ++group) {
      const uint8_t *at = bytes.data() + group * (64 + 64 * 16);
      for (uint64_t lane = 0; lane < 32; ++lane) {
        uint16_t scale;
        std::memcpy(&scale, at + 2 * lane, 2);
        ASSERT_EQ(scale, panel * 16 + lane % 16 < 35 ? 0x3c00 : 0) << "panel " << panel << " lane " << lane;
        for (uint64_t k = 0; k < 64; ++k) {
          uint8_t byte = at[64 + k / 4 * 64 + lane % 16 * 4 + k % 4];
          int value = (lane < 16 ? byte & 15 : byte >> 4) - 8;
          if (group * 64 + k >= 100)
            ASSERT_EQ(value, 0) << "column " << group * 64 + k;
          else if (scale)
            squares += value * value, ++real;
        }
      }
    }
  }
  EXPECT_EQ(real, 70 * 100);
  EXPECT_NEAR(std::sqrt(squares / real), 4.64, 0.1) << "sixteen codes, all as likely";
}

TEST(RandomPanels, InPlanesHaveCodesFirst) {
  json description = int4Panels();
  description["planes"] = true, description["width"] = 4, description["depth"] = 8, description["zero_points"] = true;
  // 18 panels of 2 rows of each half; codes, then scales, then zero points.
  const uint64_t codes = 128 * 2, used = codes + 2 * 4 * 2 + 2 * 4, bytes = (used + 63) / 64 * 64;
  RandomPanels panels = read(description, 2 * 18 * bytes);
  ASSERT_EQ(panels.panelBytes(), bytes);
  for (uint64_t panel : {0, 17, 18}) { // 35 rows of each half
    std::vector<uint8_t> found(bytes);
    fillRandomPanel(panels, panel, 7, found.data());
    for (uint64_t group = 0; group < 2; ++group)
      for (uint64_t lane = 0; lane < 4; ++lane) {
        uint16_t scale;
        std::memcpy(&scale, found.data() + codes + 8 * group + 2 * lane, 2);
        EXPECT_EQ(scale, panel % 18 * 2 + lane % 2 < 35 ? 0x3c00 : 0) << "panel " << panel << " lane " << lane;
        EXPECT_EQ(found[codes + 16 + 4 * group + lane], scale ? 8 : 0);
      }
    for (uint64_t k = 100; k < 128; ++k)
      EXPECT_EQ(found[k / 8 * 16 + k % 8], 0x88) << "column " << k;
    EXPECT_THAT(std::vector<uint8_t>(found.begin() + used, found.end()), testing::Each(0));
  }
}

TEST(RandomPanels, DependOnTheKey) {
  RandomPanels panels = read(int4Panels(), 2 * 4 * kPanelBytes);
  std::vector<uint8_t> a(kPanelBytes), b(kPanelBytes), c(kPanelBytes);
  fillRandomPanel(panels, 0, 1, a.data());
  fillRandomPanel(panels, 0, 1, b.data());
  fillRandomPanel(panels, 0, 2, c.data());
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
}

TEST(RandomPanels, AreRefusedWhenTheyDoNotFillTheTensor) {
  auto error = [](const char *field, json value, uint64_t bytes) {
    json panels = int4Panels();
    if (*field)
      panels[field] = value;
    Result<Metadata> found = parseMetadata(metadata(panels, bytes), 1 << 20);
    return found ? std::string() : found.error().message;
  };
  const uint64_t bytes = 2 * 4 * kPanelBytes;
  EXPECT_EQ(error("", 0, bytes), "");
  EXPECT_THAT(error("", 0, bytes + 64), HasSubstr("bytes of the tensor"));
  EXPECT_THAT(error("rows", 200, bytes), HasSubstr("bytes of the tensor"));
  EXPECT_THAT(error("matrices", 1 << 20, bytes), HasSubstr("bytes of the tensor"));
  EXPECT_THAT(error("", 0, 1 << 21), HasSubstr("a range within"));
  EXPECT_THAT(error("group", 0, bytes), HasSubstr("'group' from 1"));
  EXPECT_THAT(error("group", 48, bytes), HasSubstr("whole groups"));
  EXPECT_THAT(error("width", 31, bytes), HasSubstr("an even width"));
  EXPECT_THAT(error("code_bits", 6, bytes), HasSubstr("whole steps"));
  EXPECT_THAT(error("columns", 129, bytes), HasSubstr("whole groups"));
  EXPECT_THAT(error("pair_halves", 1, bytes), HasSubstr("'pair_halves' as true or false"));
  EXPECT_THAT(error("scale", -1, bytes), HasSubstr("'scale' from 0"));
  EXPECT_THAT(error("scale_bytes", 5, bytes), HasSubstr("'scale_bytes' from 1 to 4"));
}

} // namespace
} // namespace qwench
