// The checkpoint tensors behind a weight.
#pragma once

#include "dialects/Qwen.h"

#include <string>

namespace qwench::qwen {

/// Whether every expert of a weight is a tensor of its own: its source has `{expert}` in it.
bool hasTensorPerExpert(WeightOp weight);

/// The name of a tensor of a weight that has a source: `{layer}` replaced by the layer of the instance where the weight has
/// layers, and `{expert}` too unless expert < 0.
std::string tensorName(WeightOp weight, int64_t instance, int64_t expert);

} // namespace qwench::qwen
