// generation_config.json: how a model wants its tokens drawn.
#pragma once

#include "frontends/huggingface/config.h"
#include "runtime/abi/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace qwench::hf {

/// Sampling defaults and special ids. Without a file these are transformers' defaults: greedy.
struct GenerationConfig {
  bool doSample = false;
  double temperature = 1.0; ///< > 0; looked at if doSample
  int64_t topK = 50;        ///< 0: all
  double topP = 1.0;        ///< 0 < topP <= 1
  double minP = 0.0;        ///< 0 <= minP <= 1
  std::optional<int64_t> bosId, padId;
  std::vector<int64_t> eosIds; ///< ids that end an answer; those of config.json if the file names none
  std::vector<std::string> warnings;
};

/// Reads the text of a generation_config.json; ids must be below config.vocab. `where` is named in errors and
/// warnings.
Result<GenerationConfig> parseGenerationConfig(std::string_view json, std::string_view where,
                                               const ModelConfig &config);

/// The same for DIR/generation_config.json; its absence is no error.
Result<GenerationConfig> readGenerationConfig(const std::string &directory, const ModelConfig &config);

} // namespace qwench::hf
