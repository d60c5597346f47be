// `qwench compile`.
#pragma once

#include "compiler/driver/console.h"
#include "compiler/driver/rung.h"
#include "frontends/huggingface/import/import.h"
#include "passes/Pipelines.h"
#include "runtime/abi/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace qwench {

struct CompileOptions {
  std::string model;
  std::string output; ///< empty: not given
  std::string target = "x86-64", cpu = "native";
  std::vector<std::string> gpus; ///< architectures, for targets that have them
  std::string schedule = "auto"; ///< of launches, likewise
  std::string matrixUnit = "auto"; ///< of tiles of many rows, likewise
  std::string dependentLaunch = "auto"; ///< whether launches begin before those before have ended, likewise
  std::optional<ElementType> dtype;   ///< of floats; default: what the checkpoint has
  WeightFormats formats;              ///< of weights that are not floats
  std::optional<CacheFormat> kvDtype; ///< default: as dtype
  std::optional<int64_t> maxContext;         ///< default: max_position_embeddings
  Rung emit = Rung::Executable;
  bool externalWeights = false;
  bool noTokenizer = false;
  std::optional<uint64_t> randomWeights; ///< seed
  std::vector<std::string> disabledFusions;
  std::string printAfter;
  int threads = 0; ///< 0: one for each core
  bool verbose = false;
};

/// Compiles. Nothing is left behind when it fails.
Status compile(const CompileOptions &options, Console &console);

} // namespace qwench
