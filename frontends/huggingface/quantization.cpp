#include "frontends/huggingface/quantization.h"

#include "frontends/huggingface/config_keys.h"

#include <algorithm>

namespace qwench::hf {
namespace {

constexpr int64_t kMaxGroup = int64_t(1) << 20;
/// Codes of a word along K; groups begin at whole words.
constexpr int64_t kGroupGranule = 8;
constexpr int64_t kFp8Block = 128;

/// Keys that say how the checkpoint was made, how another program is to load it, or what its tensors tell.
constexpr std::string_view kHarmless[] = {
    "act_group_aware",
    "backend",
    "batch_size",
    "block_name_to_quantize",
    "cache_block_outputs",
    "damp_auto_increment",
    "damp_percent",
    "dataset",
    "dequantize",
    "disable_exllama",
    "do_fuse",
    "exllama_config",
    "fuse_max_seq_len",
    "hyb_act",
    "lm_head",
    "max_input_length",
    "meta",
    "model_file_base_name",
    "model_name_or_path",
    "model_seqlen",
    "module_name_preceding_first_block",
    "modules_in_block_to_quantize",
    "modules_to_convert",
    "modules_to_fuse",
    "mse",
    "pad_token_id",
    "scale_fmt",
    "static_groups",
    "tokenizer",
    "true_sequential",
    "use_cuda_fp16",
    "use_exllama",
};

/// The configuration's keys, method by method.
class QuantizationReader {
public:
  QuantizationReader(const Json &object, std::string_view where)
      : reader(object, where, "quantization_config."), where(where) {}

  QuantizationConfig read(std::vector<std::string> &warnings);
  Status status() const { return reader.status(); }

private:
  void readFp8();
  void readGptq();
  void readAwq();
  void readNotConverted(const std::string &key);
  void readDynamic();
  int64_t readGroup();
  /// A string that has to be one of `allowed`; absent is the first.
  std::string oneOf(const std::string &key, std::initializer_list<std::string_view> allowed);
  void warnOfUnread(std::vector<std::string> &warnings);

  ObjectReader reader;
  std::string_view where;
  QuantizationConfig config;
};

std::string lowerCase(std::string text) {
  for (char &c : text)
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

std::string QuantizationReader::oneOf(const std::string &key,
                                      std::initializer_list<std::string_view> allowed) {
  std::string text = lowerCase(reader.string(key).value_or(std::string(*allowed.begin())));
  if (std::find(allowed.begin(), allowed.end(), text) != allowed.end())
    return text;
  std::string list;
  for (std::string_view choice : allowed)
    list += (list.empty() ? "\"" : " or \"") + std::string(choice) + "\"";
  reader.failExpected(key, list, text);
  return std::string(*allowed.begin());
}

QuantizationConfig QuantizationReader::read(std::vector<std::string> &warnings) {
  const Json *method = reader.value("quant_method");
  if (method && *method == "fp8")
    readFp8();
  else if (method && *method == "gptq")
    readGptq();
  else if (method && *method == "awq")
    readAwq();
  else
    reader.fail("expected weights of f32, f16 or bf16, or quant_method \"fp8\", \"gptq\" or \"awq\", found "
                "quantization_config with quant_method " +
                (method ? show(*method) : std::string("unknown")) + ", which is not supported");
  readNotConverted("modules_to_not_convert");
  readNotConverted("ignored_layers"); // as vLLM spells it
  warnOfUnread(warnings);
  return config;
}

void QuantizationReader::readFp8() {
  config.method = QuantMethod::Fp8;
  config.blockRows = config.group = kFp8Block;
  oneOf("fmt", {"e4m3"});
  oneOf("activation_scheme", {"dynamic"});
  oneOf("expert_dtype", {"fp8"});
  const Json *block = reader.value("weight_block_size");
  if (!block || *block != Json::array({kFp8Block, kFp8Block}))
    reader.failExpected("weight_block_size", "[128, 128] (nothing else is supported)",
                        block ? *block : Json());
}

int64_t QuantizationReader::readGroup() {
  int64_t group = reader.integer("group_size", 128, -1, kMaxGroup);
  if (group != -1 && (group == 0 || group % kGroupGranule != 0))
    reader.failExpected("group_size", "-1 or a multiple of " + std::to_string(kGroupGranule), group);
  return group == -1 ? 0 : group;
}

void QuantizationReader::readGptq() {
  config.method = QuantMethod::Gptq;
  const Json *bits = reader.value("bits");
  config.bits = bits && *bits == 8 ? 8 : 4;
  if (!bits || *bits != config.bits)
    reader.failExpected("bits", "4 or 8", bits ? *bits : Json());
  config.group = readGroup();
  config.symmetric = reader.boolean("sym", true);
  config.actOrder = reader.boolean("desc_act", false);
  std::string format =
      oneOf(reader.has("checkpoint_format") ? "checkpoint_format" : "format", {"gptq", "gptq_v2"});
  config.zerosMinusOne = format == "gptq";
  // GPTQModel has written the same under both names.
  if (reader.string("format").value_or(format) != format)
    reader.failExpected("format", "what checkpoint_format says", reader.string("format").value_or(""));
  oneOf("pack_dtype", {"int32"});
  if (reader.boolean("is_marlin_format", false))
    reader.failExpected("is_marlin_format", "false (nothing else is supported)", true);
  for (const char *key : {"rotation", "adapter"})
    if (const Json *value = reader.value(key))
      reader.failExpected(key, "null (nothing else is supported)", *value);
  readDynamic();
}

/// GPTQModel's exceptions from the rule: "-:PATTERN" leaves modules out, as their tensors show; everything
/// else gives modules bits and groups of their own.
void QuantizationReader::readDynamic() {
  const Json *dynamic = reader.value("dynamic");
  if (!dynamic)
    return;
  bool plain = dynamic->is_object();
  if (plain)
    for (const auto &[pattern, settings] : dynamic->items())
      plain &= pattern.starts_with("-:");
  if (!plain)
    reader.failExpected("dynamic", "to leave modules out only (\"-:PATTERN\")", *dynamic);
}

void QuantizationReader::readAwq() {
  config.method = QuantMethod::Awq;
  const Json *bits = reader.value("bits");
  config.bits = 4;
  if (bits && *bits != 4)
    reader.failExpected("bits", "4", *bits);
  config.group = readGroup();
  if (!reader.boolean("zero_point", true))
    reader.failExpected("zero_point", "true (the gemm layout has zero points)", false);
  oneOf("version", {"gemm"});
  oneOf("format", {"gemm"});                  // 5.x's name of version
  for (const char *key : {"sym", "desc_act"}) // 5.x writes gptq's keys, too
    reader.markRead(key);
  std::string backend = lowerCase(reader.string("backend").value_or("autoawq"));
  if (backend == "llm-awq")
    reader.failExpected("backend", "\"autoawq\" (llm-awq lays tensors out differently)", backend);
}

void QuantizationReader::readNotConverted(const std::string &key) {
  const Json *list = reader.value(key);
  if (!list)
    return;
  if (!list->is_array())
    return reader.failExpected(key, "to be a list of module names", *list);
  for (const Json &item : *list) {
    if (!item.is_string() || item.get_ref<const std::string &>().empty())
      return reader.failExpected(key, "to hold module names", item);
    config.notConverted.push_back(item.get<std::string>());
  }
}

void QuantizationReader::warnOfUnread(std::vector<std::string> &warnings) {
  for (const std::string &key : reader.unread())
    if (std::find(std::begin(kHarmless), std::end(kHarmless), key) == std::end(kHarmless))
      warnings.push_back(std::string(where) + ": unknown key " + show("quantization_config." + key) +
                         " is ignored");
}

/// Whether `part` is a run of whole components of `path`.
bool containsComponents(std::string_view path, std::string_view part) {
  for (size_t at = path.find(part); at != std::string_view::npos; at = path.find(part, at + 1)) {
    size_t end = at + part.size();
    if ((at == 0 || path[at - 1] == '.') && (end == path.size() || path[end] == '.'))
      return true;
  }
  return false;
}

} // namespace

std::string_view name(QuantMethod method) {
  return method == QuantMethod::Fp8 ? "fp8" : method == QuantMethod::Gptq ? "gptq" : "awq";
}

std::string QuantizationConfig::storedName(const std::string &tensor) const {
  if (method == QuantMethod::Fp8 || !converts(tensor))
    return tensor;
  return tensor.substr(0, tensor.size() - std::string_view("weight").size()) + "qweight";
}

bool QuantizationConfig::excludes(std::string_view tensor) const {
  constexpr std::string_view suffix = ".weight";
  if (tensor.ends_with(suffix))
    tensor.remove_suffix(suffix.size());
  return std::any_of(notConverted.begin(), notConverted.end(),
                     [&](const std::string &part) { return containsComponents(tensor, part); });
}

bool QuantizationConfig::converts(std::string_view tensor) const {
  return tensor.find(".layers.") != std::string_view::npos && tensor.ends_with("_proj.weight") &&
         !excludes(tensor);
}

std::optional<QuantizationConfig> readQuantization(ObjectReader &reader, std::string_view where,
                                                   std::vector<std::string> &warnings) {
  const Json *object = reader.value("quantization_config");
  if (!object)
    return std::nullopt;
  if (!object->is_object()) {
    reader.failExpected("quantization_config", "to be an object", *object);
    return std::nullopt;
  }
  QuantizationReader quantization(*object, where);
  QuantizationConfig config = quantization.read(warnings);
  if (Status status = quantization.status(); !status)
    reader.adopt(status.takeError());
  return config;
}

} // namespace qwench::hf
