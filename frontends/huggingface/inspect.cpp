#include "frontends/huggingface/inspect.h"

#include "frontends/huggingface/checkpoint.h"
#include "frontends/huggingface/config.h"
#include "frontends/huggingface/generation_config.h"
#include "frontends/huggingface/json.h"

#include <cstdio>
#include <map>
#include <sys/stat.h>
#include <unistd.h>

namespace qwench::hf {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr const char *kTokenizerFiles[] = {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"};

std::string printf(const char *format, double value, const char *unit = "") {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, format, value, unit);
  return buffer;
}

/// "596.0 M": parameters, in decimal units.
std::string formatCount(int64_t count) {
  auto value = static_cast<double>(count);
  if (value >= 1e9)
    return printf("%.3f B", value / 1e9);
  return value >= 1e6 ? printf("%.1f M", value / 1e6) : std::to_string(count);
}

/// "1.19 GB": in decimal units.
std::string formatBytes(uint64_t bytes) {
  auto value = static_cast<double>(bytes);
  if (value >= 1e9)
    return printf("%.2f GB", value / 1e9);
  return value >= 1e6 ? printf("%.1f MB", value / 1e6) : std::to_string(bytes) + " bytes";
}

std::string formatNumber(double value) { return printf("%.10g", value); }

/// A description under construction: every fact goes into both forms, under one name.
struct Writer {
  OrderedJson json = OrderedJson::object();
  std::string text;

  void line(const std::string &label, const std::string &value) {
    std::string padded = label + ":";
    padded.resize(std::max<size_t>(padded.size() + 1, 20), ' ');
    text += padded + value + "\n";
  }
  void add(const std::string &key, const std::string &label, const OrderedJson &value,
           const std::string &shown) {
    json[key] = value;
    line(label, shown);
  }
};

/// What a key-value cache of 2-byte elements takes for one token.
int64_t cacheBytesPerToken(const ModelConfig &config) {
  return 2 * 2 * config.layerCount() * config.kvHeads * config.headDim;
}

void describeShape(const ModelConfig &config, Writer &out) {
  auto number = [](int64_t value) { return std::to_string(value); };
  out.add("architecture", "architecture", name(config.architecture), std::string(name(config.architecture)));
  int64_t sparse = config.sparseLayerCount();
  out.json["layers"] = config.layerCount();
  out.json["sparse_layers"] = sparse;
  out.line("layers",
           number(config.layerCount()) +
               (config.architecture == Architecture::Moe ? ", " + number(sparse) + " with experts" : ""));
  out.add("hidden_size", "hidden size", config.hidden, number(config.hidden));
  out.json["num_attention_heads"] = config.heads;
  out.json["num_key_value_heads"] = config.kvHeads;
  out.json["head_dim"] = config.headDim;
  out.line("attention", number(config.heads) + " heads, " + number(config.kvHeads) +
                            " key-value heads, head_dim " + number(config.headDim) +
                            (config.attentionBias ? ", with bias" : ""));
  out.json["attention_bias"] = config.attentionBias;
  if (config.intermediate)
    out.add("intermediate_size", "mlp", config.intermediate, number(config.intermediate) + " wide");
  if (sparse) {
    out.json["num_experts"] = config.experts;
    out.json["num_experts_per_tok"] = config.topK;
    out.json["moe_intermediate_size"] = config.moeIntermediate;
    out.json["norm_topk_prob"] = config.normTopKProb;
    out.line("experts", number(config.experts) + ", " + number(config.topK) + " per token, " +
                            number(config.moeIntermediate) + " wide, weights " +
                            (config.normTopKProb ? "renormalised" : "not renormalised"));
  }
  out.json["tie_word_embeddings"] = config.tieEmbeddings;
  out.add("vocab_size", "vocabulary", config.vocab,
          number(config.vocab) + (config.tieEmbeddings ? ", head tied to the embedding" : ""));
  out.add("max_position_embeddings", "context", config.maxPositionEmbeddings,
          number(config.maxPositionEmbeddings));
}

void describeRope(const ModelConfig &config, Writer &out) {
  const RopeConfig &rope = config.rope;
  OrderedJson json = {{"rope_type", name(rope.type)}, {"rope_theta", rope.theta}};
  std::string shown = std::string(name(rope.type)) + ", theta " + formatNumber(rope.theta);
  if (rope.type != RopeType::Default) {
    json["factor"] = rope.factor;
    json["original_max_position_embeddings"] = rope.originalMaxPosition;
    json["attention_scaling"] = attentionScaling(rope);
    shown += ", factor " + formatNumber(rope.factor) + " over " + std::to_string(rope.originalMaxPosition) +
             ", attention scaling " + formatNumber(attentionScaling(rope));
  }
  out.add("rope", "rope", json, shown);
}

void describeWindows(const ModelConfig &config, Writer &out) {
  int64_t sliding = 0, window = 0;
  for (const LayerConfig &layer : config.layers)
    if (layer.window) {
      ++sliding;
      window = *layer.window;
    }
  if (sliding)
    out.add("sliding_window", "sliding window", {{"window", window}, {"layers", sliding}},
            std::to_string(window) + " tokens in " + std::to_string(sliding) + " layers");
}

void describeQuantization(const ModelConfig &config, Writer &out) {
  if (!config.quantization)
    return;
  const QuantizationConfig &quantization = *config.quantization;
  bool fp8 = quantization.method == QuantMethod::Fp8;
  std::string shown = std::string(name(quantization.method)) + ", " + std::to_string(quantization.bits) + " bits, ";
  if (fp8)
    shown += "blocks of " + std::to_string(quantization.blockRows) + " x " + std::to_string(quantization.group);
  else
    shown += (quantization.group ? "groups of " + std::to_string(quantization.group) : std::string("whole rows")) +
             (quantization.symmetric ? "" : ", zero points") + (quantization.actOrder ? ", act-order" : "");
  OrderedJson json = {{"quant_method", name(quantization.method)},
                      {"bits", quantization.bits},
                      {"group_size", quantization.group ? quantization.group : -1}};
  if (!fp8) {
    json["sym"] = quantization.symmetric;
    json["desc_act"] = quantization.actOrder;
  }
  out.add("quantization", "quantization", json, shown);
}

void describeCosts(const ModelConfig &config, Writer &out) {
  ParameterCount count = countParameters(config);
  out.json["parameters"] = count.total;
  out.json["active_parameters"] = count.active;
  out.line("parameters",
           formatCount(count.total) + " in all, " + formatCount(count.active) + " read per token");
  out.add("weight_bytes_bf16", "weights in bf16", 2 * count.total,
          formatBytes(static_cast<uint64_t>(2 * count.total)));
  int64_t cache = cacheBytesPerToken(config);
  out.add("cache_bytes_per_token_bf16", "cache in bf16", cache,
          printf("%.6g KiB per token", double(cache) / 1024));
}

void describeGeneration(const GenerationConfig &generation, Writer &out) {
  std::string ids;
  for (int64_t id : generation.eosIds)
    ids += (ids.empty() ? "" : ", ") + std::to_string(id);
  out.add("eos_token_ids", "end of sequence", generation.eosIds, ids.empty() ? "none" : ids);
  if (!generation.doSample) {
    out.add("sampling", "sampling", {{"do_sample", false}}, "greedy");
    return;
  }
  out.add("sampling", "sampling",
          {{"do_sample", true},
           {"temperature", generation.temperature},
           {"top_k", generation.topK},
           {"top_p", generation.topP},
           {"min_p", generation.minP}},
          "temperature " + formatNumber(generation.temperature) + ", top-k " +
              std::to_string(generation.topK) + ", top-p " + formatNumber(generation.topP) + ", min-p " +
              formatNumber(generation.minP));
}

void describeWeights(const Checkpoint &checkpoint, Writer &out) {
  struct Sum {
    int64_t tensors = 0;
    uint64_t bytes = 0;
  };
  std::map<std::string, Sum> types;
  OrderedJson files = OrderedJson::array();
  for (const SafetensorsFile &file : checkpoint.files()) {
    files.push_back({{"path", file.path()}, {"bytes", file.fileBytes()}, {"tensors", file.tensors().size()}});
    out.line("file", file.path() + ", " + formatBytes(file.fileBytes()) + ", " +
                         std::to_string(file.tensors().size()) + " tensors");
    for (const TensorView &view : file.tensors()) {
      Sum &sum = types[std::string(name(view.dtype))];
      ++sum.tensors;
      sum.bytes += view.bytes;
    }
  }
  out.json["files"] = files;
  for (const auto &[type, sum] : types) {
    out.json["tensors"][type] = {{"count", sum.tensors}, {"bytes", sum.bytes}};
    out.line("tensors of " + type, std::to_string(sum.tensors) + ", " + formatBytes(sum.bytes));
  }
}

/// The parts of a directory besides config.json. Fails where what is there is wrong.
Status describeDirectory(const std::string &directory, const ModelConfig &config, Writer &out,
                         std::vector<std::string> &warnings) {
  Result<GenerationConfig> generation = readGenerationConfig(directory, config);
  if (!generation)
    return generation.takeError();
  warnings.insert(warnings.end(), generation->warnings.begin(), generation->warnings.end());
  describeGeneration(*generation, out);
  for (const char *file : kTokenizerFiles) {
    bool found = access((directory + "/" + file).c_str(), F_OK) == 0;
    out.json["has_files"][file] = found;
    if (found)
      out.line("file", directory + "/" + file);
  }
  if (!out.json["has_files"][kTokenizerFiles[0]])
    warnings.push_back(directory + ": no tokenizer.json");
  if (!Checkpoint::exists(directory)) {
    warnings.push_back(directory + ": no weights (model.safetensors or model.safetensors.index.json)");
    return ok();
  }
  Result<Checkpoint> checkpoint = Checkpoint::open(directory);
  if (!checkpoint)
    return checkpoint.takeError();
  if (Status status = checkpoint->validate(config); !status)
    return status;
  describeWeights(*checkpoint, out);
  return ok();
}

} // namespace

Result<Description> describeModel(const std::string &path) {
  Result<ModelConfig> config = readConfig(path);
  if (!config)
    return config.takeError();
  Writer out;
  describeShape(*config, out);
  describeRope(*config, out);
  describeWindows(*config, out);
  describeQuantization(*config, out);
  describeCosts(*config, out);
  std::vector<std::string> warnings = config->warnings;
  struct stat info{};
  if (stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode))
    if (Status status = describeDirectory(path, *config, out, warnings); !status)
      return status.takeError();
  out.json["warnings"] = warnings;
  for (const std::string &warning : warnings)
    out.line("warning", warning);
  return Description{out.text, out.json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n"};
}

} // namespace qwench::hf
