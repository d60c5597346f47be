// Small formats: every code decodes to what the formats' definitions say, and encoding is to the nearest code, ties to
// the even one, for every code, every midpoint and their neighbours.
#include "dialects/quantization/codes.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

using namespace qwench::quantization;

namespace {

/// The value of a code with one sign bit, `exponentBits` and `mantissaBits`, by the definition; no special codes.
double minifloat(uint32_t code, int exponentBits, int mantissaBits, int bias) {
  int mantissa = code & ((1 << mantissaBits) - 1), exponent = code >> mantissaBits & ((1 << exponentBits) - 1);
  double sign = code >> (mantissaBits + exponentBits) & 1 ? -1 : 1;
  return exponent ? sign * std::ldexp(1 + std::ldexp(mantissa, -mantissaBits), exponent - bias)
                  : sign * std::ldexp(mantissa, 1 - bias - mantissaBits);
}

/// Checks `encode` at every non-negative value of `decode(0 .. last)` (ascending), between them, and at the negatives.
void checkNearest(uint32_t last, const std::function<float(uint32_t)> &decode,
                  const std::function<uint32_t(float)> &encode, uint32_t sign) {
  for (uint32_t code = 0; code <= last; code++) {
    float value = decode(code);
    ASSERT_EQ(encode(value), code) << value;
    ASSERT_EQ(encode(-value), code | sign) << value;
    if (code == last)
      break;
    float next = decode(code + 1);
    auto middle = static_cast<float>((static_cast<double>(value) + next) / 2);
    ASSERT_GT(middle, value);
    ASSERT_EQ(encode(middle), code % 2 ? code + 1 : code) << middle;
    ASSERT_EQ(encode(std::nextafter(middle, next)), code + 1) << middle;
    ASSERT_EQ(encode(std::nextafter(middle, value)), code) << middle;
    ASSERT_EQ(encode(-middle), (code % 2 ? code + 1 : code) | sign) << middle;
  }
}

} // namespace

TEST(Codes, F16DecodesAndEncodesAsTheCompilersHalf) {
  for (uint32_t code = 0; code < 0x10000; code++) {
    auto half = std::bit_cast<_Float16>(static_cast<uint16_t>(code));
    float value = fromF16(static_cast<uint16_t>(code));
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(static_cast<float>(half))) << code;
      ASSERT_TRUE(std::isnan(fromF16(toF16(value)))) << code;
      continue;
    }
    ASSERT_EQ(value, static_cast<float>(half)) << code;
    ASSERT_EQ(toF16(value), code);
  }
  for (uint32_t top = 0; top < 1u << 20; top++)
    for (uint32_t low : {0u, 1u, 0x7ffu, 0xfffu}) {
      auto value = std::bit_cast<float>(top << 12 | low);
      if (!std::isnan(value))
        ASSERT_EQ(toF16(value), std::bit_cast<uint16_t>(static_cast<_Float16>(value))) << value;
    }
}

TEST(Codes, F16RoundsToTheNearestWithTiesToEven) {
  checkNearest(0x7bff, [](uint32_t code) { return fromF16(static_cast<uint16_t>(code)); }, toF16, 0x8000);
  EXPECT_EQ(toF16(65519.0f), 0x7bff);
  EXPECT_EQ(toF16(65520.0f), 0x7c00);
  EXPECT_EQ(toF16(-INFINITY), 0xfc00);
}

TEST(Codes, Bf16IsTheUpperHalfRoundedToTheNearestWithTiesToEven) {
  for (uint32_t code = 0; code < 0x10000; code++)
    ASSERT_EQ(std::bit_cast<uint32_t>(fromBF16(static_cast<uint16_t>(code))), code << 16);
  checkNearest(0x7f7f, [](uint32_t code) { return fromBF16(static_cast<uint16_t>(code)); }, toBF16, 0x8000);
  EXPECT_EQ(toBF16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_TRUE(std::isnan(fromBF16(toBF16(NAN))));
  EXPECT_TRUE(std::isnan(fromBF16(toBF16(std::bit_cast<float>(0x7f800001u)))));
}

TEST(Codes, E4M3HasFourExponentAndThreeMantissaBitsAndNoInfinity) {
  for (uint32_t code = 0; code < 0x100; code++)
    if ((code & 0x7f) == 0x7f)
      ASSERT_TRUE(std::isnan(fromE4M3(static_cast<uint8_t>(code))));
    else
      ASSERT_EQ(fromE4M3(static_cast<uint8_t>(code)), minifloat(code, 4, 3, 7)) << code;
  EXPECT_EQ(fromE4M3(0x7e), kMaxE4M3);
  checkNearest(0x7e, [](uint32_t code) { return fromE4M3(static_cast<uint8_t>(code)); }, toE4M3, 0x80);
  for (float large : {449.0f, 464.0f, 1e30f, INFINITY})
    EXPECT_EQ(toE4M3(large), 0x7e) << large;
  EXPECT_EQ(toE4M3(NAN) & 0x7f, 0x7f);
  EXPECT_EQ(toE4M3(1e-30f), 0);
}

TEST(Codes, E2M1HasTheEightMagnitudesOfItsDefinition) {
  const float magnitudes[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  for (uint32_t code = 0; code < 16; code++) {
    ASSERT_EQ(fromE2M1(static_cast<uint8_t>(code)), (code & 8 ? -1 : 1) * magnitudes[code & 7]);
    ASSERT_EQ(fromE2M1(static_cast<uint8_t>(code)), minifloat(code, 2, 1, 1));
    ASSERT_EQ(fromE2M1(static_cast<uint8_t>(code | 0xf0)), fromE2M1(static_cast<uint8_t>(code)));
  }
  checkNearest(7, [](uint32_t code) { return fromE2M1(static_cast<uint8_t>(code)); }, toE2M1, 8);
  for (float large : {6.5f, 7.0f, 1e30f, INFINITY})
    EXPECT_EQ(toE2M1(large), 7) << large;
}

TEST(Codes, E8M0IsAPowerOfTwo) {
  for (uint32_t code = 0; code < 0xff; code++)
    ASSERT_EQ(fromE8M0(static_cast<uint8_t>(code)), std::ldexp(1.0, static_cast<int>(code) - 127));
  EXPECT_TRUE(std::isnan(fromE8M0(0xff)));
  checkNearest(0xfe, [](uint32_t code) { return fromE8M0(static_cast<uint8_t>(code)); },
               [](float value) { return toE8M0(value); }, 0);
  EXPECT_EQ(toE8M0(0), 0);
  EXPECT_EQ(toE8M0(std::numeric_limits<float>::max()), 0xfe);
  EXPECT_EQ(toE8M0(INFINITY), 0xff);
  EXPECT_EQ(toE8M0(NAN), 0xff);
}
