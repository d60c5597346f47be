#include "frontends/huggingface/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace qwench::hf {
namespace {

/// theta^(2i/d), i = 0 .. d/2 - 1. transformers keeps these tensors in fp32, so every step here is fp32.
std::vector<float> powersOfTheta(double theta, int64_t dim) {
  std::vector<float> powers(static_cast<size_t>(dim / 2));
  for (size_t i = 0; i < powers.size(); ++i)
    powers[i] = std::pow(static_cast<float>(theta), static_cast<float>(2 * i) / static_cast<float>(dim));
  return powers;
}

std::vector<float> defaultFrequencies(double theta, int64_t dim) {
  std::vector<float> frequencies = powersOfTheta(theta, dim);
  for (float &f : frequencies)
    f = 1.0f / f;
  return frequencies;
}

/// The dimension whose frequency makes `rotations` turns over the trained context.
double correctionDimension(double rotations, const RopeConfig &rope, int64_t dim) {
  double turns = static_cast<double>(rope.originalMaxPosition) / (rotations * 2 * std::numbers::pi);
  return static_cast<double>(dim) * std::log(turns) / (2 * std::log(rope.theta));
}

std::vector<float> yarnFrequencies(const RopeConfig &rope, int64_t dim) {
  double low = correctionDimension(rope.betaFast, rope, dim);
  double high = correctionDimension(rope.betaSlow, rope, dim);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dim - 1));
  if (low == high)
    high += 0.001; // as transformers does, to keep the ramp finite

  std::vector<float> frequencies = powersOfTheta(rope.theta, dim);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    float power = frequencies[i];
    float ramp = (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low);
    float extrapolated = 1.0f - std::clamp(ramp, 0.0f, 1.0f);
    float interpolation = 1.0f / (static_cast<float>(rope.factor) * power);
    frequencies[i] = interpolation * (1.0f - extrapolated) + (1.0f / power) * extrapolated;
  }
  return frequencies;
}

std::vector<float> longRopeFrequencies(const RopeConfig &rope, int64_t dim, int64_t length) {
  const std::vector<double> &factors = length > rope.originalMaxPosition ? rope.longFactor : rope.shortFactor;
  std::vector<float> frequencies = powersOfTheta(rope.theta, dim);
  for (size_t i = 0; i < frequencies.size(); ++i)
    frequencies[i] = 1.0f / (static_cast<float>(factors[i]) * frequencies[i]);
  return frequencies;
}

std::vector<float> llama3Frequencies(const RopeConfig &rope, int64_t dim) {
  auto context = static_cast<double>(rope.originalMaxPosition);
  auto longest = static_cast<float>(context / rope.lowFreqFactor);
  auto shortest = static_cast<float>(context / rope.highFreqFactor);
  auto factor = static_cast<float>(rope.factor);
  std::vector<float> frequencies = defaultFrequencies(rope.theta, dim);
  for (float &f : frequencies) {
    float wavelength = static_cast<float>(2 * std::numbers::pi) / f;
    if (wavelength > longest) {
      f /= factor;
    } else if (!(wavelength < shortest)) {
      float smooth = (static_cast<float>(context) / wavelength - static_cast<float>(rope.lowFreqFactor)) /
                     static_cast<float>(rope.highFreqFactor - rope.lowFreqFactor);
      f = (1.0f - smooth) * f / factor + smooth * f;
    }
  }
  return frequencies;
}

/// YaRN's attention temperature.
double yarnScale(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

} // namespace

std::string_view name(RopeType type) {
  switch (type) {
  case RopeType::Default:
    return "default";
  case RopeType::Linear:
    return "linear";
  case RopeType::Dynamic:
    return "dynamic";
  case RopeType::Yarn:
    return "yarn";
  case RopeType::LongRope:
    return "longrope";
  case RopeType::Llama3:
    return "llama3";
  }
  return "unknown";
}

bool dependsOnLength(const RopeConfig &rope) {
  return rope.type == RopeType::Dynamic || rope.type == RopeType::LongRope;
}

std::vector<float> inverseFrequencies(const RopeConfig &rope, int64_t headDim, int64_t length) {
  switch (rope.type) {
  case RopeType::Default:
    return defaultFrequencies(rope.theta, headDim);
  case RopeType::Linear: {
    std::vector<float> frequencies = defaultFrequencies(rope.theta, headDim);
    for (float &f : frequencies)
      f /= static_cast<float>(rope.factor);
    return frequencies;
  }
  case RopeType::Dynamic:
    return defaultFrequencies(dynamicTheta(rope, headDim, length), headDim);
  case RopeType::Yarn:
    return yarnFrequencies(rope, headDim);
  case RopeType::LongRope:
    return longRopeFrequencies(rope, headDim, length);
  case RopeType::Llama3:
    return llama3Frequencies(rope, headDim);
  }
  return {};
}

double dynamicTheta(const RopeConfig &rope, int64_t headDim, int64_t length) {
  double exponent = static_cast<double>(headDim) / static_cast<double>(headDim - 2);
  // At the start transformers computes with Python floats; once the sequence has grown, with fp32 tensors.
  if (length <= rope.originalMaxPosition)
    return rope.theta * std::pow(rope.factor - (rope.factor - 1), exponent);
  float ratio = static_cast<float>(rope.factor) * static_cast<float>(length) /
                static_cast<float>(rope.originalMaxPosition);
  float stretch = ratio - static_cast<float>(rope.factor - 1);
  return static_cast<float>(rope.theta) * std::pow(stretch, static_cast<float>(exponent));
}

double attentionScaling(const RopeConfig &rope) {
  if (rope.type == RopeType::Yarn) {
    if (rope.attentionFactor)
      return *rope.attentionFactor;
    if (rope.mscale && rope.mscaleAllDim)
      return yarnScale(rope.factor, *rope.mscale) / yarnScale(rope.factor, *rope.mscaleAllDim);
    return yarnScale(rope.factor, 1.0);
  }
  if (rope.type == RopeType::LongRope) {
    if (rope.attentionFactor)
      return *rope.attentionFactor;
    if (rope.factor <= 1)
      return 1.0;
    return std::sqrt(1 + std::log(rope.factor) / std::log(static_cast<double>(rope.originalMaxPosition)));
  }
  return 1.0;
}

} // namespace qwench::hf
