#include "frontends/huggingface/config.h"

#include "frontends/huggingface/config_keys.h"
#include "frontends/huggingface/json.h"

#include <sys/stat.h>

namespace qwench::hf {
namespace {

// Bounds far beyond any model, so that no product of sizes overflows int64_t.
constexpr int64_t kMaxHidden = int64_t(1) << 20;
constexpr int64_t kMaxIntermediate = int64_t(1) << 24;
constexpr int64_t kMaxExpertIntermediate = int64_t(1) << 20;
constexpr int64_t kMaxVocab = int64_t(1) << 24;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxHeads = int64_t(1) << 14;
constexpr int64_t kMaxHeadDim = 4096;
constexpr int64_t kMaxExperts = 65536;
constexpr int64_t kMaxExpertsOfAllLayers = int64_t(1) << 20;
constexpr int64_t kMaxParameters = int64_t(1) << 46;
constexpr uint64_t kMaxConfigBytes = 16 << 20;
/// What the compiler's attention and rope work in.
constexpr int64_t kHeadDimGranule = 32;

/// Defaults that differ between Qwen3Config and Qwen3MoeConfig.
struct Defaults {
  int64_t hidden, layers, kvHeads, intermediate;
};
constexpr Defaults kDenseDefaults{4096, 32, 32, 22016};
constexpr Defaults kMoeDefaults{2048, 24, 4, 6144};

constexpr std::string_view kArchitectures = "Qwen3ForCausalLM or Qwen3MoeForCausalLM";

/// The architecture that a class name or a model_type names.
std::optional<Architecture> parseArchitecture(const std::string &text) {
  if (text == "Qwen3ForCausalLM" || text == "qwen3")
    return Architecture::Dense;
  if (text == "Qwen3MoeForCausalLM" || text == "qwen3_moe")
    return Architecture::Moe;
  return std::nullopt;
}

/// From `architectures`, or without it from `model_type`; they have to agree.
Architecture readArchitecture(ObjectReader &reader) {
  std::optional<std::string> modelType = reader.string("model_type");
  std::optional<Architecture> byType = modelType ? parseArchitecture(*modelType) : std::nullopt;
  std::optional<Architecture> byClass = byType;
  if (const Json *list = reader.value("architectures")) {
    byClass = std::nullopt;
    if (list->is_array() && list->size() == 1 && list->at(0).is_string())
      byClass = parseArchitecture(list->at(0).get<std::string>());
    if (!byClass) {
      const Json &found = list->is_array() && list->size() == 1 ? list->at(0) : *list;
      reader.fail("expected architecture " + std::string(kArchitectures) + ", found " + show(found));
    }
  } else if (!byType) {
    reader.fail(
        "expected architecture " + std::string(kArchitectures) + ", found " +
        (modelType ? "model_type " + show(*modelType) : std::string("no architectures and no model_type")));
  }
  if (modelType && byType != byClass)
    reader.fail("expected model_type to fit architectures, found " + show(*modelType));
  return byClass.value_or(Architecture::Dense);
}

void readSizes(ObjectReader &reader, ModelConfig &config) {
  const bool moe = config.architecture == Architecture::Moe;
  const Defaults &defaults = moe ? kMoeDefaults : kDenseDefaults;
  config.vocab = reader.integer("vocab_size", 151936, 1, kMaxVocab);
  config.hidden = reader.integer("hidden_size", defaults.hidden, 1, kMaxHidden);
  config.intermediate = reader.integer("intermediate_size", defaults.intermediate, 1, kMaxIntermediate);
  config.layers.resize(
      static_cast<size_t>(reader.integer("num_hidden_layers", defaults.layers, 1, kMaxLayers)));
  config.heads = reader.integer("num_attention_heads", 32, 1, kMaxHeads);
  // Qwen3Config takes null for "as many as query heads".
  bool asHeads = !moe && reader.isNull("num_key_value_heads");
  config.kvHeads =
      asHeads ? config.heads : reader.integer("num_key_value_heads", defaults.kvHeads, 1, kMaxHeads);
  // Qwen3MoeConfig has no default of its own.
  config.headDim = reader.integer("head_dim", moe ? config.hidden / config.heads : 128, 1, kMaxHeadDim);
  config.maxPositionEmbeddings = reader.integer("max_position_embeddings", 32768, 1, INT32_MAX);
  config.rmsEps = reader.number("rms_norm_eps", 1e-6, 0, 1);
  config.tieEmbeddings = reader.boolean("tie_word_embeddings", false);
  config.attentionBias = reader.boolean("attention_bias", false);
  if (config.heads % config.kvHeads != 0)
    reader.fail("expected num_key_value_heads to divide num_attention_heads " + std::to_string(config.heads) +
                ", found " + std::to_string(config.kvHeads));
  if (config.headDim == 0 || config.headDim % kHeadDimGranule != 0)
    reader.fail("expected head_dim to be a multiple of " + std::to_string(kHeadDimGranule) + ", found " +
                std::to_string(config.headDim));
  std::string activation = reader.string("hidden_act").value_or("silu");
  if (activation != "silu" && activation != "swish")
    reader.fail("expected hidden_act \"silu\", found " + show(activation));
}

/// num_experts, which 5.x calls num_local_experts.
int64_t readExperts(ObjectReader &reader) {
  int64_t experts = reader.integer("num_experts", 128, 0, kMaxExperts);
  int64_t local = reader.integer("num_local_experts", experts, 0, kMaxExperts);
  if (reader.has("num_experts") && experts != local)
    reader.fail("expected num_experts and num_local_experts to agree, found " + std::to_string(experts) +
                " and " + std::to_string(local));
  return local;
}

/// Layers that mlp_only_layers names have a dense MLP.
std::vector<bool> readMlpOnlyLayers(ObjectReader &reader, size_t layers) {
  std::vector<bool> mlpOnly(layers, false);
  const Json *list = reader.value("mlp_only_layers");
  if (!list)
    return mlpOnly;
  if (!list->is_array()) {
    reader.failExpected("mlp_only_layers", "to be a list of layer numbers", *list);
    return mlpOnly;
  }
  for (const Json &item : *list) {
    if (!item.is_number_unsigned() || item.get<uint64_t>() >= layers) {
      reader.failExpected("mlp_only_layers", "to hold layer numbers below " + std::to_string(layers), item);
      return mlpOnly;
    }
    mlpOnly[item.get<size_t>()] = true;
  }
  return mlpOnly;
}

void readMixture(ObjectReader &reader, ModelConfig &config) {
  int64_t step = reader.integer("decoder_sparse_step", 1, 1, kMaxLayers);
  std::vector<bool> mlpOnly = readMlpOnlyLayers(reader, config.layers.size());
  config.experts = readExperts(reader);
  config.topK = reader.integer("num_experts_per_tok", 8, 1, kMaxExperts);
  config.moeIntermediate = reader.integer("moe_intermediate_size", 768, 1, kMaxExpertIntermediate);
  config.normTopKProb = reader.boolean("norm_topk_prob", false);
  for (size_t i = 0; i < config.layers.size(); ++i)
    config.layers[i].sparse = config.experts > 0 && !mlpOnly[i] && (static_cast<int64_t>(i) + 1) % step == 0;
  if (config.sparseLayerCount() == 0) {
    config.experts = config.topK = config.moeIntermediate = 0;
    config.normTopKProb = false;
    return;
  }
  if (config.sparseLayerCount() == config.layerCount())
    config.intermediate = 0;
  if (config.topK > config.experts)
    reader.fail("expected num_experts_per_tok to be at most num_experts " + std::to_string(config.experts) +
                ", found " + std::to_string(config.topK));
  if (config.experts * config.sparseLayerCount() > kMaxExpertsOfAllLayers)
    reader.fail("expected at most " + std::to_string(kMaxExpertsOfAllLayers) +
                " experts in all layers, found " +
                std::to_string(config.experts * config.sparseLayerCount()));
}

/// Whether layer i slides by the rules of its architecture, given that the model has a window.
bool slidesByDefault(const ModelConfig &config, size_t i, int64_t maxWindowLayers) {
  return config.architecture == Architecture::Moe || static_cast<int64_t>(i) >= maxWindowLayers;
}

/// An explicit layer_types decides in Qwen3ForCausalLM. Qwen3MoeForCausalLM never looks at it, so it has to
/// agree.
void applyLayerTypes(ObjectReader &reader, ModelConfig &config, std::optional<int64_t> window) {
  const Json *types = reader.value("layer_types");
  if (!types)
    return;
  if (!types->is_array() || types->size() != config.layers.size()) {
    reader.failExpected("layer_types", "to be a list of " + std::to_string(config.layers.size()), *types);
    return;
  }
  for (size_t i = 0; i < types->size(); ++i) {
    std::string key = "layer_types[" + std::to_string(i) + "]";
    const Json &type = types->at(i);
    bool sliding = type == "sliding_attention";
    if (!sliding && type != "full_attention")
      return reader.failExpected(key, "\"full_attention\" or \"sliding_attention\"", type);
    if (config.architecture == Architecture::Moe && sliding != config.layers[i].window.has_value())
      return reader.failExpected(
          key, "to fit use_sliding_window (Qwen3MoeForCausalLM has one kind for all layers)", type);
    if (sliding && !window)
      return reader.failExpected(key, "\"full_attention\" without use_sliding_window and sliding_window",
                                 type);
    config.layers[i].window = sliding ? window : std::nullopt;
  }
}

void readWindows(ObjectReader &reader, std::string_view where, ModelConfig &config) {
  bool use = reader.boolean("use_sliding_window", false);
  bool off = !use || reader.isNull("sliding_window");
  reader.markRead("sliding_window");
  std::optional<int64_t> window;
  if (!off)
    window = reader.integer("sliding_window", 4096, 1, INT32_MAX);
  int64_t maxWindowLayers = 28;
  if (config.architecture == Architecture::Dense)
    maxWindowLayers = reader.isNull("max_window_layers") && !window
                          ? 0
                          : reader.integer("max_window_layers", 28, 0, INT32_MAX);
  else if (reader.has("max_window_layers") && window)
    config.warnings.push_back(std::string(where) +
                              ": max_window_layers has no effect in Qwen3MoeForCausalLM");
  for (size_t i = 0; i < config.layers.size(); ++i)
    if (slidesByDefault(config, i, maxWindowLayers))
      config.layers[i].window = window;
  applyLayerTypes(reader, config, window);
}

void readDType(ObjectReader &reader, ModelConfig &config) {
  for (const char *key : {"torch_dtype", "dtype"}) {
    std::optional<std::string> text = reader.string(key);
    if (!text || *text == "auto")
      continue;
    config.dtype = parseTorchDType(*text);
    if (!config.dtype)
      reader.failExpected(key, "\"bfloat16\", \"float16\" or \"float32\"", *text);
  }
}

void readSpecialIds(ObjectReader &reader, std::string_view where, ModelConfig &config) {
  auto first = [](const std::vector<int64_t> &ids) {
    return ids.empty() ? std::nullopt : std::optional<int64_t>(ids.front());
  };
  config.bosId = first(readTokenIds(reader, "bos_token_id", config.vocab, where, config.warnings));
  config.padId = first(readTokenIds(reader, "pad_token_id", config.vocab, where, config.warnings));
  config.eosIds = readTokenIds(reader, "eos_token_id", config.vocab, where, config.warnings);
}

} // namespace

std::string_view name(Architecture architecture) {
  return architecture == Architecture::Moe ? "Qwen3MoeForCausalLM" : "Qwen3ForCausalLM";
}

int64_t ModelConfig::sparseLayerCount() const {
  int64_t count = 0;
  for (const LayerConfig &layer : layers)
    count += layer.sparse;
  return count;
}

ParameterCount countParameters(const ModelConfig &config) {
  int64_t query = config.heads * config.headDim, key = config.kvHeads * config.headDim;
  int64_t attention = config.hidden * (2 * query + 2 * key) + 2 * config.headDim;
  if (config.attentionBias)
    attention += query + 2 * key + config.hidden;
  int64_t everyLayer = attention + 2 * config.hidden;
  int64_t dense = 3 * config.hidden * config.intermediate;
  int64_t expert = 3 * config.hidden * config.moeIntermediate;
  int64_t router = config.hidden * config.experts;
  int64_t sparseLayers = config.sparseLayerCount(), denseLayers = config.layerCount() - sparseLayers;
  int64_t embedding = config.vocab * config.hidden;
  int64_t common =
      config.layerCount() * everyLayer + denseLayers * dense + sparseLayers * router + config.hidden;
  ParameterCount count;
  count.total = common + sparseLayers * config.experts * expert + embedding * (config.tieEmbeddings ? 1 : 2);
  count.active = common + sparseLayers * config.topK * expert + embedding;
  return count;
}

Result<ModelConfig> parseConfig(std::string_view text, std::string_view where) {
  Result<Json> json = parseJson(text, where);
  if (!json)
    return json.takeError();
  ObjectReader reader(*json, where);
  ModelConfig config;
  config.architecture = readArchitecture(reader);
  if (Status status = reader.status(); !status)
    return status.takeError();
  readSizes(reader, config);
  if (Status status = reader.status(); !status)
    return status.takeError();
  if (config.architecture == Architecture::Moe)
    readMixture(reader, config);
  readWindows(reader, where, config);
  config.rope = readRope(reader, where, config.headDim, config.maxPositionEmbeddings, config.warnings);
  readDType(reader, config);
  readSpecialIds(reader, where, config);
  config.quantization = readQuantization(reader, where, config.warnings);
  checkOtherKeys(reader, where, config.warnings);
  if (!reader.failed())
    if (int64_t total = countParameters(config).total; total > kMaxParameters)
      reader.fail("expected at most " + std::to_string(kMaxParameters) +
                  " parameters, found sizes that make " + std::to_string(total));
  if (Status status = reader.status(); !status)
    return status.takeError();
  return config;
}

Result<ModelConfig> readConfig(const std::string &path) {
  struct stat info{};
  bool isDirectory = stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
  std::string file = isDirectory ? path + "/config.json" : path;
  Result<std::string> text = readTextFile(file, kMaxConfigBytes);
  if (!text)
    return text.takeError();
  return parseConfig(*text, file);
}

} // namespace qwench::hf
