#include "compiler/driver/metadata.h"

#include "compiler/driver/version.h"
#include "dialects/Qwen.h"
#include "dialects/quantization/codes.h"
#include "dialects/quantization/type.h"
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

/// Plausible codes of a format, as a random byte & mask | base, and their standard deviation when all are as likely.
struct RandomCodes {
  int mask = 0xff, base = 0;
  double deviation = 1;
};

RandomCodes randomCodes(quantization::Storage storage) {
  switch (storage) {
  case quantization::Storage::I8:
    return {0xff, 0, 73.9}; // 256 equal steps
  case quantization::Storage::I4:
    return {0xff, 0, 4.61}; // 16 equal steps
  case quantization::Storage::E2M1:
    return {0xff, 0, 2.93}; // both signs of 0, 0.5, 1, 1.5, 2, 3, 4, 6
  case quantization::Storage::E4M3:
    return {0x8f, 0x30, 1.16}; // both signs of 0.5 to 1.875: no NaN
  }
  return {};
}

uint32_t scaleBits(quantization::Scale format, double value) {
  std::byte bytes[4] = {};
  storeScale(format, static_cast<float>(value), bytes);
  uint32_t bits;
  std::memcpy(&bits, bytes, 4);
  return bits;
}

/// How a quantized weight's panels lie, and codes and scales that give its values the deviation.
Json randomPanels(qwen::WeightOp weight, qwen::QuantType type, double deviation) {
  using namespace quantization;
  ArrayRef<int64_t> shape = cast<RankedTensorType>(weight.getType()).getShape();
  qwen::LayoutAttr layout = *weight.getLayout();
  Format format = formatOf(type);
  RandomCodes codes = randomCodes(format.storage);
  Scale scale = format.group ? format.scale : Scale::F32;
  int64_t columns = shape.back(), padded = layout.paddedInputs(columns);
  double step = deviation / codes.deviation;
  return {{"matrices", shape.size() == 3 ? shape[0] : 1}, {"rows", shape[shape.size() - 2]}, {"columns", columns},
          {"padded_columns", padded}, {"width", layout.getWidth()}, {"depth", layout.getDepth()},
          {"pair_halves", layout.getPairHalves()}, {"planes", layout.isPlanes()}, {"group", format.groupColumns(padded)},
          {"zero_points", format.zeroPoints}, {"row_scales", format.rowScales}, {"code_bits", bitsOf(format.storage)},
          {"code_mask", codes.mask}, {"code_base", codes.base},
          {"zero_code", format.zeroPoints ? bitsOf(format.storage) == 4 ? 8 : 128 : zeroCode(format)},
          {"zero_point", bitsOf(format.storage) == 4 ? 8 : 128}, {"scale_bytes", bytesOf(scale)},
          {"scale", scaleBits(scale, format.rowScales ? 1 : step)}, {"row_scale", scaleBits(Scale::F32, step)}};
}

/// A tensor of --random-weights for each instance of a placed weight. Matrices keep the size of what goes
/// through them; norms are ones; biases are small.
void addRandomTensors(qwen::WeightOp weight, Json &tensors) {
  auto type = cast<RankedTensorType>(weight.getType());
  StringRef symbol = weight.getSymName();
  bool vector = type.getRank() == 1, norm = vector && symbol.contains("norm");
  for (int64_t i = 0; i < static_cast<int64_t>(weight.getInstances()); i++) {
    Json tensor;
    tensor["name"] = symbol.str() + "[" + std::to_string(i) + "]";
    tensor["offset"] = static_cast<uint64_t>(*weight.getOffset() + i * *weight.getStride());
    tensor["bytes"] = static_cast<uint64_t>(weight.getLayout()->bytes(type));
    double deviation = vector ? 0.02 : 1.0 / std::sqrt(static_cast<double>(type.getShape().back()));
    if (auto quant = dyn_cast<qwen::QuantType>(type.getElementType())) {
      tensor["panels"] = randomPanels(weight, quant, deviation);
    } else {
      tensor["dtype"] = type.getElementType().isBF16() ? "bf16" : "f32";
      tensor["init"] = norm ? "ones" : "normal";
      if (!norm)
        tensor["std"] = deviation;
    }
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
  if (options.gpus.empty()) {
    result["cpu"] = options.cpu;
  } else {
    result["gpu"] = options.gpus;
    result["schedule"] = options.schedule;
    result["matrix_unit"] = options.matrixUnit;
    result["dependent_launch"] = options.dependentLaunch;
  }
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
