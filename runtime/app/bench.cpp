// bench: speed of prefill and decode, medians over repetitions after one that is not counted.
#include "runtime/app/app.h"
#include "runtime/app/terminal.h"
#include "runtime/core/random.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <sys/resource.h>

namespace qwench::app {

namespace {

struct Options {
  CommonOptions common;
  int64_t prompt = std::min<int64_t>(512, qwench_program.max_context);
  int64_t generated = std::min<int64_t>(128, qwench_program.max_context);
  int64_t depth = 0;
  int batch = 1, repetitions = 5;
  bool emptyDepth = false, json = false;
};

/// Seconds of one repetition; 0 for what was not asked for.
struct Times {
  double prefill = 0, firstToken = 0, decode = 0;
};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

std::vector<int32_t> randomTokens(int64_t count) {
  Random random(1);
  std::vector<int32_t> tokens(count);
  for (int32_t &token : tokens)
    token = static_cast<int32_t>(random.next() % static_cast<uint64_t>(qwench_program.vocab_size));
  return tokens;
}

class Bench {
public:
  Bench(const Options &options, Session &session) : options(options), session(session) {
    for (int32_t i = 0; i < options.batch; ++i)
      sequences.push_back(i);
    tokens = randomTokens(std::max({options.prompt, options.depth, int64_t(options.batch)}));
  }

  Outcome repetition(Times &times);

private:
  Outcome fillDepth();
  Outcome timePrefill(Times &times);
  Outcome timeDecode(Times &times);

  const Options &options;
  Session &session;
  std::vector<int32_t> sequences, tokens;
  bool filled = false;
};

/// All sequences hold exactly `depth` tokens afterwards.
Outcome Bench::fillDepth() {
  for (int32_t sequence : sequences) {
    if (Outcome outcome = session.truncate(sequence, filled ? options.depth : 0); !outcome)
      return outcome;
    if (filled || options.depth == 0)
      continue;
    Outcome outcome = options.emptyDepth
                          ? session.skip(sequence, options.depth)
                          : session.prefill(sequence, std::span<const int32_t>(tokens).first(options.depth));
    if (!outcome)
      return outcome;
  }
  filled = true;
  return {};
}

Outcome Bench::timePrefill(Times &times) {
  const QwenchSampling greedy = QWENCH_SAMPLING_GREEDY;
  auto prompt = std::span<const int32_t>(tokens).first(options.prompt);
  for (int32_t sequence : sequences) {
    int32_t token = 0;
    const double start = now();
    if (Outcome outcome = session.prefill(sequence, prompt); !outcome)
      return outcome;
    times.prefill += now() - start;
    if (Outcome outcome = session.sample(sequence, greedy, &token); !outcome)
      return outcome;
    if (sequence == 0)
      times.firstToken = now() - start;
  }
  return {};
}

Outcome Bench::timeDecode(Times &times) {
  const QwenchSampling greedy = QWENCH_SAMPLING_GREEDY;
  std::vector<int32_t> next(tokens.begin(), tokens.begin() + options.batch);
  const double start = now();
  if (Outcome outcome = session.decode(sequences, next); !outcome)
    return outcome;
  Outcome outcome = session.generate(sequences, greedy, options.generated, [](int32_t, int32_t) { return true; });
  times.decode = now() - start;
  return outcome;
}

Outcome Bench::repetition(Times &times) {
  if (Outcome outcome = fillDepth(); !outcome)
    return outcome;
  if (options.prompt > 0)
    if (Outcome outcome = timePrefill(times); !outcome)
      return outcome;
  if (Outcome outcome = fillDepth(); !outcome)
    return outcome;
  return options.generated > 0 ? timeDecode(times) : Outcome{};
}

/// Floating point operations of one prompt at the given depth; a causal query attends to all keys up to
/// itself.
double prefillFlops(const Options &options) {
  const auto p = static_cast<double>(options.prompt), d = static_cast<double>(options.depth);
  return p * static_cast<double>(qwench_program.flops_per_token) +
         static_cast<double>(qwench_program.flops_per_output) +
         (p * d + p * (p + 1) / 2) * static_cast<double>(qwench_program.attention_flops_per_pair);
}

/// Bytes of the cache that a decode step reads, on average over the steps: every position before it of every sequence
/// (layers with a sliding window read less).
double cacheBytesPerStep(const Options &options) {
  const double positions = static_cast<double>(options.depth) + static_cast<double>(options.generated + 1) / 2;
  return positions * options.batch * static_cast<double>(qwench_program.cache_bytes_per_position);
}

nlohmann::ordered_json summarise(const Options &options, const Engine &engine,
                                 const std::vector<Times> &all) {
  std::vector<double> prefill, first, decode;
  for (const Times &times : all) {
    prefill.push_back(times.prefill);
    first.push_back(times.firstToken);
    decode.push_back(times.decode);
  }
  nlohmann::ordered_json result = {{"model", qwench_program.name},
                                   {"cpu", qwench_program.cpu},
                                   {"dtype", qwench_program.dtype},
                                   {"kv_dtype", qwench_program.kv_dtype},
                                   {"threads", engine.session->threads()},
                                   {"prompt", options.prompt},
                                   {"generated", options.generated},
                                   {"depth", options.depth},
                                   {"empty_depth", options.emptyDepth},
                                   {"batch", options.batch},
                                   {"repetitions", options.repetitions},
                                   {"weights", engine.session->weightsOrigin()}};
  if (options.prompt > 0) {
    result["prefill_tokens_per_second"] =
        static_cast<double>(options.prompt * options.batch) / median(prefill);
    result["gigaflops"] = prefillFlops(options) * options.batch / median(prefill) * 1e-9;
    result["first_token_seconds"] = median(first);
  }
  result["weight_bytes_per_token"] = qwench_program.weight_bytes_per_token;
  if (options.generated > 0) {
    const double steps = static_cast<double>(options.generated) / median(decode);
    result["decode_tokens_per_second"] = steps * options.batch;
    result["gigabytes_per_second"] =
        steps * static_cast<double>(qwench_program.weight_bytes_per_token) * 1e-9;
    result["cache_bytes_per_step"] = static_cast<int64_t>(cacheBytesPerStep(options));
    result["cache_gigabytes_per_second"] = steps * cacheBytesPerStep(options) * 1e-9;
  }
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  result["peak_rss_bytes"] = static_cast<int64_t>(usage.ru_maxrss) * 1024;
  return result;
}

std::string table(const nlohmann::ordered_json &summary) {
  std::string text;
  for (const auto &[key, value] : summary.items()) {
    char line[160];
    if (value.is_number_float())
      snprintf(line, sizeof line, "%-26s %14.3f\n", key.c_str(), value.get<double>());
    else
      snprintf(line, sizeof line, "%-26s %14s\n", key.c_str(),
               value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
    text += line;
  }
  return text;
}

Status check(const Options &options) {
  const int64_t most = qwench_program.max_context;
  if (options.prompt < 0 || options.generated < 0 || options.depth < 0 ||
      options.prompt + options.generated == 0)
    return userError("expected -p, -n and -d of at least 0, and -p or -n above it");
  if (options.batch < 1 || options.repetitions < 1)
    return userError("expected -b and -r of at least 1");
  // A CPU maps memory that nobody wrote to one page, which stays in its caches; a GPU's is cleared, and read like any other.
  if (options.emptyDepth && !qwench_program.device)
    return userError("--empty-depth: expected a program for a GPU, found one for '" + std::string(qwench_program.target) + "'");
  if (options.depth > most || std::max(options.prompt, options.generated) > most - options.depth)
    return userError("context overflow: " + std::to_string(options.depth) + " tokens and " +
                     std::to_string(std::max(options.prompt, options.generated)) +
                     " more exceed the context of " + std::to_string(most));
  return ok();
}

Status run(const Options &options) {
  if (Status status = check(options); !status)
    return status;
  Result<Engine> engine =
      openEngine(options.common, options.depth + std::max(options.prompt, options.generated), options.batch);
  if (!engine)
    return engine.takeError();
  Bench bench(options, *engine->session);
  std::vector<Times> all;
  Progress progress("repetitions");
  for (int i = 0; i <= options.repetitions; ++i) {
    progress.show(i, options.repetitions);
    Times times;
    if (Outcome outcome = bench.repetition(times); !outcome)
      return toStatus(std::move(outcome));
    if (i > 0)
      all.push_back(times);
  }
  nlohmann::ordered_json summary = summarise(options, *engine, all);
  return writeOut(options.json ? summary.dump(2) + "\n" : table(summary));
}

} // namespace

void addBench(CLI::App &app, Command &chosen) {
  auto options = std::make_shared<Options>();
  CLI::App *sub = app.add_subcommand("bench", "measure prefill and decode speed");
  sub->add_option("-p", options->prompt, "prompt tokens for prefill; 0: no prefill")->capture_default_str();
  sub->add_option("-n", options->generated, "tokens to decode; 0: no decode")->capture_default_str();
  sub->add_option("-d", options->depth, "tokens in the context before either")->capture_default_str();
  sub->add_flag("--empty-depth", options->emptyDepth,
                "on a GPU: the tokens of -d are not computed; their keys and values are zeros");
  sub->add_option("-b", options->batch, "sequences decoded together")->capture_default_str();
  sub->add_option("-r", options->repetitions, "repetitions, after one that is not counted")
      ->capture_default_str();
  sub->add_flag("--json", options->json, "print JSON");
  addCommonOptions(*sub, options->common);
  sub->footer(
      "Medians over the repetitions. gigabytes_per_second: weights that the decode steps read,\n"
      "cache_gigabytes_per_second: the KV cache they read besides; gigaflops: of prefill, attention\n"
      "included. Sampling (greedy) counts for decode and the first token.\n"
      "Example: NAME bench -p 512 -n 128 -t 2 --json");
  sub->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

} // namespace qwench::app
