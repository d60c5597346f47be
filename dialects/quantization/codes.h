// Small floating-point formats as bits: conversions from and to f32. Rounding is to nearest, ties to the even code, and
// every decoding is exact. All of them are free of branches, so that loops over them become vector code.
//
// f16 and bf16: IEEE 754 and its upper half. e4m3 (f8E4M3FN), e2m1 (f4E2M1FN) and e8m0 (f8E8M0FNU): OCP Microscaling
// Formats 1.0 and OCP 8-bit Floating Point 1.0; neither e4m3 nor e2m1 has infinities, e2m1 and e8m0 no sign of zero
// and no zero respectively.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

namespace qwench::quantization {

constexpr float kMaxF16 = 65504.0f, kMaxE4M3 = 448.0f, kMaxE2M1 = 6.0f;

/// bf16 nearest to a float; a NaN stays a NaN.
inline uint16_t toBF16(float value) {
  auto bits = std::bit_cast<uint32_t>(value);
  uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
  return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

inline float fromBF16(uint16_t code) { return std::bit_cast<float>(static_cast<uint32_t>(code) << 16); }

/// IEEE half nearest to a float: infinite from 65520 on; a NaN stays a NaN.
inline uint16_t toF16(float value) {
  auto bits = std::bit_cast<uint32_t>(value);
  uint32_t magnitude = bits & 0x7fffffff;
  // 0.5 has the last place 2^-24, the step of the halves' subnormals: the addition rounds.
  uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000;
  uint32_t normal = (magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13;
  uint32_t special = magnitude > 0x7f800000 ? 0x7e00 : 0x7c00;
  uint32_t result = magnitude < 0x38800000 ? subnormal : magnitude < 0x47800000 ? normal : special;
  return static_cast<uint16_t>(result | (bits >> 16 & 0x8000));
}

inline float fromF16(uint16_t code) {
  uint32_t sign = static_cast<uint32_t>(code & 0x8000) << 16, magnitude = code & 0x7fff;
  // The half's exponent and mantissa stand in a float's as a number 2^112 times too small.
  float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  uint32_t result = magnitude >= 0x7c00 ? (magnitude << 13) | 0x7f800000 : std::bit_cast<uint32_t>(scaled);
  return std::bit_cast<float>(result | sign);
}

/// e4m3 nearest to a float; what is larger than 448, infinity too, becomes 448; a NaN stays one (0x7f).
inline uint8_t toE4M3(float value) {
  auto bits = std::bit_cast<uint32_t>(value);
  uint32_t magnitude = bits & 0x7fffffff;
  // 2^14 has the last place 2^-9, the step of the subnormals.
  uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 16384.0f) - 0x46800000;
  uint32_t normal = std::min((magnitude - (120u << 23) + 0x7ffff + (magnitude >> 20 & 1)) >> 20, 0x7eu);
  uint32_t result = magnitude < 0x3c800000 ? subnormal : magnitude > 0x7f800000 ? 0x7f : normal;
  return static_cast<uint8_t>(result | (bits >> 24 & 0x80));
}

inline float fromE4M3(uint8_t code) {
  uint32_t sign = static_cast<uint32_t>(code & 0x80) << 24, magnitude = code & 0x7f;
  float scaled = std::bit_cast<float>(magnitude << 20) * 0x1p120f;
  uint32_t result = magnitude == 0x7f ? 0x7fc00000 : std::bit_cast<uint32_t>(scaled);
  return std::bit_cast<float>(result | sign);
}

/// e2m1 nearest to a float, the sign in bit 3; what is larger than 6 becomes 6. Not for NaN, which the format lacks.
inline uint8_t toE2M1(float value) {
  auto bits = std::bit_cast<uint32_t>(value);
  uint32_t magnitude = std::min(bits & 0x7fffffff, 0x40c00000u);
  // 2^22 has the last place 0.5, the step of the subnormals.
  uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0x1p22f) - 0x4a800000;
  uint32_t normal = (magnitude - (126u << 23) + 0x1fffff + (magnitude >> 22 & 1)) >> 22;
  uint32_t result = magnitude < 0x3f800000 ? subnormal : normal;
  return static_cast<uint8_t>(result | (bits >> 28 & 8));
}

/// Bits above the lowest four are ignored.
inline float fromE2M1(uint8_t code) {
  float scaled = std::bit_cast<float>(static_cast<uint32_t>(code & 7) << 22) * 0x1p126f;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(scaled) | static_cast<uint32_t>(code & 8) << 28);
}

/// e8m0 nearest to the magnitude of a float: 2^-127 to 2^127; infinity and NaN become NaN (0xff).
inline uint8_t toE8M0(float value) {
  uint32_t magnitude = std::bit_cast<uint32_t>(value) & 0x7fffffff;
  uint32_t subnormal = magnitude > 0x600000 ? 1 : 0;
  uint32_t normal = std::min((magnitude + 0x3fffff + (magnitude >> 23 & 1)) >> 23, 0xfeu);
  uint32_t result = magnitude < 0x800000 ? subnormal : magnitude >= 0x7f800000 ? 0xff : normal;
  return static_cast<uint8_t>(result);
}

inline float fromE8M0(uint8_t code) {
  uint32_t bits = code == 0 ? 0x400000 : code == 0xff ? 0x7fc00000 : static_cast<uint32_t>(code) << 23;
  return std::bit_cast<float>(bits);
}

} // namespace qwench::quantization
