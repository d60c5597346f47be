// What a token's logit weighs when one is drawn: integers, so that sums do not depend on their order and
// every target draws the same token from the same logits and the same random number.
#pragma once

#include <algorithm>
#include <cfloat>
#include <cstdint>

namespace qwench {

/// Weight of the likeliest token; sums of 2^22 tokens fit into 63 bits.
constexpr int64_t kTopWeight = int64_t(1) << 40;

/// 2^x for |x| <= 1/2 as c[0] + c[1] x + c[2] x^2 + ...: Taylor's series, ln(2)^k / k!, which leaves 2e-7.
constexpr float kPowerSeries[] = {1.0f,           0.693147182f,   0.240226507f,   0.0555041097f,
                                  0.00961812865f, 0.00133335579f, 0.000154035297f};
/// Differences of logits, in powers of two, from which on a weight is 0.
constexpr float kLeastPower = -62;
/// Added and subtracted: what is left of a float below 2^22 in magnitude is the nearest whole number, ties to
/// even.
constexpr float kWholeNumbers = 0x1.8p23f;

/// 1 / temperature, as logits are multiplied by it in powers of two. Neither 0 nor a denormal number nor
/// infinity.
inline float tokenScale(float temperature) {
  const double scale = 1.4426950408889634 / static_cast<double>(temperature);
  return static_cast<float>(std::clamp(scale, static_cast<double>(FLT_MIN), static_cast<double>(FLT_MAX)));
}

/// exp((logit - top) / temperature) in units of 1 / kTopWeight, for logit <= top, both finite, and `scale` of
/// the temperature. In f32, each operation rounded by itself.
inline int64_t tokenWeight(float logit, float top, float scale) {
#pragma clang fp contract(off)
  const float power = std::max((logit - top) * scale, kLeastPower);
  const float whole = (power + kWholeNumbers) - kWholeNumbers, x = power - whole;
  float sum = kPowerSeries[6];
  for (int k = 5; k >= 0; --k)
    sum = sum * x + kPowerSeries[k];
  // From 2^-1/2 to 2^1/2: a multiple of 2^-24.
  return static_cast<int64_t>(static_cast<int32_t>(sum * 0x1p24f)) << 16 >> static_cast<int>(-whole);
}

/// The least weight of `share` (0 to 1) of `total`.
inline int64_t shareOf(double share, int64_t total) {
  const double wanted = share * static_cast<double>(total);
  const auto below = static_cast<int64_t>(wanted);
  return below + (static_cast<double>(below) < wanted);
}

/// The weight at which `uniform` in [0, 1) falls: 0 to total - 1.
inline int64_t placeOf(double uniform, int64_t total) {
  return std::min(static_cast<int64_t>(uniform * static_cast<double>(total)), total - 1);
}

} // namespace qwench
