// quantization_config of a config.json: how the matrices of a quantized checkpoint are stored. Three layouts:
//   fp8   transformers' fine-grained FP8 (integrations/finegrained_fp8.py): X.weight F8_E4M3 [N, K] and
//         X.weight_scale_inv [ceil(N / 128), ceil(K / 128)]; value = weight * weight_scale_inv
//   gptq  AutoGPTQ and GPTQModel: X.qweight I32 [K * bits / 32, N], codes of consecutive columns from the
//         lowest bits up; X.qzeros I32 [groups, N * bits / 32], the same along N; X.scales [groups, N];
//         X.g_idx I32 [K], the group of each column (may be absent). Format "gptq" stores zero - 1 (modulo
//         2^bits), "gptq_v2" the zero itself.
//   awq   AutoAWQ's "gemm": X.qweight I32 [K, N / 8], X.qzeros I32 [groups, N / 8], X.scales [groups, N];
//         nibble i of a word holds output 0, 2, 4, 6, 1, 3, 5, 7 of its eight
// Of gptq and awq: value = (code - zero) * scale, groups = ceil(K / group_size).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qwench::hf {

enum class QuantMethod { Fp8, Gptq, Awq };

/// As quant_method spells it: "gptq".
std::string_view name(QuantMethod method);

/// A checked quantization_config.
struct QuantizationConfig {
  QuantMethod method = QuantMethod::Fp8;
  int bits = 8;                          ///< of a code: 8 for fp8, 4 or 8 for gptq, 4 for awq
  int64_t group = 128;                   ///< columns that share a scale, a multiple of 8; 0: all of a row
  int64_t blockRows = 1;                 ///< rows that share it
  bool symmetric = false;                ///< gptq's sym: every zero point is 2^(bits - 1)
  bool actOrder = false;                 ///< gptq's desc_act: the columns of a group may be scattered
  bool zerosMinusOne = false;            ///< gptq's first format
  std::vector<std::string> notConverted; ///< modules_to_not_convert: names, or parts of names

  /// Whether the matrix of a tensor's canonical name ("model.layers.0.mlp.up_proj.weight") is quantized as
  /// far as the configuration says: a linear map of a decoder layer, not a router, and not in notConverted.
  /// The tensors of a checkpoint decide.
  bool converts(std::string_view tensor) const;
  /// The tensor that holds the codes of such a matrix: "model.layers.0.mlp.up_proj.qweight"; the name itself
  /// for fp8 and for what converts() denies.
  std::string storedName(const std::string &tensor) const;
  /// Whether notConverted names it: an entry is a name, or a run of whole components of one ("mlp.gate" names
  /// "model.layers.0.mlp.gate.weight").
  bool excludes(std::string_view tensor) const;
};

} // namespace qwench::hf
