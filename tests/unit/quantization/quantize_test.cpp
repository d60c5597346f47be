// Quantized rows: what a code means, the error that the search may leave, and what is refused.
#include "dialects/quantization/codes.h"
#include "dialects/quantization/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

using namespace qwench::quantization;
using testing::HasSubstr;

namespace {

struct Named {
  const char *name;
  Format format;
  double error; ///< most squared error of Gaussian numbers, relative to their squares
};

// Bounds a few percent above what is found; the largest magnitude alone as the scale gives 1.16 % for int4 in groups of
// 64, and 1.3 % for nvfp4 without a choice of scales.
const Named kFormats[] = {
    {"int8", {Storage::I8, 0, Scale::F32}, 7e-5},
    {"int8_groups", {Storage::I8, 64, Scale::F16}, 4e-5},
    {"int8_zero_points", {Storage::I8, 64, Scale::F16, 1, true}, 4e-5},
    {"int4_32", {Storage::I4, 32, Scale::F16}, 6.8e-3},
    {"int4", {Storage::I4, 64, Scale::F16}, 8.3e-3},
    {"int4_128", {Storage::I4, 128, Scale::F16}, 9.6e-3},
    {"int4_zero_points", {Storage::I4, 64, Scale::F16, 1, true}, 7.8e-3},
    {"mxfp4", {Storage::E2M1, 32, Scale::E8M0}, 1.3e-2},
    {"nvfp4", {Storage::E2M1, 16, Scale::E4M3, 1, false, true}, 6.9e-3},
    {"fp8", {Storage::E4M3, 128, Scale::F32, 128}, 7.3e-4},
};

std::vector<float> gaussian(int64_t count, float scale = 1, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float &value : values)
    value = normal(random);
  return values;
}

double relativeError(const std::vector<float> &found, const std::vector<float> &expected) {
  double error = 0, sum = 0;
  for (size_t i = 0; i < expected.size(); i++) {
    error += std::pow(static_cast<double>(found[i]) - expected[i], 2);
    sum += std::pow(static_cast<double>(expected[i]), 2);
  }
  return error / sum;
}

} // namespace

class EveryFormat : public testing::TestWithParam<Named> {
protected:
  const Format &format = GetParam().format;
};

TEST_P(EveryFormat, StaysCloseToGaussianNumbersOfAnyScale) {
  for (float scale : {1.0f, 0.02f, 1e-3f, 100.0f}) {
    std::vector<float> values = gaussian(256 * 256, scale), rounded = values;
    ASSERT_TRUE(roundMatrix(format, rounded, 256));
    EXPECT_LE(relativeError(rounded, values), GetParam().error) << scale;
  }
}

TEST_P(EveryFormat, KeepsItsOwnValues) {
  std::vector<float> once = gaussian(4 * 256);
  ASSERT_TRUE(roundMatrix(format, once, 256));
  std::vector<float> twice = once;
  ASSERT_TRUE(roundMatrix(format, twice, 256));
  EXPECT_LE(relativeError(twice, once), 1e-6);
}

TEST_P(EveryFormat, MeansCodeMinusZeroTimesScales) {
  std::vector<float> values = gaussian(256), scales;
  if (format.groupRows > 1) {
    scales.resize(format.groups(256));
    ASSERT_TRUE(addMaxima(format, values, scales));
    blockScales(format, scales);
  }
  Row row;
  ASSERT_TRUE(quantizeRow(format, values, scales, row));
  std::vector<float> found(256);
  dequantizeRow(format, row, found);
  for (int64_t k = 0; k < 256; k++) {
    int64_t group = format.group ? k / format.group : 0;
    uint8_t code = row.codes[k];
    float number = format.storage == Storage::E2M1   ? fromE2M1(code)
                   : format.storage == Storage::E4M3 ? fromE4M3(code)
                   : format.zeroPoints               ? code - row.zeros[group]
                   : format.storage == Storage::I8   ? code - 128
                                                     : code - 8;
    ASSERT_EQ(found[k], number * row.scales[group] * row.rowScale) << k;
    std::byte stored[4];
    storeScale(format.scale, row.scales[group], stored);
    ASSERT_EQ(loadScale(format.scale, stored), row.scales[group]) << "a scale that its type does not hold";
    if (bitsOf(format.storage) == 4)
      ASSERT_LT(code, 16);
  }
}

TEST_P(EveryFormat, GivesZerosForZerosAndForPadding) {
  for (int64_t columns : {1, 17, 100, 200}) {
    std::vector<float> zeros(2 * columns, 0.0f);
    ASSERT_TRUE(roundMatrix(format, zeros, columns));
    EXPECT_THAT(zeros, testing::Each(0.0f));
    std::vector<float> padded(paddedColumns(format, columns), 0.0f), scales;
    if (format.groupRows > 1)
      scales.resize(format.groups(static_cast<int64_t>(padded.size())), 0.5f);
    for (int64_t k = 0; k < columns; k++)
      padded[k] = 1 + 0.01f * static_cast<float>(k);
    Row row;
    ASSERT_TRUE(quantizeRow(format, padded, scales, row));
    std::vector<float> values(padded.size());
    dequantizeRow(format, row, values);
    for (size_t k = columns; k < values.size(); k++)
      ASSERT_EQ(values[k], 0) << k;
  }
}

TEST_P(EveryFormat, RoundsRowsOfAnyLength) {
  for (int64_t columns : {1, 33, 129, 300}) {
    std::vector<float> values = gaussian(130 * columns), rounded = values;
    ASSERT_TRUE(roundMatrix(format, rounded, columns));
    EXPECT_LE(relativeError(rounded, values), 1.2 * GetParam().error) << columns;
  }
}

TEST_P(EveryFormat, RefusesWhatIsNotFinite) {
  for (float bad : {NAN, INFINITY, -INFINITY}) {
    std::vector<float> values = gaussian(2 * 256);
    values[256 + 77] = bad;
    qwench::Status status = roundMatrix(format, values, 256);
    ASSERT_FALSE(status);
    EXPECT_THAT(status.error().message, HasSubstr("in column 77"));
  }
}

TEST_P(EveryFormat, RefusesOrKeepsExtremes) {
  std::vector<float> values = gaussian(256), tiny = gaussian(256, 1e-30f);
  values[3] = 1e30f;
  EXPECT_FALSE(format.groupRows == 1 && roundMatrix(format, values, 256)) << "a scale that overflows";
  ASSERT_TRUE(roundMatrix(format, tiny, 256));
  for (float value : tiny)
    EXPECT_LT(std::abs(value), 1e-29f);
}

INSTANTIATE_TEST_SUITE_P(Formats, EveryFormat, testing::ValuesIn(kFormats),
                         [](const auto &info) { return std::string(info.param.name); });

TEST(Quantize, TakesTheLargestMagnitudeAtEitherEndOfInt4) {
  for (float sign : {1.0f, -1.0f}) {
    std::vector<float> values(64);
    for (int i = 0; i < 64; i++)
      values[i] = sign * static_cast<float>(i % 16 - 8);
    std::vector<float> rounded = values;
    ASSERT_TRUE(roundMatrix({Storage::I4, 64, Scale::F16}, rounded, 64));
    EXPECT_EQ(rounded, values) << "16 levels exist only with a scale of the right sign";
  }
}

TEST(Quantize, GivesBlocksOneScale) {
  Format format{Storage::E4M3, 128, Scale::F32, 128};
  std::vector<float> values(130 * 256, 0.01f);
  values[5 * 256 + 130] = 448; // row block 0, column block 1
  ASSERT_TRUE(roundMatrix(format, values, 256));
  EXPECT_EQ(values[5 * 256 + 130], 448);
  EXPECT_EQ(values[127 * 256 + 255], fromE4M3(toE4M3(0.01f))) << "the scale of its block is 1";
  EXPECT_NEAR(values[128 * 256 + 255], 0.01, 1e-6) << "the next block of rows has its own";
  EXPECT_NEAR(values[127 * 256 + 127], 0.01, 1e-6) << "and the other block of columns";
}

TEST(Quantize, RefusesFormatsThatCannotWork) {
  std::vector<float> values = gaussian(256);
  Row row;
  EXPECT_FALSE(quantizeRow({Storage::I4, 32, Scale::E8M0}, values, {}, row));
  EXPECT_FALSE(quantizeRow({Storage::I4, 32, Scale::F16, 1, false, true}, values, {}, row));
  EXPECT_FALSE(quantizeRow({Storage::I4, 48, Scale::F16}, values, {}, row)) << "256 is no multiple of 48";
  EXPECT_FALSE(quantizeRow({Storage::E4M3, 128, Scale::F32, 128}, values, {}, row)) << "without the block's scales";
}
