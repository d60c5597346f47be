// config.json of a Qwen3 model directory: what the model is, with every default resolved and every value
// checked.
#pragma once

#include "frontends/huggingface/dtype.h"
#include "frontends/huggingface/quantization.h"
#include "frontends/huggingface/rope.h"
#include "runtime/abi/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace qwench::hf {

enum class Architecture {
  Dense, ///< Qwen3ForCausalLM
  Moe,   ///< Qwen3MoeForCausalLM
};

/// The class name in config.json: "Qwen3MoeForCausalLM".
std::string_view name(Architecture architecture);

/// What distinguishes one decoder layer from another.
struct LayerConfig {
  bool sparse = false; ///< a mixture of experts instead of one MLP
  /// Sliding window: query position q attends to key positions k with q - window < k <= q. Nothing: all k <=
  /// q.
  std::optional<int64_t> window;

  bool operator==(const LayerConfig &) const = default;
};

/// A checked configuration. Sizes are positive and their products fit into int64_t; layers.size() is the
/// number of layers. Fields of the mixture of experts are 0 if no layer is sparse.
struct ModelConfig {
  Architecture architecture = Architecture::Dense;
  int64_t hidden = 0;
  int64_t heads = 0;   ///< query heads, a multiple of kvHeads
  int64_t kvHeads = 0; ///< key and value heads
  int64_t headDim = 0; ///< a multiple of 32; heads * headDim need not equal hidden
  int64_t vocab = 0;
  int64_t intermediate = 0;    ///< of dense MLPs; 0 if every layer is sparse
  int64_t moeIntermediate = 0; ///< of each expert
  int64_t experts = 0;
  int64_t topK = 0;           ///< experts per token, <= experts
  bool normTopKProb = false;  ///< routing weights are divided by their sum over the chosen experts
  bool tieEmbeddings = false; ///< the LM head is the embedding table
  bool attentionBias = false; ///< q, k, v and o projections have a bias
  double rmsEps = 1e-6;
  int64_t maxPositionEmbeddings = 0;
  RopeConfig rope;
  std::vector<LayerConfig> layers;
  std::optional<DType> dtype; ///< the checkpoint's, as the configuration says; the tensors decide
  std::optional<QuantizationConfig> quantization; ///< of checkpoints that hold quantized matrices
  std::optional<int64_t> bosId, padId;
  std::vector<int64_t> eosIds;
  /// Keys that were not understood and are believed harmless, one line each.
  std::vector<std::string> warnings;

  int64_t layerCount() const { return static_cast<int64_t>(layers.size()); }
  int64_t sparseLayerCount() const;
};

/// Number of weights, as stored: a tied LM head is counted once.
struct ParameterCount {
  int64_t total = 0;
  /// Read for one token at batch 1: of a sparse layer only the router and the chosen experts; the LM head,
  /// not the embedding table (of which a token reads one row) unless they are tied.
  int64_t active = 0;
};
ParameterCount countParameters(const ModelConfig &config);

/// Reads the text of a config.json as transformers 4.5x or 5.x writes it. `where` is named in errors and
/// warnings. Fails on malformed JSON, another architecture, sizes outside their ranges, and on every key that
/// changes the meaning and is not supported.
Result<ModelConfig> parseConfig(std::string_view json, std::string_view where);

/// The same for a file, or for the config.json of a directory.
Result<ModelConfig> readConfig(const std::string &path);

} // namespace qwench::hf
