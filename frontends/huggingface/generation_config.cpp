#include "frontends/huggingface/generation_config.h"

#include "frontends/huggingface/json.h"

#include <unistd.h>

namespace qwench::hf {
namespace {

constexpr uint64_t kMaxBytes = 1 << 20;

/// Settings that would change which token is drawn and that the generated program does not have, with the
/// value at which they change nothing.
struct NeutralSetting {
  const char *key, *neutral; ///< JSON text
};
constexpr NeutralSetting kUnsupported[] = {
    {"repetition_penalty", "1.0"},
    {"presence_penalty", "0.0"},
    {"frequency_penalty", "0.0"},
    {"encoder_repetition_penalty", "1.0"},
    {"no_repeat_ngram_size", "0"},
    {"typical_p", "1.0"},
    {"epsilon_cutoff", "0.0"},
    {"eta_cutoff", "0.0"},
    {"num_beams", "1"},
    {"penalty_alpha", "null"},
    {"bad_words_ids", "null"},
    {"suppress_tokens", "null"},
    {"begin_suppress_tokens", "null"},
    {"guidance_scale", "null"},
    {"sequence_bias", "null"},
};

void warnOfUnsupported(ObjectReader &reader, std::string_view where, std::vector<std::string> &warnings) {
  for (const NeutralSetting &setting : kUnsupported) {
    const Json *found = reader.value(setting.key);
    if (found && *found != Json::parse(setting.neutral))
      warnings.push_back(std::string(where) + ": " + setting.key + " " + show(*found) +
                         " is not supported and ignored");
  }
}

std::optional<int64_t> firstId(const std::vector<int64_t> &ids) {
  return ids.empty() ? std::nullopt : std::optional<int64_t>(ids.front());
}

/// Without a file: the ids of config.json and transformers' settings.
GenerationConfig fallback(const ModelConfig &config) {
  GenerationConfig generation;
  generation.bosId = config.bosId;
  generation.padId = config.padId;
  generation.eosIds = config.eosIds;
  return generation;
}

} // namespace

Result<GenerationConfig> parseGenerationConfig(std::string_view text, std::string_view where,
                                               const ModelConfig &config) {
  Result<Json> json = parseJson(text, where);
  if (!json)
    return json.takeError();
  ObjectReader reader(*json, where);
  GenerationConfig generation = fallback(config);
  std::vector<std::string> &warnings = generation.warnings;
  generation.doSample = reader.boolean("do_sample", false);
  // Greedy configurations carry temperature 0 now and then; nobody looks at it there.
  if (generation.doSample || reader.value("temperature") == nullptr || *reader.value("temperature") != 0)
    generation.temperature = reader.optionalNumber("temperature", 0, 1000).value_or(1);
  if (!reader.isNull("top_k"))
    generation.topK = reader.integer("top_k", 50, 0, INT32_MAX);
  generation.topP = reader.optionalNumber("top_p", 0, 1).value_or(1);
  if (const Json *minP = reader.value("min_p"); minP && *minP != 0)
    generation.minP = reader.optionalNumber("min_p", 0, 1).value_or(0);
  if (std::vector<int64_t> ids = readTokenIds(reader, "eos_token_id", config.vocab, where, warnings);
      !ids.empty())
    generation.eosIds = std::move(ids);
  if (auto id = firstId(readTokenIds(reader, "bos_token_id", config.vocab, where, warnings)))
    generation.bosId = id;
  if (auto id = firstId(readTokenIds(reader, "pad_token_id", config.vocab, where, warnings)))
    generation.padId = id;
  warnOfUnsupported(reader, where, warnings);
  if (Status status = reader.status(); !status)
    return status.takeError();
  return generation;
}

Result<GenerationConfig> readGenerationConfig(const std::string &directory, const ModelConfig &config) {
  std::string path = directory + "/generation_config.json";
  if (access(path.c_str(), F_OK) != 0)
    return fallback(config);
  Result<std::string> text = readTextFile(path, kMaxBytes);
  if (!text)
    return text.takeError();
  return parseGenerationConfig(*text, path, config);
}

} // namespace qwench::hf
