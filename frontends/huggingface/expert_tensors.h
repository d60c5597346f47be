// Experts of a sparse layer that lie fused in one tensor, as transformers 5.x holds them.
#pragma once

#include "frontends/huggingface/safetensors.h"
#include "runtime/abi/result.h"

#include <optional>
#include <string>
#include <string_view>

namespace qwench::hf {

/// A canonical expert weight's name taken apart: "model.layers.N.mlp.experts" "M" "gate".
struct ExpertName {
  std::string_view experts; ///< up to and including "mlp.experts"
  int64_t expert;
  std::string_view projection; ///< gate, up or down
};

/// The parts of a name, or nothing if it is not an expert's weight.
std::optional<ExpertName> parseExpertName(std::string_view name);

/// The tensor that holds this projection of all experts: "model.layers.N.mlp.experts.gate_up_proj".
std::string fusedName(const ExpertName &name);

/// One expert's matrix out of a fused tensor [experts, 2 * moe_intermediate, hidden] (gate rows first) or, of
/// down, [experts, hidden, moe_intermediate]; named `canonical`.
Result<TensorView> sliceExpert(const TensorView &fused, const ExpertName &name, std::string_view canonical);

} // namespace qwench::hf
