#include "frontends/huggingface/checkpoint.h"

#include "frontends/huggingface/expert_tensors.h"
#include "frontends/huggingface/json.h"

#include <algorithm>
#include <set>
#include <unistd.h>

namespace qwench::hf {
namespace {

constexpr const char *kSingleFile = "model.safetensors";
constexpr const char *kIndexFile = "model.safetensors.index.json";
constexpr const char *kTorchFile = "pytorch_model.bin";
constexpr const char *kTorchIndexFile = "pytorch_model.bin.index.json";
constexpr uint64_t kMaxIndexBytes = uint64_t(256) << 20;
constexpr size_t kMaxShards = 10000;
constexpr std::string_view kPrefix = "model.";
/// How many names an error lists.
constexpr size_t kListed = 3;

bool isPlainFileName(const std::string &name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\\') == std::string::npos && name.find('\0') == std::string::npos;
}

bool fileExists(const std::string &path) { return access(path.c_str(), F_OK) == 0; }

/// "a, b, c and 4 more".
std::string listNames(const std::vector<std::string> &names) {
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kListed); ++i)
    text += (i ? ", " : "") + names[i];
  if (names.size() > kListed)
    text += " and " + std::to_string(names.size() - kListed) + " more";
  return text;
}

/// Names a checkpoint may have although the model does not read them: buffers of old versions, and the copy
/// of the embedding that a tied head is.
bool isIgnored(std::string_view name, const ModelConfig &config) {
  return name.ends_with("rotary_emb.inv_freq") || (config.tieEmbeddings && name == "lm_head.weight");
}

void addAttention(std::vector<ExpectedTensor> &list, const std::string &layer, const ModelConfig &config) {
  std::string attention = layer + "self_attn.";
  int64_t query = config.heads * config.headDim, key = config.kvHeads * config.headDim;
  auto add = [&](const char *projection, int64_t out, int64_t in) {
    list.push_back({attention + projection + ".weight", {out, in}});
    if (config.attentionBias)
      list.push_back({attention + projection + ".bias", {out}});
  };
  list.push_back({layer + "input_layernorm.weight", {config.hidden}});
  add("q_proj", query, config.hidden);
  add("k_proj", key, config.hidden);
  add("v_proj", key, config.hidden);
  list.push_back({attention + "q_norm.weight", {config.headDim}});
  list.push_back({attention + "k_norm.weight", {config.headDim}});
  add("o_proj", config.hidden, query);
  list.push_back({layer + "post_attention_layernorm.weight", {config.hidden}});
}

void addMlp(std::vector<ExpectedTensor> &list, const std::string &mlp, int64_t hidden, int64_t intermediate) {
  list.push_back({mlp + "gate_proj.weight", {intermediate, hidden}});
  list.push_back({mlp + "up_proj.weight", {intermediate, hidden}});
  list.push_back({mlp + "down_proj.weight", {hidden, intermediate}});
}

} // namespace

std::vector<ExpectedTensor> expectedTensors(const ModelConfig &config) {
  std::vector<ExpectedTensor> list;
  list.push_back({"model.embed_tokens.weight", {config.vocab, config.hidden}});
  for (size_t i = 0; i < config.layers.size(); ++i) {
    std::string layer = "model.layers." + std::to_string(i) + ".";
    addAttention(list, layer, config);
    if (!config.layers[i].sparse) {
      addMlp(list, layer + "mlp.", config.hidden, config.intermediate);
      continue;
    }
    list.push_back({layer + "mlp.gate.weight", {config.experts, config.hidden}});
    for (int64_t e = 0; e < config.experts; ++e)
      addMlp(list, layer + "mlp.experts." + std::to_string(e) + ".", config.hidden, config.moeIntermediate);
  }
  list.push_back({"model.norm.weight", {config.hidden}});
  if (!config.tieEmbeddings)
    list.push_back({"lm_head.weight", {config.vocab, config.hidden}});
  return list;
}

Result<std::map<std::string, std::string>> parseIndex(std::string_view text, std::string_view where) {
  Result<Json> json = parseJson(text, where);
  if (!json)
    return json.takeError();
  if (!json->is_object() || !json->contains("weight_map") || !json->at("weight_map").is_object())
    return userError(std::string(where) + ": expected an object weight_map, found none");
  std::map<std::string, std::string> files;
  for (const auto &[name, file] : json->at("weight_map").items()) {
    if (!file.is_string() || !isPlainFileName(file.get<std::string>()))
      return userError(std::string(where) + ": expected weight_map to name a file beside it for tensor " +
                       show(name) + ", found " + show(file));
    files.emplace(name, file.get<std::string>());
  }
  return files;
}

bool Checkpoint::exists(const std::string &directory) {
  return fileExists(directory + "/" + kSingleFile) || fileExists(directory + "/" + kIndexFile);
}

Result<Checkpoint> Checkpoint::open(const std::string &directory) {
  Checkpoint checkpoint;
  checkpoint.directory = directory;
  std::map<std::string, std::string> fileOf;
  std::map<std::string, size_t> shardOf; // by file name
  std::string indexPath = directory + "/" + kIndexFile;
  if (fileExists(directory + "/" + kSingleFile)) {
    shardOf.emplace(kSingleFile, 0);
  } else if (fileExists(indexPath)) {
    Result<std::string> text = readTextFile(indexPath, kMaxIndexBytes);
    if (!text)
      return text.takeError();
    Result<std::map<std::string, std::string>> parsed = parseIndex(*text, indexPath);
    if (!parsed)
      return parsed.takeError();
    fileOf = parsed.take();
    for (const auto &[tensor, file] : fileOf)
      shardOf.emplace(file, 0);
  } else {
    bool torch = fileExists(directory + "/" + kTorchFile) || fileExists(directory + "/" + kTorchIndexFile);
    return userError("expected " + std::string(kSingleFile) + " or " + kIndexFile + " in " + directory +
                     ", found " +
                     (torch ? "PyTorch weights (save the model with safe_serialization=True)" : "neither"));
  }
  if (shardOf.size() > kMaxShards)
    return userError(indexPath + ": expected at most " + std::to_string(kMaxShards) + " files, found " +
                     std::to_string(shardOf.size()));
  for (auto &[name, shard] : shardOf) {
    Result<SafetensorsFile> file = SafetensorsFile::open(directory + "/" + name);
    if (!file)
      return file.takeError();
    shard = checkpoint.shards.size();
    checkpoint.shards.push_back(file.take());
  }
  for (const auto &[tensor, file] : fileOf)
    if (!checkpoint.shards[shardOf.at(file)].find(tensor))
      return userError(indexPath + ": expected tensor " + show(tensor) + " in " + file +
                       ", found none there");
  if (Status status = checkpoint.index(); !status)
    return status.takeError();
  return checkpoint;
}

Status Checkpoint::index() {
  withoutPrefix = true;
  for (const SafetensorsFile &shard : shards)
    for (const TensorView &view : shard.tensors()) {
      if (!tensors.emplace(view.name, &view).second)
        return userError(shard.path() + ": tensor " + show(view.name) + " is in another file too");
      withoutPrefix &= !view.name.starts_with(kPrefix);
    }
  return ok();
}

const TensorView *Checkpoint::lookUp(std::string_view name) const {
  if (withoutPrefix && name.starts_with(kPrefix))
    name.remove_prefix(kPrefix.size());
  auto it = tensors.find(name);
  return it == tensors.end() ? nullptr : it->second;
}

/// The tensor of that name, or the fused one that it is a slice of.
const TensorView *Checkpoint::lookUpWhole(std::string_view name) const {
  const TensorView *stored = lookUp(name);
  if (!stored)
    if (std::optional<ExpertName> expert = parseExpertName(name))
      stored = lookUp(fusedName(*expert));
  return stored;
}

Result<TensorView> Checkpoint::find(std::string_view name) const {
  if (const TensorView *view = lookUp(name)) {
    TensorView found = *view;
    found.name = name;
    return found;
  }
  if (std::optional<ExpertName> expert = parseExpertName(name))
    if (const TensorView *fused = lookUp(fusedName(*expert))) {
      Result<TensorView> slice = sliceExpert(*fused, *expert, name);
      if (!slice)
        return userError(directory + ": " + slice.error().message);
      return slice;
    }
  return userError(directory + ": missing tensor " + std::string(name));
}

Status Checkpoint::checkPlain(const ExpectedTensor &expected) const {
  Result<TensorView> view = find(expected.name);
  if (!view)
    return view.takeError();
  if (view->shape != expected.shape)
    return userError(directory + ": expected shape " + formatShape(expected.shape) + " of " + expected.name +
                     " as config.json says, found " + formatShape(view->shape));
  if (!isPlainFloat(view->dtype))
    return userError(directory + ": expected " + expected.name + " of type F32, F16 or BF16, found " +
                     std::string(name(view->dtype)));
  return ok();
}

Status Checkpoint::validate(const ModelConfig &config) {
  quantization = config.quantization;
  quantizedMatrices.clear();
  std::set<std::string_view> used;
  std::vector<std::string> missing;
  for (const ExpectedTensor &expected : expectedTensors(config)) {
    if (isQuantized(expected)) {
      if (Status status = checkQuantized(expected, used); !status)
        return status;
      continue;
    }
    const TensorView *stored = lookUpWhole(expected.name);
    if (!stored) {
      missing.push_back(quantization ? quantization->storedName(expected.name) : expected.name);
      continue;
    }
    used.insert(stored->name);
    if (Status status = checkPlain(expected); !status)
      return status;
  }
  if (!missing.empty())
    return userError(directory + ": missing tensor " + listNames(missing));
  std::vector<std::string> extra;
  for (const auto &[name, view] : tensors)
    if (!used.contains(name) && !isIgnored(name, config) && !isZeroBias(name))
      extra.emplace_back(name);
  if (!extra.empty())
    return userError(directory + ": unexpected tensor " + listNames(extra) +
                     " (config.json has no place for it)");
  return ok();
}

} // namespace qwench::hf
