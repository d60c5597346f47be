// run: one prompt, one answer.
#include "runtime/app/generation.h"

namespace qwench::app {

namespace {

constexpr uint64_t kMaxPrompt = 256u << 20; // bytes

struct Options {
  CommonOptions common;
  SamplingOptions sampling;
  std::vector<std::string> words;
  std::string system;
  int64_t count = 0;
  bool raw = false, noThink = false;
};

Result<std::string> readPrompt(const Options &options) {
  std::string prompt;
  for (const std::string &word : options.words)
    prompt += (prompt.empty() ? "" : " ") + word;
  if (!options.words.empty())
    return prompt;
  Result<std::string> text = readWhole("-", kMaxPrompt);
  if (!text)
    return text;
  if (!options.raw && !text->empty() && text->back() == '\n')
    text->pop_back();
  return text;
}

/// The prompt as the model is to see it: through the chat template, if there is one and --raw is not given.
Result<std::string> applyTemplate(const Options &options, const TextModel &text, std::string prompt) {
  if (options.raw || !text.hasTemplate())
    return prompt;
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  if (!options.system.empty())
    messages.push_back({{"role", "system"}, {"content", options.system}});
  messages.push_back({{"role", "user"}, {"content", prompt}});
  return text.render(messages, nullptr, options.noThink ? std::optional(false) : std::nullopt, true);
}

Status answer(const Options &options, Engine &engine, const TextModel &text, const std::string &prompt) {
  const GenerationDefaults &defaults = engine.model.metadata().generation;
  Result<QwenchSampling> sampling = resolveSampling(options.sampling, defaults);
  if (!sampling)
    return sampling.takeError();
  std::vector<int32_t> ids = text.tokenizer().encode(prompt);
  if (ids.empty())
    return userError("expected a prompt, found an empty one");
  engine.session->limitSampling(text.tokenizer().size());
  if (Outcome outcome = engine.session->prefill(0, ids); !outcome)
    return toStatus(std::move(outcome));
  AnswerPrinter printer(text.tokenizer(), stdoutIsTerminal(), !options.raw && prompt.ends_with("<think>\n"));
  Result<Stop> stop = continueSequence(*engine.session, {options.count, *sampling, defaults.endTokens},
                                       [&](size_t, int32_t token) { return printer.push(token); });
  if (!stop)
    return stop.takeError();
  if (Status status = printer.finish(); !status)
    return status;
  if (*stop == Stop::ContextFull)
    fprintf(stderr, "%s: stopped: the context of %lld tokens is full\n", program_invocation_short_name,
            static_cast<long long>(engine.session->context()));
  return ok();
}

Status run(const Options &options) {
  if (options.count < 0)
    return userError("-n: expected at least 0, found " + std::to_string(options.count));
  Result<std::string> prompt = readPrompt(options);
  if (!prompt)
    return prompt.takeError();
  Result<Engine> engine = openEngine(options.common);
  if (!engine)
    return engine.takeError();
  Result<TextModel> text = TextModel::open(engine->model);
  if (!text)
    return text.takeError();
  Result<std::string> rendered = applyTemplate(options, *text, prompt.take());
  if (!rendered)
    return rendered.takeError();
  return answer(options, *engine, *text, *rendered);
}

} // namespace

void addRun(CLI::App &app, Command &chosen) {
  auto options = std::make_shared<Options>();
  CLI::App *sub = app.add_subcommand("run", "answer one prompt");
  sub->add_option("prompt", options->words, "the prompt [default: standard input]");
  sub->add_option("-n", options->count, "most tokens to generate; 0: until the model ends")
      ->type_name("N")
      ->capture_default_str();
  sub->add_option("--system", options->system, "system message")->type_name("TEXT");
  sub->add_flag("--raw", options->raw, "continue the text as it is, without the chat template");
  sub->add_flag("--no-think", options->noThink, "ask the chat template for an answer without thinking");
  addSamplingOptions(*sub, options->sampling);
  addCommonOptions(*sub, options->common);
  sub->footer("Examples:\n"
              "  NAME run \"Why is the sky blue?\"\n"
              "  NAME run --raw -n 32 --greedy \"Once upon a time\"\n"
              "  NAME run --temp 0.7 --top-p 0.8 --top-k 20 --seed 1 < question.txt");
  sub->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

} // namespace qwench::app
