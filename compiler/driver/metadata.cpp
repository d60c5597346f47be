#include "compiler/driver/metadata.h"

#include "compiler/driver/version.h"
#include "dialects/Qwen.h"
#include "runtime/abi/tokenizer_format.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstring>

using namespace mlir;

namespace qwench {

using Json = nlohmann::ordered_json;

namespace {

Json generationOf(const hf::GenerationConfig &generation) {
  Json result;
  result["do_sample"] = generation.doSample;
  result["temperature"] = generation.temperature;
  result["top_k"] = generation.topK;
  result["top_p"] = generation.topP;
  result["min_p"] = generation.minP;
  result["eos_token_ids"] = generation.eosIds;
  return result;
}

/// A tensor of --random-weights for each instance of a placed weight. Matrices keep the size of what goes
/// through them; norms are ones; biases are small.
void addRandomTensors(qwen::WeightOp weight, Json &tensors) {
  auto type = cast<RankedTensorType>(weight.getType());
  StringRef symbol = weight.getSymName();
  bool vector = type.getRank() == 1, norm = vector && symbol.contains("norm");
  int64_t size = type.getElementType().isBF16() ? 2 : 4;
  for (int64_t i = 0; i < static_cast<int64_t>(weight.getInstances()); i++) {
    Json tensor;
    tensor["name"] = symbol.str() + "[" + std::to_string(i) + "]";
    tensor["dtype"] = size == 2 ? "bf16" : "f32";
    tensor["init"] = norm ? "ones" : "normal";
    tensor["offset"] = static_cast<uint64_t>(*weight.getOffset() + i * *weight.getStride());
    tensor["bytes"] = static_cast<uint64_t>(weight.getLayout()->elements(type) * size);
    if (!norm)
      tensor["std"] = vector ? 0.02 : 1.0 / std::sqrt(static_cast<double>(type.getShape().back()));
    tensors.push_back(std::move(tensor));
  }
}

uint32_t tokenCount(const std::vector<uint8_t> &blob) {
  QwenchTokenizerHeader header = {};
  if (blob.size() >= sizeof header)
    std::memcpy(&header, blob.data(), sizeof header);
  return header.token_count;
}

Json compilationOf(ModuleOp planned, const MetadataOptions &options) {
  Json result;
  result["target"] = options.target;
  result["cpu"] = options.cpu;
  if (auto model = planned->getAttrOfType<DictionaryAttr>("qwen.model"))
    for (NamedAttribute attribute : model) {
      if (auto text = dyn_cast<StringAttr>(attribute.getValue()))
        result[attribute.getName().str()] = text.getValue().str();
      else if (auto number = dyn_cast<IntegerAttr>(attribute.getValue()))
        result[attribute.getName().str()] = number.getInt();
    }
  return result;
}

} // namespace

Result<std::string> makeMetadata(const ModelSource &source, const Extras &extras, ModuleOp planned,
                                 const MetadataOptions &options) {
  Json root;
  root["name"] = source.name;
  if (source.config)
    root["architecture"] = std::string(hf::name(source.config->architecture));
  root["qwench_version"] = kVersion;
  root["compilation"] = compilationOf(planned, options);
  if (source.config) {
    Json config = Json::parse(source.configText, nullptr, /*allow_exceptions=*/false);
    if (!config.is_object())
      return userError("'" + source.path + "': expected a JSON object in config.json");
    root["config"] = std::move(config);
  }
  root["generation"] = generationOf(source.generation);
  if (!extras.tokenizer.empty())
    root["sampled_vocab_size"] = tokenCount(extras.tokenizer);
  if (!extras.templateVariables.empty())
    for (const auto &[name, value] : extras.templateVariables)
      root["template_variables"][name] = value;
  if (!options.externalWeights.empty())
    root["external_weights"] = options.externalWeights;
  if (options.randomSeed) {
    Json tensors = Json::array();
    for (qwen::WeightOp weight : planned.getOps<qwen::WeightOp>())
      if (weight.getLayout() && weight.getOffset() && weight.getStride())
        addRandomTensors(weight, tensors);
    root["random_weights"] = {{"seed", *options.randomSeed}, {"tensors", std::move(tensors)}};
  }
  return root.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

} // namespace qwench
