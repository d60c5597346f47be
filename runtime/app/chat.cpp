// No subcommand: a conversation in the terminal. Each turn renders the whole conversation and feeds what the
// KV cache does not hold yet.
#include "runtime/app/generation.h"

#include <algorithm>

namespace qwench::app {

namespace {

struct Options {
  CommonOptions common;
  SamplingOptions sampling;
  std::string system;
  bool noThink = false;
};

class Chat {
public:
  Chat(const Options &options, Engine &engine, const TextModel &text, const QwenchSampling &sampling)
      : options(options), engine(engine), text(text),
        limits{0, sampling, engine.model.metadata().generation.endTokens} {
    reset();
  }

  Status loop();

private:
  void reset();
  Status turn(const std::string &question);
  /// False if Ctrl-C came first; `cached` says what was fed.
  Result<bool> feed(const std::string &prompt);
  Status speak(bool thinking, std::string &answer);
  /// Handles "/reset" and the like; sets `leave` at "/exit". False for what is no such command.
  bool slashCommand(const std::string &line, bool &leave);

  const Options &options;
  Engine &engine;
  const TextModel &text;
  GenerationLimits limits;
  nlohmann::ordered_json messages;
  std::vector<int32_t> cached; // what the KV cache holds
};

void Chat::reset() {
  messages = nlohmann::ordered_json::array();
  if (!options.system.empty())
    messages.push_back({{"role", "system"}, {"content", options.system}});
}

bool Chat::slashCommand(const std::string &line, bool &leave) {
  if (line == "/exit" || line == "/quit") {
    leave = true;
    return true;
  }
  if (line == "/reset") {
    reset();
    return true;
  }
  if (line == "/help") {
    (void)writeOut("/reset  forget the conversation\n/exit   leave (also Ctrl-D)\nCtrl-C  stop an answer\n");
    return true;
  }
  return false;
}

/// Makes the KV cache hold exactly the prompt, keeping the part that it has in common with it; at least the
/// last token is fed, because its logits are needed.
Result<bool> Chat::feed(const std::string &prompt) {
  std::vector<int32_t> ids = text.tokenizer().encode(prompt);
  if (ids.empty())
    return userError("expected a prompt, found an empty one");
  if (static_cast<int64_t>(ids.size()) > engine.session->context())
    return userError("the conversation of " + std::to_string(ids.size()) + " tokens exceeds the context of " +
                     std::to_string(engine.session->context()) + "; /reset starts anew");
  size_t common = std::mismatch(cached.begin(), cached.end(), ids.begin(), ids.end()).first - cached.begin();
  common = std::min(common, ids.size() - 1);
  if (Outcome outcome = engine.session->truncate(0, static_cast<int64_t>(common)); !outcome)
    return toStatus(std::move(outcome)).takeError();
  cached.assign(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(common));
  Outcome fed =
      engine.session->prefill(0, std::span<const int32_t>(ids).subspan(common), InterruptGuard::taken);
  int64_t length = 0;
  if (fed)
    fed = engine.session->length(0, &length);
  if (!fed)
    return toStatus(std::move(fed)).takeError();
  const bool whole = length == static_cast<int64_t>(ids.size());
  ids.resize(static_cast<size_t>(length));
  cached = std::move(ids);
  return whole;
}

Status Chat::speak(bool thinking, std::string &answer) {
  AnswerPrinter printer(text.tokenizer(), stdoutIsTerminal(), thinking);
  std::vector<int32_t> spoken;
  Result<Stop> stop = continueSequence(*engine.session, limits, [&](size_t, int32_t token) {
    spoken.push_back(token);
    return printer.push(token);
  });
  int64_t length = 0;
  if (Outcome outcome = engine.session->length(0, &length); !outcome)
    return toStatus(std::move(outcome));
  spoken.resize(static_cast<size_t>(length) - cached.size()); // the last token was drawn, not fed
  cached.insert(cached.end(), spoken.begin(), spoken.end());
  if (!stop)
    return stop.takeError();
  if (Status status = printer.finish(); !status)
    return status;
  if (*stop == Stop::ContextFull)
    fprintf(stderr, "%s: the context of %lld tokens is full; /reset starts anew\n",
            program_invocation_short_name, static_cast<long long>(engine.session->context()));
  answer = printer.text();
  return ok();
}

Status Chat::turn(const std::string &question) {
  messages.push_back({{"role", "user"}, {"content", question}});
  Result<std::string> prompt =
      text.render(messages, nullptr, options.noThink ? std::optional(false) : std::nullopt, true);
  Result<bool> fed = prompt ? feed(*prompt) : Result<bool>(prompt.takeError());
  if (!fed || !*fed) { // the conversation stays as it was
    messages.erase(messages.size() - 1);
    if (fed)
      return writeOut("\n");
    fprintf(stderr, "%s: error: %s\n", program_invocation_short_name, fed.error().message.c_str());
    return ok();
  }
  std::string answer;
  Status spoken = speak(prompt->ends_with("<think>\n"), answer);
  messages.push_back({{"role", "assistant"}, {"content", answer}});
  return spoken;
}

Status Chat::loop() {
  InterruptGuard guard;
  std::string line;
  for (bool leave = false; !leave;) {
    switch (readLine("> ", line)) {
    case LineEnd::EndOfInput:
      return stdinIsTerminal() ? writeOut("\n") : ok();
    case LineEnd::Interrupted:
      if (Status status = writeOut("\n"); !status)
        return status;
      continue;
    case LineEnd::Line:
      break;
    }
    if (line.find_first_not_of(" \t") == std::string::npos || slashCommand(line, leave))
      continue;
    InterruptGuard::taken();
    if (Status status = turn(line); !status)
      return status;
  }
  return ok();
}

Status run(const Options &options) {
  Result<Engine> engine = openEngine(options.common);
  if (!engine)
    return engine.takeError();
  Result<TextModel> text = TextModel::open(engine->model);
  if (!text)
    return text.takeError();
  if (!text->hasTemplate())
    return userError("the model was compiled without a chat template: expected run --raw");
  Result<QwenchSampling> sampling = resolveSampling(options.sampling, engine->model.metadata().generation);
  if (!sampling)
    return sampling.takeError();
  engine->session->limitSampling(text->tokenizer().size());
  if (stdinIsTerminal())
    if (Status status = writeOut(std::string(qwench_program.name) + ", /help for help\n"); !status)
      return status;
  return Chat(options, *engine, *text, *sampling).loop();
}

} // namespace

void addChat(CLI::App &app, Command &chosen) {
  auto options = std::make_shared<Options>();
  app.add_option("--system", options->system, "system message")->type_name("TEXT");
  app.add_flag("--no-think", options->noThink, "ask the chat template for answers without thinking");
  addSamplingOptions(app, options->sampling);
  addCommonOptions(app, options->common);
  chosen = [options] { return run(*options); };
}

} // namespace qwench::app
