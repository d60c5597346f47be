// perplexity: how well the model predicts a text. The text is tokenized whole, without special tokens;
// windows of C tokens (the last may be shorter) are independent of one another; in each, token i > 1 is
// predicted from those before it. Perplexity is exp of the mean negative log-likelihood over all predicted
// tokens.
#include "runtime/app/generation.h"

#include <cmath>

namespace qwench::app {

namespace {

constexpr uint64_t kMaxText = 1u << 30;
constexpr int64_t kDefaultWindow = 512;

struct Options {
  CommonOptions common;
  std::string file;
  bool json = false;
};

struct Total {
  double negativeLogLikelihood = 0;
  int64_t predicted = 0;
};

/// Adds the tokens of one window. Rows are shared among the threads, sums are added in order.
Outcome addWindow(Session &session, std::span<const int32_t> window, Total &total) {
  if (Outcome outcome = session.truncate(0, 0); !outcome)
    return outcome;
  const QwenchProgram &program = session.program();
  std::vector<double> losses;
  return session.prefillEach(0, window, [&](int64_t first, int64_t rows, const float *logits) -> Status {
    const auto predicting = std::min<int64_t>(rows, static_cast<int64_t>(window.size()) - 1 - first);
    losses.assign(std::max<int64_t>(predicting, 0), 0);
    runOn(session.threadTeam(), [&](int64_t thread, int64_t threads) {
      for (int64_t row = thread; row < predicting; row += threads) {
        const float *of = logits + row * program.logits_stride;
        losses[row] = logSumExp(of, program.vocab_size) - of[window[first + row + 1]];
      }
    });
    for (double loss : losses)
      total.negativeLogLikelihood += loss;
    total.predicted += static_cast<int64_t>(losses.size());
    return ok();
  });
}

Status print(const Total &total, int64_t tokens, int64_t window, bool json) {
  const double mean = total.negativeLogLikelihood / static_cast<double>(total.predicted);
  char text[256];
  snprintf(
      text, sizeof text,
      json
          ? "{\"perplexity\": %.9g, \"mean_nll\": %.9g, \"predicted_tokens\": %lld, \"tokens\": %lld, "
            "\"context\": %lld}\n"
          : "perplexity %.6g (mean negative log-likelihood %.6g over %lld of %lld tokens, windows of %lld)\n",
      std::exp(mean), mean, static_cast<long long>(total.predicted), static_cast<long long>(tokens),
      static_cast<long long>(window));
  if (!std::isfinite(mean))
    return userError("the model's logits are not numbers");
  return writeOut(text);
}

Status run(const Options &options) {
  Result<std::string> input = readWhole(options.file, kMaxText);
  if (!input)
    return input.takeError();
  CommonOptions common = options.common;
  if (common.context == 0)
    common.context = std::min(kDefaultWindow, qwench_program.max_context);
  Result<Engine> engine = openEngine(common);
  if (!engine)
    return engine.takeError();
  Result<TextModel> text = TextModel::open(engine->model);
  if (!text)
    return text.takeError();
  std::vector<int32_t> ids = text->tokenizer().encode(*input, /*parseSpecial=*/false);
  const auto tokens = static_cast<int64_t>(ids.size());
  if (tokens < 2 || common.context < 2)
    return userError("'" + options.file + "': expected at least 2 tokens in a window, found " +
                     std::to_string(std::min(tokens, common.context)));
  Total total;
  Progress progress("tokens");
  for (int64_t first = 0; first + 1 < tokens; first += common.context) {
    auto window = std::span<const int32_t>(ids).subspan(first, std::min(common.context, tokens - first));
    if (Outcome outcome = addWindow(*engine->session, window, total); !outcome)
      return toStatus(std::move(outcome));
    progress.show(first + static_cast<int64_t>(window.size()), tokens);
  }
  return print(total, tokens, common.context, options.json);
}

} // namespace

void addPerplexity(CLI::App &app, Command &chosen) {
  auto options = std::make_shared<Options>();
  CLI::App *sub = app.add_subcommand("perplexity", "how well the model predicts a text");
  sub->add_option("FILE", options->file, "UTF-8 text; - is stdin")->required();
  sub->add_flag("--json", options->json, "print JSON");
  addCommonOptions(*sub, options->common);
  sub->footer("Windows of --context tokens [default: 512] are independent; each predicts its tokens from the "
              "second on.\n"
              "Example: NAME perplexity held-out.txt --context 512 --json");
  sub->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

} // namespace qwench::app
