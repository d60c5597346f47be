// The search for a group's scale, over vectors of 16 lanes. The functions are inlined into callers that are compiled for
// several instruction sets; nothing is contracted to fused multiply-adds and sums have 16 fixed lanes, so all of them
// give the same bytes.
#pragma once

#include "dialects/quantization/codes.h"
#include "dialects/quantization/quantize.h"

#include <cmath>
#include <cstring>

#pragma clang fp contract(off)

#define QWENCH_INLINE inline __attribute__((always_inline))

namespace qwench::quantization::search {

constexpr int64_t kLanes = 16;
typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef uint32_t Bits __attribute__((vector_size(4 * kLanes)));

QWENCH_INLINE void load(Floats &to, const float *from) { std::memcpy(&to, from, sizeof to); }
QWENCH_INLINE void load(Bits &to, const float *from) { std::memcpy(&to, from, sizeof to); }

/// The sum of the lanes, as a tree.
QWENCH_INLINE float total(const Floats &lanes) {
  Floats a = lanes + __builtin_shufflevector(lanes, lanes, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  Floats b = a + __builtin_shufflevector(a, a, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
  Floats c = b + __builtin_shufflevector(b, b, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  return c[0] + c[1];
}

QWENCH_INLINE float clamp(float value, float low, float high) {
  value = value < low ? low : value;
  return value > high ? high : value;
}

/// Nearest integer, ties to even, of a magnitude below 2^22. The last place of 1.5 * 2^23 is 1: the addition rounds.
constexpr float kRounding = 12582912.0f;
QWENCH_INLINE float roundToInteger(float value) { return (value + kRounding) - kRounding; }

/// Bits of the largest magnitude: larger than those of any finite float if a value is infinite or not a number.
QWENCH_INLINE uint32_t largestBits(const float *x, int64_t n) {
  Bits most = {};
  for (int64_t i = 0; i < n; i += kLanes) {
    Bits bits;
    load(bits, x + i);
    bits &= 0x7fffffff;
    most = most > bits ? most : bits;
  }
  uint32_t result = 0;
  for (int64_t lane = 0; lane < kLanes; lane++)
    result = result > most[lane] ? result : most[lane];
  return result;
}

/// What integer codes q of x * inverse + zero in [low, high] can reach: the scale that fits q - zero best, and the part
/// of the sum of squares that it explains (all of it but the squared error).
struct Fit {
  float scale = 0, explained = -1;
};

QWENCH_INLINE Fit fit(const float *x, int64_t n, float inverse, float zero, float low, float high) {
  Floats products = {}, squares = {}, least = {}, most = {};
  least += low - zero, most += high - zero;
  for (int64_t i = 0; i < n; i += kLanes) {
    Floats v;
    load(v, x + i);
    Floats q = (v * inverse + kRounding) - kRounding;
    q = q < least ? least : q;
    q = q > most ? most : q;
    products += v * q;
    squares += q * q;
  }
  float xq = total(products), qq = total(squares);
  return qq > 0 ? Fit{xq / qq, xq * (xq / qq)} : Fit();
}

QWENCH_INLINE void keepBetter(Fit &best, const Fit &found) { best = found.explained > best.explained ? found : best; }

/// codes = round(x / scale) + zero in [low, high], plus bias.
QWENCH_INLINE void integerCodes(const float *x, int64_t n, float scale, float zero, float low, float high, float bias,
                                uint8_t *codes) {
  float inverse = scale == 0 ? 0 : 1 / scale;
  for (int64_t i = 0; i < n; i++)
    codes[i] = static_cast<uint8_t>(
        static_cast<int32_t>(clamp(roundToInteger(x[i] * inverse), low - zero, high - zero) + (zero + bias)));
}

/// The scale of symmetric int4: the largest magnitude at code -8 and around it (it may clip, or leave codes unused),
/// refined from the best once. Measured on Gaussian weights in groups of 64: squared error 0.81 % of the weights'
/// squares, against 0.90 % with the largest magnitude at -8, 1.16 % with it at 7, and 0.81 % with 90 candidates.
QWENCH_INLINE float int4Scale(const float *x, int64_t n, float largest) {
  bool negative = false;
  for (int64_t i = 0; i < n; i++)
    negative |= x[i] == -largest;
  float unit = (negative ? -1 : 1) / largest;
  Fit best;
  for (int step = 0; step < 11; step++)
    keepBetter(best, fit(x, n, (-9.2f + 0.3f * static_cast<float>(step)) * unit, 0, -8, 7));
  keepBetter(best, fit(x, n, 1 / best.scale, 0, -8, 7));
  return best.scale;
}

struct ScaleAndZero {
  float scale = 0, zero = 0;
};

/// Scale and zero point of codes 0 to `codes`: the range of the values and smaller ones, with the zero points around
/// where 0 lies in it, refined from the best once.
QWENCH_INLINE ScaleAndZero asymmetricScale(const float *x, int64_t n, float codes) {
  float least = 0, most = 0;
  for (int64_t i = 0; i < n; i++) {
    least = x[i] < least ? x[i] : least;
    most = x[i] > most ? x[i] : most;
  }
  float range = most - least, zero = 0;
  Fit best;
  for (int step = 0; step < 7; step++) {
    float inverse = codes / (range * (1.04f - 0.06f * static_cast<float>(step)));
    float middle = codes / 2 - (most + least) / 2 * inverse;
    for (float shift = -1; shift <= 1; shift++) {
      float candidate = clamp(roundToInteger(middle) + shift, 0, codes);
      Fit found = fit(x, n, inverse, candidate, 0, codes);
      zero = found.explained > best.explained ? candidate : zero;
      keepBetter(best, found);
    }
  }
  keepBetter(best, fit(x, n, 1 / best.scale, zero, 0, codes));
  return {best.scale, zero};
}

QWENCH_INLINE void e2m1Codes(const float *x, int64_t n, float scale, uint8_t *codes) {
  float inverse = scale == 0 ? 0 : 1 / scale;
  for (int64_t i = 0; i < n; i++)
    codes[i] = toE2M1(x[i] * inverse);
}

/// Squared error of e2m1 codes under a scale > 0. The format's steps are 0.5 below 2, 1 below 4, and 2.
QWENCH_INLINE float e2m1Error(const float *x, int64_t n, float scale) {
  float inverse = 1 / scale;
  Floats errors = {}, half = {}, one = {}, two = {}, most = {};
  half += kRounding / 2, one += kRounding, two += kRounding * 2, most += kMaxE2M1;
  for (int64_t i = 0; i < n; i += kLanes) {
    Bits bits;
    load(bits, x + i);
    Floats magnitude = (Floats)(bits & 0x7fffffff) * inverse;
    Floats rounding = magnitude < 2.0f ? half : magnitude < 4.0f ? one : two;
    Floats rounded = (magnitude + rounding) - rounding;
    Floats error = magnitude - (rounded > most ? most : rounded);
    errors += error * error;
  }
  return total(errors) * (scale * scale);
}

/// The power of two, as e8m0, with the least error: the largest magnitude between 2 and 16 in units of it.
QWENCH_INLINE float mxfp4Scale(const float *x, int64_t n, float largest) {
  int exponent = static_cast<int>(std::bit_cast<uint32_t>(largest) >> 23) - 2;
  float best = 0, least = INFINITY;
  for (int code = exponent - 1; code <= exponent + 1; code++) {
    float scale = fromE8M0(static_cast<uint8_t>(code)), error = e2m1Error(x, n, scale);
    best = error < least ? scale : best;
    least = error < least ? error : least;
  }
  return best;
}

/// The e4m3 number with the least error once it is multiplied with the row's scale: from two codes below the one that
/// maps the largest magnitude to 6, to seven above (where it maps to some 3.5 and has finer steps).
QWENCH_INLINE float nvfp4Scale(const float *x, int64_t n, float largest, float rowScale) {
  int nearest = toE4M3(largest / kMaxE2M1 / rowScale);
  float best = 0, least = INFINITY;
  for (int code = nearest - 2; code <= nearest + 7; code++) {
    float scale = fromE4M3(static_cast<uint8_t>(code < 1 ? 1 : code > 0x7e ? 0x7e : code));
    float error = e2m1Error(x, n, scale * rowScale);
    best = error < least ? scale : best;
    least = error < least ? error : least;
  }
  return best;
}

QWENCH_INLINE void e4m3Codes(const float *x, int64_t n, float scale, uint8_t *codes) {
  float inverse = scale == 0 ? 0 : 1 / scale;
  for (int64_t i = 0; i < n; i++)
    codes[i] = toE4M3(x[i] * inverse);
}

} // namespace qwench::quantization::search
