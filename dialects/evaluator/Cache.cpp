#include "dialects/evaluator/Cache.h"

using namespace mlir;

namespace qwench::evaluator {

float roundTo(Type type, float value) {
  llvm::APFloat rounded(value);
  bool losesInfo;
  rounded.convert(cast<FloatType>(type).getFloatSemantics(), llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  rounded.convert(llvm::APFloat::IEEEsingle(), llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  return rounded.convertToFloat();
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
  for (int64_t i = 0; i < width(); ++i) {
    sequence.keys[position * width() + i] = roundTo(cacheType.getElementType(), key[i]);
    sequence.values[position * width() + i] = roundTo(cacheType.getElementType(), value[i]);
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
