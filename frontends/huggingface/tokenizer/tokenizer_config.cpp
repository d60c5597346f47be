// tokenizer_config.json and chat_template.jinja of a model directory.
#include "frontends/huggingface/tokenizer/tokenizer.h"
#include "frontends/huggingface/tokenizer/tokenizer_json.h"
#include "runtime/abi/tokenizer_format.h"
#include "runtime/tokenizer/chat_template.h"
#include "runtime/tokenizer/unicode.h"

#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

namespace qwench::hf {
namespace {

using Json = nlohmann::json;

// The largest tokenizer.json known has 33 MB.
constexpr std::uintmax_t kMaxFileBytes = std::uintmax_t{256} << 20;

// A file's text; nothing if there is no such file.
Result<std::optional<std::string>> readText(const std::string &path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found)
    return std::optional<std::string>();
  if (status.type() != std::filesystem::file_type::regular)
    return userError(path + ": expected a readable file" + (error ? ", found: " + error.message() : ""));
  const std::uintmax_t bytes = std::filesystem::file_size(path, error);
  if (error || bytes > kMaxFileBytes)
    return userError(path + ": expected at most " + std::to_string(kMaxFileBytes) + " bytes, found " +
                     (error ? error.message() : std::to_string(bytes)));
  std::ifstream file(path, std::ios::binary);
  std::string text(bytes, '\0');
  if (!file || !file.read(text.data(), static_cast<std::streamsize>(bytes)))
    return userError(path + ": cannot read " + std::to_string(bytes) + " bytes: " + strerror(errno));
  return std::optional<std::string>(std::move(text));
}

std::string configPath(const std::string &directory) { return directory + "/tokenizer_config.json"; }

// The configuration; null if there is none.
Result<Json> readConfig(const std::string &directory) {
  Result<std::optional<std::string>> text = readText(configPath(directory));
  if (!text)
    return text.takeError();
  if (!*text)
    return Json(nullptr);
  Json config = Json::parse(**text, nullptr, false);
  if (!config.is_object())
    return userError(configPath(directory) + ": expected a JSON object, found " +
                     (config.is_discarded() ? "a syntax error" : config.type_name()));
  return config;
}

Status checkSwitches(const Json &config, const std::string &path) {
  for (const char *key : {"add_bos_token", "add_eos_token", "add_prefix_space", "split_special_tokens",
                          "clean_up_tokenization_spaces"})
    if (const auto found = config.find(key); found != config.end() && !found->is_null() && *found != false)
      return userError(path + ": " + key + ": expected false, found " +
                       found->dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 60));
  return ok();
}

// transformers adds the tokens listed here to those of tokenizer.json: there must be none that are missing
// there.
Status checkAddedTokens(const Json &config, const TokenizerDescription &description,
                        const std::string &path) {
  const auto decoder = config.find("added_tokens_decoder");
  if (decoder == config.end() || !decoder->is_object())
    return ok();
  for (const auto &[id, entry] : decoder->items()) {
    const std::string content = entry.is_object() && entry.contains("content") && entry["content"].is_string()
                                    ? entry["content"].get<std::string>()
                                    : "";
    bool found = false;
    for (const AddedToken &token : description.added) {
      const bool special = entry.is_object() && entry.contains("special") && entry["special"] == true;
      found |= std::to_string(token.id) == id && token.content == content &&
               special == ((token.flags & QWENCH_ADDED_SPECIAL) != 0);
    }
    if (!found)
      return userError(path + ": added_tokens_decoder: expected tokens of tokenizer.json, found " +
                       Json(id.substr(0, 20) + " " + content.substr(0, 60))
                           .dump(-1, ' ', false, Json::error_handler_t::replace));
  }
  return ok();
}

Result<std::string> templateOfConfig(const Json &config, const std::string &path) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null())
    return std::string();
  if (found->is_string())
    return found->get<std::string>();
  if (found->is_array())
    for (const Json &entry : *found)
      if (entry.is_object() && entry.contains("name") && entry["name"] == "default" &&
          entry.contains("template") && entry["template"].is_string())
        return entry["template"].get<std::string>();
  return userError(path + ": chat_template: expected a text, or a list with one named \"default\", found " +
                   std::string(found->type_name()));
}

} // namespace

Result<std::vector<uint8_t>> readTokenizerBlob(const std::string &directory) {
  const std::string path = directory + "/tokenizer.json";
  Result<std::optional<std::string>> text = readText(path);
  if (!text)
    return text.takeError();
  if (!*text)
    return userError(path + ": expected a tokenizer, found no such file");
  Result<Json> config = readConfig(directory);
  if (!config)
    return config.takeError();
  Result<TokenizerDescription> description = parseTokenizerJson(**text);
  if (!description)
    return userError(directory + "/" + description.error().message);
  if (config->is_object())
    for (Status status : {checkSwitches(*config, configPath(directory)),
                          checkAddedTokens(*config, *description, configPath(directory))})
      if (!status)
        return status.takeError();
  Result<std::vector<uint8_t>> blob = writeTokenizerBlob(*description);
  if (!blob)
    return userError(directory + "/" + blob.error().message);
  return blob;
}

Result<std::string> readChatTemplate(const std::string &directory) {
  std::string path = directory + "/chat_template.jinja";
  Result<std::optional<std::string>> file = readText(path);
  if (!file)
    return file.takeError();
  std::string text;
  if (*file) {
    text = std::move(**file);
  } else {
    path = configPath(directory);
    Result<Json> config = readConfig(directory);
    if (!config)
      return config.takeError();
    if (!config->is_object())
      return std::string();
    Result<std::string> inner = templateOfConfig(*config, path);
    if (!inner)
      return inner.takeError();
    text = inner.take();
  }
  if (validUtf8Prefix(text) != text.size())
    return userError(path + ": chat template: expected UTF-8, found another byte at " +
                     std::to_string(validUtf8Prefix(text)));
  if (Result<ChatTemplate> parsed = ChatTemplate::parse(text); !parsed)
    return userError(path + ": " + parsed.error().message);
  return text;
}

Result<std::vector<std::pair<std::string, std::string>>> readSpecialTokens(const std::string &directory) {
  Result<Json> config = readConfig(directory);
  if (!config)
    return config.takeError();
  std::vector<std::pair<std::string, std::string>> tokens;
  if (!config->is_object())
    return tokens;
  for (const char *name :
       {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
    const auto found = config->find(name);
    if (found == config->end() || found->is_null())
      continue;
    const Json &text = found->is_object() && found->contains("content") ? (*found)["content"] : *found;
    if (!text.is_string())
      return userError(configPath(directory) + ": " + name + ": expected a text, found " +
                       found->type_name());
    tokens.emplace_back(name, text.get<std::string>());
  }
  return tokens;
}

} // namespace qwench::hf
