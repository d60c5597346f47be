// Words of each layout, worked out by hand, and what they mean.
#include "frontends/huggingface/quantized_matrix.h"
#include "tests/unit/frontends/fixtures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qwench::hf {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using testing::messageOf;

/// A tensor in memory, one byte off any alignment.
struct Memory {
  TensorView view;
  std::vector<std::byte> bytes;

  template <typename T>
  Memory(const char *name, DType type, std::vector<int64_t> shape, const std::vector<T> &elements)
      : bytes(1 + elements.size() * sizeof(T)) {
    std::memcpy(bytes.data() + 1, elements.data(), elements.size() * sizeof(T));
    view = {name, type, std::move(shape), bytes.data() + 1, bytes.size() - 1};
  }
  Memory(Memory &&) = default;
  Memory &operator=(Memory &&) = default;
};

constexpr uint16_t kHalf1 = 0x3c00, kHalf2 = 0x4000, kHalf05 = 0x3800, kHalfNan = 0x7e00,
                   kHalfInfinity = 0x7c00;

QuantizationConfig gptq(int bits, int64_t group, bool minusOne) {
  QuantizationConfig config;
  config.method = QuantMethod::Gptq;
  config.bits = bits, config.group = group, config.zerosMinusOne = minusOne, config.symmetric = true;
  return config;
}

std::vector<float> valuesOf(const QuantizedMatrix &matrix, int64_t row, int64_t count) {
  std::vector<float> values(count * matrix.columns());
  matrix.values(row, count, values.data(), matrix.columns());
  return values;
}

std::vector<int> codesOf(const QuantizedMatrix &matrix, int64_t row) {
  std::vector<uint8_t> codes(matrix.columns());
  matrix.codes(row, 1, codes.data(), matrix.columns());
  return {codes.begin(), codes.end()};
}

/// gptq, 4 bits, [8, 16] in groups of 8. Row 0 holds 0, 1, ... 15, row 1 its reverse, the others eights.
struct Gptq4 {
  Memory weight{"qweight",
                DType::I32,
                {2, 8},
                std::vector<uint32_t>{0x76543210, 0x89abcdef, 0x88888888, 0x88888888, 0x88888888, 0x88888888,
                                      0x88888888, 0x88888888, //
                                      0xfedcba98, 0x01234567, 0x88888888, 0x88888888, 0x88888888, 0x88888888,
                                      0x88888888, 0x88888888}};
  // Zeros of row 0: 8 and 0; of row 1: 3 and 15; of the others 8. Stored less one, so 0 is 15.
  Memory zeros{"qzeros", DType::I32, {2, 1}, std::vector<uint32_t>{0x77777727, 0x777777ef}};
  Memory scales{"scales",
                DType::F16,
                {2, 8},
                std::vector<uint16_t>{kHalf1, kHalf2, kHalf1, kHalf1, kHalf1, kHalf1, kHalf1, kHalf1, //
                                      kHalf05, kHalf1, kHalf1, kHalf1, kHalf1, kHalf1, kHalf1, kHalf1}};
  std::vector<int32_t> groups;

  Result<QuantizedMatrix> make(bool minusOne = true) {
    groupMemory.clear();
    QuantizedParts parts{weight.view, scales.view, zeros.view, {}};
    if (!groups.empty()) {
      groupMemory.emplace_back("g_idx", DType::I32, std::vector<int64_t>{16}, groups);
      parts.groups = groupMemory.back().view;
    }
    return QuantizedMatrix::make(gptq(4, 8, minusOne), 8, 16, parts, 8, 0);
  }
  std::vector<Memory> groupMemory;
};

TEST(QuantizedMatrix, gptqInts4) {
  Gptq4 stored;
  auto matrix = stored.make();
  ASSERT_TRUE(matrix) << messageOf(matrix);
  EXPECT_THAT(codesOf(*matrix, 0), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  EXPECT_THAT(codesOf(*matrix, 1), ElementsAre(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
  uint8_t zeros[2];
  float scales[2];
  matrix->zeros(0, zeros);
  matrix->scales(0, scales);
  EXPECT_THAT(zeros, ElementsAre(8, 0));
  EXPECT_THAT(scales, ElementsAre(1.0f, 0.5f));
  matrix->zeros(1, zeros);
  EXPECT_THAT(zeros, ElementsAre(3, 15));
  EXPECT_THAT(valuesOf(*matrix, 0, 2),
              ElementsAre(-8, -7, -6, -5, -4, -3, -2, -1, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, //
                          24, 22, 20, 18, 16, 14, 12, 10, -8, -9, -10, -11, -12, -13, -14, -15));
  auto format = matrix->examine();
  ASSERT_TRUE(format);
  EXPECT_EQ(*format, (StoredFormat{StoredFormat::Codes::U4, 8, 1, DType::F16, true, false}));
}

TEST(QuantizedMatrix, gptqV2KeepsZerosAsTheyAre) {
  Gptq4 stored;
  auto matrix = stored.make(/*minusOne=*/false);
  ASSERT_TRUE(matrix);
  uint8_t zeros[2];
  matrix->zeros(0, zeros);
  EXPECT_THAT(zeros, ElementsAre(7, 15));
}

TEST(QuantizedMatrix, equalZerosInTheMiddleAreSigned) {
  Gptq4 stored;
  stored.zeros = Memory("qzeros", DType::I32, {2, 1}, std::vector<uint32_t>{0x77777777, 0x77777777});
  EXPECT_FALSE(stored.make()->examine()->zeroPoints);
  EXPECT_TRUE(stored.make(/*minusOne=*/false)->examine()->zeroPoints);
  stored.zeros = Memory("qzeros", DType::I32, {2, 1}, std::vector<uint32_t>{0x88888888, 0x88888888});
  EXPECT_FALSE(stored.make(/*minusOne=*/false)->examine()->zeroPoints);
  // Not where the configuration says that zero points are free: matrices of a model should have one format.
  QuantizationConfig free = gptq(4, 8, false);
  free.symmetric = false;
  QuantizedParts parts{stored.weight.view, stored.scales.view, stored.zeros.view, {}};
  EXPECT_TRUE(QuantizedMatrix::make(free, 8, 16, parts, 8, 0)->examine()->zeroPoints);
}

TEST(QuantizedMatrix, groupNumbersScatterColumns) {
  Gptq4 stored;
  for (int k = 0; k < 16; ++k)
    stored.groups.push_back(k / 8);
  EXPECT_FALSE(stored.make()->examine()->scattered);
  stored.groups.assign(16, 0);
  EXPECT_FALSE(stored.make()->examine()->scattered);
  EXPECT_FLOAT_EQ(valuesOf(*stored.make(), 0, 1)[15], 7.5f); // as if there were none
  for (int k = 0; k < 16; ++k)
    stored.groups[k] = k % 2;
  auto matrix = stored.make();
  EXPECT_TRUE(matrix->examine()->scattered);
  EXPECT_THAT(valuesOf(*matrix, 0, 1),
              ElementsAre(-8, 0.5, -6, 1.5, -4, 2.5, -2, 3.5, 0, 4.5, 2, 5.5, 4, 6.5, 6, 7.5));
}

TEST(QuantizedMatrix, groupsThatDoNotExistAreErrors) {
  Gptq4 stored;
  stored.groups.assign(16, 0);
  stored.groups[3] = 2;
  EXPECT_EQ(messageOf(stored.make()), "expected groups below 2 in g_idx, found 2 at [3]");
  stored.groups[3] = -1;
  EXPECT_EQ(messageOf(stored.make()), "expected groups below 2 in g_idx, found -1 at [3]");
}

TEST(QuantizedMatrix, scalesThatAreNotFiniteAreErrors) {
  Gptq4 stored;
  std::vector<uint16_t> scales(16, kHalf1);
  scales[11] = kHalfNan;
  stored.scales = Memory("scales", DType::F16, {2, 8}, scales);
  EXPECT_EQ(messageOf(stored.make()->examine()), "expected finite numbers in scales, found nan at [1, 3]");
  scales[2] = kHalfInfinity;
  stored.scales = Memory("scales", DType::F16, {2, 8}, scales);
  EXPECT_EQ(messageOf(stored.make()->examine()),
            "expected finite numbers in scales, found infinity at [0, 2]");
}

TEST(QuantizedMatrix, gptqInts8OfWholeRowsAndShortGroups) {
  // [4, 12]: row r holds 16 * r + k.
  std::vector<uint32_t> words;
  for (uint32_t k = 0; k < 12; k += 4)
    for (uint32_t r = 0; r < 4; ++r) {
      uint32_t first = 16 * r + k;
      words.push_back(first | (first + 1) << 8 | (first + 2) << 16 | (first + 3) << 24);
    }
  Memory weight("qweight", DType::I32, {3, 4}, words);
  Memory zeros("qzeros", DType::I32, {1, 1}, std::vector<uint32_t>{0x80100500});
  Memory scales("scales", DType::F32, {1, 4}, std::vector<float>{1, 2, 0.5, 0.25});
  auto matrix =
      QuantizedMatrix::make(gptq(8, 0, false), 4, 12, {weight.view, scales.view, zeros.view, {}}, 4, 0);
  ASSERT_TRUE(matrix) << messageOf(matrix);
  EXPECT_EQ(matrix->examine()->group, 0);
  EXPECT_EQ(matrix->groups(), 1);
  EXPECT_FLOAT_EQ(valuesOf(*matrix, 0, 1)[11], 11);
  EXPECT_FLOAT_EQ(valuesOf(*matrix, 1, 1)[0], (16 - 5) * 2);
  EXPECT_FLOAT_EQ(valuesOf(*matrix, 2, 2)[5], (32 + 5 - 16) * 0.5);
  EXPECT_FLOAT_EQ(valuesOf(*matrix, 2, 2)[12 + 1], (48 + 1 - 128) * 0.25);
  // Groups of 8: the second has four columns.
  Memory moreZeros("qzeros", DType::I32, {2, 1}, std::vector<uint32_t>{0x80808080, 0x80808080});
  Memory moreScales("scales", DType::F32, {2, 4}, std::vector<float>{1, 1, 1, 1, 2, 2, 2, 2});
  matrix = QuantizedMatrix::make(gptq(8, 8, false), 4, 12, {weight.view, moreScales.view, moreZeros.view, {}},
                                 4, 0);
  ASSERT_TRUE(matrix) << messageOf(matrix);
  EXPECT_EQ(*matrix->examine(), (StoredFormat{StoredFormat::Codes::U8, 8, 1, DType::F32, false, false}));
  EXPECT_FLOAT_EQ(valuesOf(*matrix, 3, 1)[7], 48 + 7 - 128);
  EXPECT_FLOAT_EQ(valuesOf(*matrix, 3, 1)[8], (48 + 8 - 128) * 2);
}

TEST(QuantizedMatrix, awqInterleavesOutputs) {
  // [8, 8]: all columns hold output n's number; nibble i of a word is output 0, 2, 4, 6, 1, 3, 5, 7.
  QuantizationConfig config;
  config.method = QuantMethod::Awq;
  config.bits = 4, config.group = 8;
  Memory weight("qweight", DType::I32, {8, 1}, std::vector<uint32_t>(8, 0x75316420));
  Memory zeros("qzeros", DType::I32, {1, 1}, std::vector<uint32_t>{0x00000f01});
  Memory scales("scales", DType::F16, {1, 8}, std::vector<uint16_t>(8, kHalf2));
  auto matrix = QuantizedMatrix::make(config, 8, 8, {weight.view, scales.view, zeros.view, {}}, 8, 0);
  ASSERT_TRUE(matrix) << messageOf(matrix);
  std::vector<float> expected;
  for (int n = 0; n < 8; ++n)
    expected.insert(expected.end(), 8, 2.0f * static_cast<float>(n - (n == 0 ? 1 : n == 4 ? 15 : 0)));
  EXPECT_THAT(valuesOf(*matrix, 0, 8), ElementsAreArray(expected));
  EXPECT_TRUE(matrix->examine()->zeroPoints);
}

/// A matrix of ones [rows, columns] with scales 1, 2, 3, ... of its blocks.
struct Fp8 {
  Memory weight, scales;
  Fp8(int64_t rows, int64_t columns, int64_t gridRows)
      : weight("weight", DType::F8_E4M3, {rows, columns}, std::vector<uint8_t>(rows * columns, 0x38)),
        scales("weight_scale_inv", DType::F32, {(gridRows + 127) / 128, (columns + 127) / 128}, numbers(8)) {
    scales.view.bytes = 4 * scales.view.shape[0] * scales.view.shape[1];
  }
  static std::vector<float> numbers(int count) {
    std::vector<float> result;
    for (int i = 1; i <= count; ++i)
      result.push_back(static_cast<float>(i));
    return result;
  }
};

QuantizationConfig fp8() {
  QuantizationConfig config;
  config.blockRows = 128;
  return config;
}

TEST(QuantizedMatrix, fp8BlocksEndWithTheMatrix) {
  Fp8 stored(130, 260, 130);
  auto matrix =
      QuantizedMatrix::make(fp8(), 130, 260, {stored.weight.view, stored.scales.view, {}, {}}, 130, 0);
  ASSERT_TRUE(matrix) << messageOf(matrix);
  std::vector<float> last = valuesOf(*matrix, 127, 2);
  EXPECT_FLOAT_EQ(last[127], 1);
  EXPECT_FLOAT_EQ(last[128], 2);
  EXPECT_FLOAT_EQ(last[259], 3);
  EXPECT_FLOAT_EQ(last[260 + 127], 4);
  EXPECT_FLOAT_EQ(last[260 + 259], 6);
  EXPECT_EQ(*matrix->examine(),
            (StoredFormat{StoredFormat::Codes::E4M3, 128, 128, DType::F32, false, false}));
}

TEST(QuantizedMatrix, fp8OfFusedExpertsMayShareABlock) {
  // Rows 80 to 159 of 160: the first 48 lie in the first block.
  Fp8 stored(80, 16, 160);
  auto matrix =
      QuantizedMatrix::make(fp8(), 80, 16, {stored.weight.view, stored.scales.view, {}, {}}, 160, 80);
  ASSERT_TRUE(matrix) << messageOf(matrix);
  EXPECT_FLOAT_EQ(valuesOf(*matrix, 47, 1)[0], 1);
  EXPECT_FLOAT_EQ(valuesOf(*matrix, 48, 1)[0], 2);
}

TEST(QuantizedMatrix, partsOfOtherShapesAndTypesAreErrors) {
  Gptq4 stored;
  stored.weight.view.shape = {8, 2};
  EXPECT_EQ(messageOf(stored.make()), "expected shape [2, 8] of qweight as config.json says, found [8, 2]");
  stored.weight.view.shape = {2, 8}, stored.weight.view.dtype = DType::F32;
  EXPECT_EQ(messageOf(stored.make()), "expected qweight of type I32, found F32");
  stored.weight.view.dtype = DType::I32, stored.scales.view.dtype = DType::I16;
  EXPECT_EQ(messageOf(stored.make()), "expected scales of type F16, BF16 or F32, found I16");
  stored.scales.view.dtype = DType::F16, stored.zeros.view.shape = {2};
  EXPECT_EQ(messageOf(stored.make()), "expected shape [2, 1] of qzeros as config.json says, found [2]");
  Fp8 block(130, 260, 130);
  block.scales.view.shape = {1, 3};
  EXPECT_EQ(messageOf(QuantizedMatrix::make(fp8(), 130, 260, {block.weight.view, block.scales.view, {}, {}},
                                            130, 0)),
            "expected shape [2, 3] of weight_scale_inv as config.json says, found [1, 3]");
  Gptq4 odd;
  EXPECT_EQ(messageOf(QuantizedMatrix::make(gptq(4, 8, true), 12, 16,
                                            {odd.weight.view, odd.scales.view, odd.zeros.view, {}}, 12, 0)),
            "expected sizes that are multiples of 8 for qweight, found [12, 16]");
}

} // namespace
} // namespace qwench::hf
