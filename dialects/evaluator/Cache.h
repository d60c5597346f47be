// The KV cache of an evaluation.
#pragma once

#include "dialects/Qwen.h"
#include "runtime/abi/result.h"

#include <map>
#include <vector>

namespace qwench::evaluator {

/// `value` as a float of type `type` holds it, rounded to nearest even.
float roundTo(mlir::Type type, float value);

/// Replaces a key or value [dim] of one head by what a cache of this type holds of it (QwenDialect.td says how).
void roundVector(qwen::CacheType type, float *vector);

/// Keys and values of every (layer, slot), position after position.
class Cache {
public:
  explicit Cache(qwen::CacheType type) : cacheType(type) {}

  /// Stores key and value [heads * dim] in the cache's element type. Fails if an earlier position is missing
  /// or the layer does not exist. A position may be written again.
  Status write(int64_t layer, int64_t slot, int64_t position, const float *key, const float *value);

  /// Positions known of a slot in a layer.
  int64_t length(int64_t layer, int64_t slot) const;

  /// Key or value [dim] of a head at a position below length().
  const float *key(int64_t layer, int64_t slot, int64_t position, int64_t head) const;
  const float *value(int64_t layer, int64_t slot, int64_t position, int64_t head) const;

  qwen::CacheType type() const { return cacheType; }

private:
  struct Sequence {
    std::vector<float> keys, values; ///< [position, heads, dim]
  };
  int64_t width() const { return cacheType.getHeads() * cacheType.getDim(); }

  qwen::CacheType cacheType;
  std::map<std::pair<int64_t, int64_t>, Sequence> sequences; ///< by layer and slot
};

} // namespace qwench::evaluator
