// The metadata section: what a compiled model says about itself, and where its weights come from.
// docs/bundle.md describes the JSON.
#pragma once

#include "runtime/abi/result.h"
#include "runtime/core/random_panels.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qwench {

/// Weights that are made at load time instead of read: `--random-weights SEED`.
struct RandomTensor {
  std::string name;
  uint64_t offset = 0, bytes = 0; // in the packed weights
  enum class Type { BF16, F32 } type = Type::BF16;
  enum class Init { Normal, Ones } init = Init::Normal;
  float deviation = 0.02f; // standard deviation of Init::Normal
  std::optional<RandomPanels> panels = {}; // of a quantized tensor, in place of type, init and deviation
};

struct RandomWeights {
  uint64_t seed = 0;
  std::vector<RandomTensor> tensors;
};

/// generation_config.json's sampling, as far as it says.
struct GenerationDefaults {
  bool doSample = false;
  float temperature = 1.0f, topP = 1.0f, minP = 0.0f;
  int32_t topK = 0;
  std::vector<int32_t> endTokens; // generation stops at any of these
};

struct Metadata {
  std::string name, architecture, version;
  std::string config; // JSON object, for `info`
  GenerationDefaults generation;
  int64_t sampledVocabulary = 0; // tokens with higher ids are never sampled; 0: not known
  std::vector<std::pair<std::string, std::string>> templateVariables; // string variables of the chat template
  std::optional<std::string> externalWeights;                         // file name, beside this file
  std::optional<RandomWeights> randomWeights;
};

/// `weightBytes` bounds the random tensors' ranges.
Result<Metadata> parseMetadata(std::string_view json, uint64_t weightBytes);

} // namespace qwench
