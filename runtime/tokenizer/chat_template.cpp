#include "runtime/tokenizer/chat_template.h"

#include "runtime/tokenizer/jinja/evaluate.h"
#include "runtime/tokenizer/jinja/parser.h"
#include "runtime/tokenizer/unicode.h"

#include <nlohmann/json.hpp>

namespace qwench {
namespace {

using Json = nlohmann::ordered_json;
using jinja::Dict;
using jinja::Value;

constexpr int kMaxJsonDepth = 100;

Result<Value> toValue(const Json &json, const std::string &where, int depth = 0) {
  if (depth > kMaxJsonDepth)
    return userError(where + ": expected values that nest at most " + std::to_string(kMaxJsonDepth) +
                     " deep");
  switch (json.type()) {
  case Json::value_t::null:
    return Value(jinja::None{});
  case Json::value_t::boolean:
    return Value(json.get<bool>());
  case Json::value_t::number_integer:
    return Value(json.get<int64_t>());
  case Json::value_t::number_unsigned:
    if (json.get<uint64_t>() > INT64_MAX)
      return userError(where + ": expected whole numbers of 64 bits with a sign, found " + json.dump());
    return Value(json.get<int64_t>());
  case Json::value_t::number_float:
    return Value(json.get<double>());
  case Json::value_t::string: {
    const std::string &text = json.get_ref<const std::string &>();
    if (validUtf8Prefix(text) != text.size())
      return userError(where + ": expected UTF-8");
    return Value(text);
  }
  case Json::value_t::array: {
    std::vector<Value> items;
    for (const Json &element : json) {
      Result<Value> item = toValue(element, where, depth + 1);
      if (!item)
        return item;
      items.push_back(item.take());
    }
    return Value::list(std::move(items));
  }
  case Json::value_t::object: {
    auto dict = std::make_shared<Dict>();
    for (const auto &[key, element] : json.items()) {
      Result<Value> item = toValue(element, where, depth + 1);
      if (!item)
        return item;
      dict->append(key, item.take());
    }
    return Value(std::shared_ptr<const Dict>(dict));
  }
  default:
    return userError(where + ": expected JSON, found " + json.type_name());
  }
}

Status checkMessages(const Json &messages) {
  if (!messages.is_array())
    return userError(std::string("messages: expected a list, found ") + messages.type_name());
  for (size_t i = 0; i < messages.size(); ++i)
    if (!messages[i].is_object())
      return userError("messages[" + std::to_string(i) + "]: expected an object, found " +
                       messages[i].type_name());
  return ok();
}

} // namespace

Result<ChatTemplate> ChatTemplate::parse(std::string_view text) {
  Result<jinja::Template> parsed = jinja::parseTemplate(text);
  if (!parsed)
    return parsed.takeError();
  return ChatTemplate(std::make_unique<jinja::Template>(parsed.take()));
}

ChatTemplate::ChatTemplate(std::unique_ptr<jinja::Template> parsed) : parsed(std::move(parsed)) {}
ChatTemplate::ChatTemplate(ChatTemplate &&) noexcept = default;
ChatTemplate &ChatTemplate::operator=(ChatTemplate &&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

Result<std::string> ChatTemplate::render(const Json &messages, const Json &tools,
                                         const ChatOptions &options) const {
  if (Status status = checkMessages(messages); !status)
    return status.takeError();
  Dict variables;
  for (const auto &[name, text] : options.variables)
    variables.set(name, Value(text));
  for (const auto &[name, json] :
       {std::pair<const char *, const Json &>("messages", messages), {"tools", tools}}) {
    Result<Value> value = toValue(json, name);
    if (!value)
      return value.takeError();
    variables.set(name, value.take());
  }
  variables.set("documents", Value(jinja::None{}));
  variables.set("add_generation_prompt", Value(options.addGenerationPrompt));
  if (options.enableThinking)
    variables.set("enable_thinking", Value(*options.enableThinking));
  return jinja::renderTemplate(*parsed, std::move(variables));
}

} // namespace qwench
