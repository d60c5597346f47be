// Rotary position embeddings: the parameters of a configuration and the numbers that follow from them, as
// transformers' modeling_rope_utils.py computes them (4.57; `rope_parameters` as 5.x reads it).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace qwench::hf {

enum class RopeType { Default, Linear, Dynamic, Yarn, LongRope, Llama3 };

/// transformers' name of the type: "longrope".
std::string_view name(RopeType type);

/// Everything rope depends on besides head_dim. All fields are resolved: the defaults of transformers are in
/// place.
struct RopeConfig {
  RopeType type = RopeType::Default;
  double theta = 10000.0;
  double factor = 1.0; ///< linear, dynamic, yarn, longrope, llama3
  /// The context the frequencies were trained for: what the type compares the sequence length (dynamic,
  /// longrope) or the wavelengths (yarn, llama3) with. max_position_embeddings where the configuration gives
  /// no value of its own.
  int64_t originalMaxPosition = 0;
  std::optional<double>
      attentionFactor; ///< yarn, longrope: given in the configuration; see attentionScaling()
  std::optional<double> mscale, mscaleAllDim;       ///< yarn
  double betaFast = 32.0, betaSlow = 1.0;           ///< yarn
  bool truncate = true;                             ///< yarn: round the correction range to whole dimensions
  double lowFreqFactor = 1.0, highFreqFactor = 4.0; ///< llama3
  std::vector<double> shortFactor, longFactor;      ///< longrope: head_dim / 2 values each
};

/// Whether the frequencies depend on the sequence length at run time: dynamic and longrope.
bool dependsOnLength(const RopeConfig &rope);

/// Inverse frequencies [head_dim / 2] for a sequence of that many tokens, in fp32 arithmetic as transformers
/// does it; equal for all lengths unless dependsOnLength(). With length <= originalMaxPosition these are what
/// dynamic and longrope start with (longrope: 1 / (shortFactor[i] * theta^(2i/head_dim))); beyond it longrope
/// uses longFactor, and dynamic replaces theta by dynamicTheta().
std::vector<float> inverseFrequencies(const RopeConfig &rope, int64_t headDim, int64_t length = 0);

/// dynamic: theta for a sequence of that many tokens,
/// theta * (factor * L / originalMaxPosition - (factor - 1)) ^ (head_dim / (head_dim - 2)), L = max(length,
/// originalMaxPosition).
double dynamicTheta(const RopeConfig &rope, int64_t headDim, int64_t length);

/// What cos and sin are multiplied with. 1 for all types but yarn and longrope; does not depend on the
/// length.
double attentionScaling(const RopeConfig &rope);

} // namespace qwench::hf
