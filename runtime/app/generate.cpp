// generate: token ids in, tokens out; needs no tokenizer with --ids.
#include "runtime/app/generation.h"

namespace qwench::app {

namespace {

constexpr int64_t kDefaultCount = 128;

struct Options {
  CommonOptions common;
  SamplingOptions sampling;
  std::vector<std::string> tokens;
  std::string tokensFile;
  std::optional<int64_t> count;
  bool ids = false, ignoreEnd = false;
};

Result<std::vector<std::vector<int32_t>>> readPrompts(const Options &options) {
  std::vector<std::vector<int32_t>> prompts;
  if (options.tokens.size() > 1 && options.tokensFile.empty()) {
    for (const std::string &list : options.tokens) {
      Result<std::vector<int32_t>> prompt = parseTokens(list, qwench_program.vocab_size, "--tokens");
      if (!prompt)
        return prompt.takeError();
      prompts.push_back(prompt.take());
    }
    return prompts;
  }
  Result<std::vector<int32_t>> prompt =
      readTokens(options.tokens.empty() ? "" : options.tokens.front(), options.tokensFile);
  if (!prompt)
    return prompt.takeError();
  prompts.push_back(prompt.take());
  return prompts;
}

/// Prints one prompt's tokens as they come, or, of several prompts, a line each at the end.
Status printTokens(Engine &engine, const std::vector<std::vector<int32_t>> &prompts,
                   const GenerationLimits &limits, bool ids) {
  std::optional<TextModel> text;
  if (!ids) {
    Result<TextModel> opened = TextModel::open(engine.model);
    if (!opened)
      return opened.takeError();
    text.emplace(opened.take());
  }
  std::vector<std::vector<int32_t>> results(prompts.size());
  std::optional<StreamDecoder> decoder;
  if (text)
    decoder.emplace(text->tokenizer());
  Status status = generate(*engine.session, prompts, limits, [&](size_t prompt, int32_t token) -> Status {
    results[prompt].push_back(token);
    if (prompts.size() > 1)
      return ok();
    if (decoder)
      return writeOut(decoder->push(token));
    return writeOut((results[0].size() > 1 ? "," : "") + std::to_string(token));
  });
  if (!status)
    return status;
  if (prompts.size() == 1)
    return writeOut((decoder ? decoder->finish() : "") + "\n");
  for (const std::vector<int32_t> &result : results)
    if (Status s = writeOut((text ? text->tokenizer().decode(result) : joinIds(result)) + "\n"); !s)
      return s;
  return ok();
}

Status run(const Options &options) {
  if (options.count && *options.count < 1)
    return userError("-n: expected at least 1, found " + std::to_string(*options.count));
  Result<std::vector<std::vector<int32_t>>> prompts = readPrompts(options);
  if (!prompts)
    return prompts.takeError();
  int64_t longest = 0;
  for (const std::vector<int32_t> &prompt : *prompts)
    longest = std::max<int64_t>(longest, prompt.size());
  // The last token is drawn, not appended.
  const int64_t limit = options.common.context > 0 ? options.common.context : qwench_program.max_context;
  const int64_t count = options.count.value_or(std::clamp<int64_t>(limit - longest + 1, 1, kDefaultCount)),
                last = count - 1;
  if (longest > limit - last || last > limit)
    return userError("context overflow: " + std::to_string(longest) + " tokens and " + std::to_string(last) +
                     " more exceed the context of " + std::to_string(limit));
  Result<Engine> engine = openEngine(options.common, longest + last, static_cast<int>(prompts->size()));
  if (!engine)
    return engine.takeError();
  const GenerationDefaults &defaults = engine->model.metadata().generation;
  Result<QwenchSampling> sampling = resolveSampling(options.sampling, defaults);
  if (!sampling)
    return sampling.takeError();
  GenerationLimits limits{count, *sampling, {}};
  if (!options.ignoreEnd)
    limits.endTokens = defaults.endTokens;
  return printTokens(*engine, *prompts, limits, options.ids);
}

} // namespace

void addGenerate(CLI::App &app, Command &chosen) {
  auto options = std::make_shared<Options>();
  CLI::App *sub = app.add_subcommand("generate", "continue token ids");
  sub->add_option("--tokens", options->tokens,
                  "prompt: ids with commas between; several prompts run as a batch")
      ->type_name("IDS")
      ->take_all()
      ->allow_extra_args(false);
  sub->add_option("--tokens-file", options->tokensFile, "file with the prompt's ids; - is stdin")
      ->type_name("FILE");
  sub->add_option("-n", options->count, "tokens to generate [default: 128 or what the context holds]")
      ->type_name("N");
  sub->add_flag("--ids", options->ids, "print token ids instead of text");
  sub->add_flag("--ignore-eos", options->ignoreEnd, "go on after an end token");
  addSamplingOptions(*sub, options->sampling);
  addCommonOptions(*sub, options->common);
  sub->footer("Prints the new tokens, the end token included, separated by commas with --ids.\n"
              "Example: NAME generate --tokens 1,2,3 -n 16 --greedy --ids");
  sub->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

} // namespace qwench::app
