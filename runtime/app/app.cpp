#include "runtime/app/app.h"

#include <map>
#include <sys/random.h>

namespace qwench::app {

namespace {

constexpr uint64_t kMaxTokenText = 1u << 30;

bool isSeparator(char c) { return c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

uint64_t systemSeed() {
  uint64_t seed = 0;
  return getrandom(&seed, sizeof seed, 0) == sizeof seed ? seed : static_cast<uint64_t>(time(nullptr));
}

} // namespace

void addBundleOption(CLI::App &app, std::string &bundle) {
  app.add_option("--bundle", bundle, "take the model's data from this file instead of this program's end")
      ->type_name("FILE");
}

void addCommonOptions(CLI::App &app, CommonOptions &options) {
  app.add_option("-t,--threads", options.threads, "threads [default: one for each core]")->type_name("N");
  app.add_option("--context", options.context,
                 "tokens that the context holds [default: as many as needed or possible]")
      ->type_name("N");
  const std::map<std::string, WeightsMode> modes = {
      {"auto", WeightsMode::Automatic}, {"copy", WeightsMode::Copy}, {"map", WeightsMode::Map}};
  app.add_option(
         "--weights", options.weights,
         "copy: read the weights into memory, faster per token; map: start at once, share them with other "
         "processes; auto: copy if half of the free memory holds them")
      ->transform(CLI::Transformer(modes).description(""))
      ->type_name("auto|copy|map");
  addBundleOption(app, options.bundle);
}

void addSamplingOptions(CLI::App &app, SamplingOptions &options) {
  const char *group = "Sampling [default: what the model's generation_config.json says]";
  app.add_option("--temp", options.temperature, "temperature; 0 is greedy")->type_name("T")->group(group);
  app.add_option("--top-k", options.topK, "only the K likeliest tokens; 0 is all")
      ->type_name("K")
      ->group(group);
  app.add_option("--top-p", options.topP, "only the likeliest tokens that make up P together")
      ->type_name("P")
      ->group(group);
  app.add_option("--min-p", options.minP, "only tokens at least M times as likely as the likeliest")
      ->type_name("M")
      ->group(group);
  app.add_option("--seed", options.seed, "seed of the random numbers [default: another one each time]")
      ->type_name("S")
      ->group(group);
  app.add_flag("--greedy", options.greedy, "always the likeliest token")->group(group);
}

Result<QwenchSampling> resolveSampling(const SamplingOptions &options, const GenerationDefaults &defaults) {
  QwenchSampling result = QWENCH_SAMPLING_GREEDY;
  const bool asked = options.temperature || options.topK || options.topP || options.minP;
  if (options.greedy && asked)
    return userError("expected either --greedy or --temp, --top-k, --top-p and --min-p, found both");
  if (!options.greedy && (asked || defaults.doSample)) {
    result.temperature = options.temperature.value_or(defaults.temperature);
    result.top_k = options.topK.value_or(defaults.topK);
    result.top_p = options.topP.value_or(defaults.topP);
    result.min_p = options.minP.value_or(defaults.minP);
  }
  if (const char *wrong = checkSampling(result))
    return userError(wrong);
  result.seed = options.seed ? *options.seed : systemSeed();
  return result;
}

Result<ModelFile> openModelFile(const std::string &bundle) { return ModelFile::open(qwench_program, bundle); }

Result<Engine> openEngine(const CommonOptions &options, int64_t needed, int sequences) {
  Result<ModelFile> model = openModelFile(options.bundle);
  if (!model)
    return model.takeError();
  int64_t context = options.context;
  if (context < 0)
    return userError("--context: expected a positive number, found " + std::to_string(context));
  if (context == 0 && needed > 0)
    context = std::min(needed, qwench_program.max_context);
  std::unique_ptr<Session> session;
  if (Outcome outcome = Session::open(qwench_program, *model,
                                      {options.threads, context, sequences, options.weights}, session);
      !outcome)
    return userError(outcome.message);
  return Engine{model.take(), std::move(session)};
}

Status toStatus(Outcome outcome) {
  if (outcome)
    return ok();
  return userError(std::move(outcome.message));
}

Result<std::vector<int32_t>> parseTokens(std::string_view text, int64_t vocabulary,
                                         const std::string &where) {
  std::vector<int32_t> ids;
  size_t at = 0;
  while (at < text.size()) {
    if (isSeparator(text[at])) {
      ++at;
      continue;
    }
    size_t end = at;
    int64_t id = 0;
    for (; end < text.size() && text[end] >= '0' && text[end] <= '9' && id < vocabulary; ++end)
      id = id * 10 + (text[end] - '0');
    const bool whole = end > at && (end == text.size() || isSeparator(text[end]));
    if (!whole || id >= vocabulary) {
      while (end < text.size() && !isSeparator(text[end]) && end - at < 40)
        ++end;
      return userError(where + ": expected token ids from 0 to " + std::to_string(vocabulary - 1) +
                       ", found '" + std::string(text.substr(at, end - at)) + "' at character " +
                       std::to_string(at + 1));
    }
    ids.push_back(static_cast<int32_t>(id));
    at = end;
  }
  if (ids.empty())
    return userError(where + ": expected at least one token id, found none");
  return ids;
}

Result<std::vector<int32_t>> readTokens(const std::string &list, const std::string &file) {
  if (list.empty() == file.empty())
    return userError(std::string("expected either --tokens or --tokens-file, found ") +
                     (list.empty() ? "neither" : "both"));
  if (!list.empty())
    return parseTokens(list, qwench_program.vocab_size, "--tokens");
  Result<std::string> text = readWhole(file, kMaxTokenText);
  if (!text)
    return text.takeError();
  return parseTokens(*text, qwench_program.vocab_size, "'" + file + "'");
}

} // namespace qwench::app
