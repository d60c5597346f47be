// The command line of a compiled model: what its subcommands share.
#pragma once

#include "runtime/core/session.h"

#include <CLI/CLI.hpp>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace qwench::app {

/// What a chosen subcommand does once the command line has been read.
using Command = std::function<Status()>;

/// Options of everything that runs the model.
struct CommonOptions {
  int threads = 0;
  int64_t context = 0;
  std::string bundle;
  WeightsMode weights = WeightsMode::Automatic;
};
void addBundleOption(CLI::App &app, std::string &bundle);
void addCommonOptions(CLI::App &app, CommonOptions &options);

/// Sampling as asked for; what is not given comes from the model's generation defaults.
struct SamplingOptions {
  std::optional<float> temperature, topP, minP;
  std::optional<int> topK;
  std::optional<uint64_t> seed;
  bool greedy = false;
};
void addSamplingOptions(CLI::App &app, SamplingOptions &options);
/// Fills in the model's defaults, and a seed from the system if none is given.
Result<QwenchSampling> resolveSampling(const SamplingOptions &options, const GenerationDefaults &defaults);

/// The model's file and an open session on it.
struct Engine {
  ModelFile model;
  std::unique_ptr<Session> session;
};
/// `needed`: positions that this command uses at most; the cache is made that long unless the user says
/// otherwise (0: as long as the model can). `sequences`: how many of them at once.
Result<Engine> openEngine(const CommonOptions &options, int64_t needed = 0, int sequences = 1);
Result<ModelFile> openModelFile(const std::string &bundle);

Status toStatus(Outcome outcome);

/// "1,2,3" (commas and white space between) to ids below the model's vocabulary; `where` names the source in
/// errors.
Result<std::vector<int32_t>> parseTokens(std::string_view text, int64_t vocabulary, const std::string &where);
/// The ids of --tokens, or of --tokens-file ("-": stdin); exactly one of them must be there.
Result<std::vector<int32_t>> readTokens(const std::string &list, const std::string &file);

// Subcommands; each adds itself and, when chosen, sets `chosen`.
void addRun(CLI::App &app, Command &chosen);
void addGenerate(CLI::App &app, Command &chosen);
void addLogits(CLI::App &app, Command &chosen);
void addTokenize(CLI::App &app, Command &chosen);
void addTemplate(CLI::App &app, Command &chosen);
void addPerplexity(CLI::App &app, Command &chosen);
void addBench(CLI::App &app, Command &chosen);
void addInfo(CLI::App &app, Command &chosen);
/// No subcommand: chat.
void addChat(CLI::App &app, Command &chosen);

} // namespace qwench::app
