// tokenize and template: the model's text side without the model.
#include "runtime/app/generation.h"

namespace qwench::app {

namespace {

constexpr uint64_t kMaxText = 1u << 30;
using nlohmann::ordered_json;

struct TokenizeOptions {
  std::string bundle;
  bool toText = false;
};

struct TemplateOptions {
  std::string bundle, messages, tools;
  bool noThink = false, noGenerationPrompt = false;
};

Result<TextModel> openText(const std::string &bundle) {
  Result<ModelFile> model = openModelFile(bundle);
  if (!model)
    return model.takeError();
  return TextModel::open(*model);
}

/// A JSON list, or ids with commas or white space between.
Result<std::vector<int32_t>> readIds(std::string text, int64_t count) {
  const size_t first = text.find_first_not_of(" \t\r\n"), last = text.find_last_not_of(" \t\r\n");
  if (first == std::string::npos)
    return std::vector<int32_t>();
  text = text.substr(first, last + 1 - first);
  if (text.front() == '[' && text.back() == ']' && text.size() > 1)
    text = text.substr(1, text.size() - 2);
  if (text.find_first_not_of(" \t\r\n") == std::string::npos)
    return std::vector<int32_t>();
  return parseTokens(text, count, "standard input");
}

Status runTokenize(const TokenizeOptions &options) {
  Result<TextModel> text = openText(options.bundle);
  if (!text)
    return text.takeError();
  Result<std::string> input = readWhole("-", kMaxText);
  if (!input)
    return input.takeError();
  if (options.toText) {
    Result<std::vector<int32_t>> ids = readIds(input.take(), qwench_program.vocab_size);
    return ids ? writeOut(text->tokenizer().decode(*ids)) : Status(ids.takeError());
  }
  std::string list = "[";
  for (int32_t id : text->tokenizer().encode(*input))
    list.append(list.size() > 1 ? ", " : "").append(std::to_string(id));
  return writeOut(list + "]\n");
}

/// A JSON file, or stdin.
Result<ordered_json> readJson(const std::string &path) {
  Result<std::string> text = readWhole(path, kMaxText);
  if (!text)
    return text.takeError();
  ordered_json value = ordered_json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded())
    return userError("'" + path + "': expected JSON");
  return value;
}

Status runTemplate(const TemplateOptions &options) {
  Result<TextModel> text = openText(options.bundle);
  if (!text)
    return text.takeError();
  Result<ordered_json> messages = readJson(options.messages);
  if (!messages)
    return messages.takeError();
  if (!messages->is_array())
    return userError("'" + options.messages + "': expected a JSON list of messages");
  ordered_json tools = nullptr;
  if (!options.tools.empty()) {
    Result<ordered_json> read = readJson(options.tools);
    if (!read)
      return read.takeError();
    tools = read.take();
    if (!tools.is_array())
      return userError("'" + options.tools + "': expected a JSON list of tools");
  }
  Result<std::string> prompt = text->render(
      *messages, tools, options.noThink ? std::optional(false) : std::nullopt, !options.noGenerationPrompt);
  return prompt ? writeOut(*prompt) : Status(prompt.takeError());
}

} // namespace

void addTokenize(CLI::App &app, Command &chosen) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App *sub = app.add_subcommand("tokenize", "standard input to a JSON list of token ids, and back");
  sub->add_flag("--ids-to-text", options->toText, "read a list of ids, write their text");
  addBundleOption(*sub, options->bundle);
  sub->footer("Examples:\n"
              "  echo -n \"Hello\" | NAME tokenize\n"
              "  echo \"[9707]\" | NAME tokenize --ids-to-text");
  sub->callback([options, &chosen] { chosen = [options] { return runTokenize(*options); }; });
}

void addTemplate(CLI::App &app, Command &chosen) {
  auto options = std::make_shared<TemplateOptions>();
  CLI::App *sub = app.add_subcommand("template", "the prompt that the chat template makes of a conversation");
  sub->add_option("--messages", options->messages, "JSON list of {role, content, ...}; - is stdin")
      ->type_name("F.json")
      ->required();
  sub->add_option("--tools", options->tools, "JSON list of tools")->type_name("F.json");
  sub->add_flag("--no-think", options->noThink, "set enable_thinking to false");
  sub->add_flag("--no-generation-prompt", options->noGenerationPrompt, "without the start of the answer");
  addBundleOption(*sub, options->bundle);
  sub->footer("Example: NAME template --messages conversation.json --no-think");
  sub->callback([options, &chosen] { chosen = [options] { return runTemplate(*options); }; });
}

} // namespace qwench::app
