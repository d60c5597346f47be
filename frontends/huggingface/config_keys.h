// Which keys of config.json mean what, beyond those that config.cpp reads.
#pragma once

#include "frontends/huggingface/config.h"
#include "frontends/huggingface/json.h"

namespace qwench::hf {

/// Fails on keys that would change the model and are not supported; collects a warning for each key that
/// neither was read nor is known to be harmless.
void checkOtherKeys(ObjectReader &reader, std::string_view where, std::vector<std::string> &warnings);

/// Reads rope_theta and rope_scaling (as 4.x writes them) or rope_parameters (5.x).
RopeConfig readRope(ObjectReader &reader, std::string_view where, int64_t headDim,
                    int64_t maxPositionEmbeddings, std::vector<std::string> &warnings);

/// Reads quantization_config (quantization.h); nothing if there is none.
std::optional<QuantizationConfig> readQuantization(ObjectReader &reader, std::string_view where,
                                                   std::vector<std::string> &warnings);

} // namespace qwench::hf
