#include "dialects/evaluator/Weights.h"

#include "dialects/evaluator/Cache.h"
#include "dialects/quantization/type.h"
#include "dialects/tensor_names.h"
#include "runtime/abi/xxh64.h"

#include <cmath>

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::evaluator {
namespace {

RankedTensorType typeOf(WeightOp weight) { return cast<RankedTensorType>(weight.getType()); }

/// SplitMix64: uniform in [-1, 1), a function of (stream, index) alone. Source: Steele, Lea, Flood 2014.
double uniform(uint64_t stream, uint64_t index) {
  uint64_t z = stream + (index + 1) * 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-52 - 1.0;
}

/// Elements before a part's next block: of [E, N, K] the blocks are the N * K elements of an expert.
int64_t blockElements(RankedTensorType type) {
  return type.getRank() == 3 ? type.getDimSize(1) * type.getDimSize(2) : type.getNumElements();
}

/// Rounds values to what the weight's element type holds: a quantized weight's values are those of its codes.
Status roundToElement(WeightOp weight, int64_t instance, std::vector<float> &values) {
  RankedTensorType type = typeOf(weight);
  auto quant = dyn_cast<QuantType>(type.getElementType());
  if (!quant) {
    for (float &value : values)
      value = roundTo(type.getElementType(), value);
    return ok();
  }
  int64_t matrix = blockElements(type), experts = type.getNumElements() / matrix;
  for (int64_t expert = 0; expert < experts; ++expert) {
    auto part = std::span<float>(values).subspan(expert * matrix, matrix);
    Status status = quantization::roundMatrix(quantization::formatOf(quant), part, type.getShape().back());
    if (!status)
      return userError("tensor '" + tensorName(weight, instance, type.getRank() == 3 ? expert : -1) +
                       "': " + status.error().message);
  }
  return ok();
}

} // namespace

Result<std::vector<float>> RandomWeights::load(WeightOp weight, int64_t instance) {
  RankedTensorType type = typeOf(weight);
  std::string name = tensorName(weight, instance, -1);
  uint64_t stream = qwench_xxh64(name.data(), name.size(), seed);
  bool norm = type.getRank() == 1 && StringRef(name).contains("norm");
  double center = norm ? 1.0 : 0.0;
  double scale = type.getRank() == 1 ? 0.25 : std::sqrt(3.0 / static_cast<double>(type.getShape().back()));
  std::vector<float> values(type.getNumElements());
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(center + scale * uniform(stream, i));
  if (Status status = roundToElement(weight, instance, values); !status)
    return status.takeError();
  return values;
}

Result<std::vector<float>> NamedWeights::load(WeightOp weight, int64_t instance) {
  RankedTensorType type = typeOf(weight);
  int64_t experts = type.getRank() == 3 ? type.getDimSize(0) : 1;
  std::vector<float> values;
  for (int64_t expert = 0; expert < experts; ++expert) {
    std::string name = tensorName(weight, instance, expert);
    Result<std::vector<float>> part = find(name);
    if (!part)
      return part.takeError();
    if (static_cast<int64_t>(part->size()) != type.getNumElements() / experts)
      return userError("expected " + std::to_string(type.getNumElements() / experts) + " elements of " +
                       name + ", found " + std::to_string(part->size()));
    values.insert(values.end(), part->begin(), part->end());
  }
  if (Status status = roundToElement(weight, instance, values); !status)
    return status.takeError();
  return values;
}

Result<Tensor> loadWeight(WeightOp weight, int64_t instance, WeightProvider &provider) {
  RankedTensorType type = typeOf(weight);
  if (instance < 0 || instance >= static_cast<int64_t>(weight.getInstances()))
    return userError("expected an instance below " + std::to_string(weight.getInstances()) + " of @" +
                     weight.getSymName().str() + ", found " + std::to_string(instance));
  if (weight.getSource()) {
    Result<std::vector<float>> values = provider.load(weight, instance);
    if (!values)
      return values.takeError();
    return Tensor(type.getShape().vec(), values.take());
  }
  Tensor whole({0});
  whole.shape = type.getShape().vec();
  whole.data.resize(type.getNumElements());
  int64_t offset = 0, block = blockElements(type);
  for (auto name : weight.getPartsAttr().getAsRange<FlatSymbolRefAttr>()) {
    auto part = SymbolTable::lookupNearestSymbolFrom<WeightOp>(weight, name);
    if (!part)
      return userError("expected part @" + name.getValue().str() + " to name a weight");
    Result<Tensor> values = loadWeight(part, instance, provider);
    if (!values)
      return values.takeError();
    int64_t partBlock = blockElements(typeOf(part));
    if (offset + partBlock > block || values->count() / partBlock != whole.count() / block)
      return userError("expected the parts of @" + weight.getSymName().str() + " to fill it along N");
    for (int64_t i = 0; i < values->count() / partBlock; ++i)
      std::copy_n(values->data.data() + i * partBlock, partBlock, whole.data.data() + i * block + offset);
    offset += partBlock;
  }
  if (offset != block)
    return userError("expected the parts of @" + weight.getSymName().str() + " to fill it along N");
  return whole;
}

} // namespace qwench::evaluator
