// Where an evaluation's weights come from.
#pragma once

#include "dialects/Qwen.h"
#include "dialects/evaluator/Values.h"
#include "runtime/abi/result.h"

#include <functional>
#include <string>

namespace qwench::evaluator {

/// Gives the values of weights that have a source.
class WeightProvider {
public:
  virtual ~WeightProvider() = default;

  /// Instance `instance` of `weight`, row-major, as many elements as its type has.
  virtual Result<std::vector<float>> load(qwen::WeightOp weight, int64_t instance) = 0;
};

/// Pseudo-random values that depend on the seed and the checkpoint tensor's name only: matrices uniform with
/// variance 1 / K, norms around 1, biases around 0, each rounded to the weight's element type.
class RandomWeights : public WeightProvider {
public:
  explicit RandomWeights(uint64_t seed) : seed(seed) {}
  Result<std::vector<float>> load(qwen::WeightOp weight, int64_t instance) override;

private:
  uint64_t seed;
};

/// Values from elsewhere, a checkpoint say: `find` gives the tensor of a name, in row-major order, and is
/// asked once for each expert of a stack. Values are rounded to the weight's element type.
class NamedWeights : public WeightProvider {
public:
  using Find = std::function<Result<std::vector<float>>(const std::string &name)>;
  explicit NamedWeights(Find find) : find(std::move(find)) {}
  Result<std::vector<float>> load(qwen::WeightOp weight, int64_t instance) override;

private:
  Find find;
};

/// Instance `instance` of any weight: from `provider` if it has a source, else of its parts, concatenated
/// along N.
Result<Tensor> loadWeight(qwen::WeightOp weight, int64_t instance, WeightProvider &provider);

} // namespace qwench::evaluator
