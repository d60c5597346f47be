#include "dialects/evaluator/Cache.h"

#include "dialects/quantization/codes.h"

#include <algorithm>
#include <cmath>

using namespace mlir;

namespace qwench::evaluator {

float roundTo(Type type, float value) {
  llvm::APFloat rounded(value);
  bool losesInfo;
  rounded.convert(cast<FloatType>(type).getFloatSemantics(), llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  rounded.convert(llvm::APFloat::IEEEsingle(), llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  return rounded.convertToFloat();
}

namespace {

/// As the scale's type holds it.
float roundScale(Type type, float scale) { return type.isF32() ? scale : roundTo(type, scale); }

void roundGroup(qwen::QuantType type, float *x, int64_t n) {
  float low = std::min(0.0f, *std::min_element(x, x + n)), high = std::max(0.0f, *std::max_element(x, x + n));
  float largest = std::max(-low, high);
  bool zeroPoints = type.getZeroPoints(), integer = type.getStorage().isSignlessInteger();
  float range = zeroPoints ? (high - low) / 15 : integer ? largest / 127 : largest / quantization::kMaxE4M3;
  float scale = roundScale(type.getScale(), range), inverse = scale > 0 ? 1 / scale : 0;
  float zero = zeroPoints ? std::clamp(std::nearbyint(-low * inverse), 0.0f, 15.0f) : 0;
  for (int64_t i = 0; i < n; ++i) {
    float scaled = x[i] * inverse, code;
    if (zeroPoints)
      code = std::clamp(std::nearbyint(scaled) + zero, 0.0f, 15.0f);
    else
      code = integer ? std::clamp(std::nearbyint(scaled), -127.0f, 127.0f) : quantization::fromE4M3(quantization::toE4M3(scaled));
    x[i] = (code - zero) * scale;
  }
}

} // namespace

void roundVector(qwen::CacheType type, float *vector) {
  if (qwen::QuantType quant = type.getQuant()) {
    int64_t columns = quant.groupColumns(type.getDim());
    for (int64_t first = 0; first < type.getDim(); first += columns)
      roundGroup(quant, vector + first, columns);
    return;
  }
  for (int64_t i = 0; i < type.getDim(); ++i)
    vector[i] = roundTo(type.getElementType(), vector[i]);
}

Status Cache::write(int64_t layer, int64_t slot, int64_t position, const float *key, const float *value) {
  if (layer < 0 || layer >= cacheType.getLayers())
    return userError("expected a layer below " + std::to_string(cacheType.getLayers()) + ", found " +
                     std::to_string(layer));
  int64_t known = length(layer, slot);
  if (position < 0 || position > known)
    return userError("expected position " + std::to_string(known) + " next in slot " + std::to_string(slot) +
                     ", found " + std::to_string(position));
  Sequence &sequence = sequences[{layer, slot}];
  if (position == known) {
    sequence.keys.resize((known + 1) * width());
    sequence.values.resize((known + 1) * width());
  }
  for (auto [to, from] : {std::pair(&sequence.keys, key), std::pair(&sequence.values, value)}) {
    float *row = to->data() + position * width();
    std::copy(from, from + width(), row);
    for (int64_t first = 0; first < width(); first += cacheType.getDim())
      roundVector(cacheType, row + first);
  }
  return ok();
}

int64_t Cache::length(int64_t layer, int64_t slot) const {
  auto sequence = sequences.find({layer, slot});
  return sequence == sequences.end() ? 0 : static_cast<int64_t>(sequence->second.keys.size()) / width();
}

const float *Cache::key(int64_t layer, int64_t slot, int64_t position, int64_t head) const {
  return sequences.at({layer, slot}).keys.data() + position * width() + head * cacheType.getDim();
}

const float *Cache::value(int64_t layer, int64_t slot, int64_t position, int64_t head) const {
  return sequences.at({layer, slot}).values.data() + position * width() + head * cacheType.getDim();
}

} // namespace qwench::evaluator
