// `qwench inspect`: what is in a model directory, or in a compiled model.
#pragma once

#include "frontends/huggingface/inspect.h"
#include "runtime/abi/result.h"

#include <string>

namespace qwench {

/// Describes a directory or a config.json as frontends/huggingface does, and any other file as a compiled
/// model, from its bundle: sections, and what the metadata says. The file is not trusted and none of its code
/// runs.
Result<hf::Description> inspect(const std::string &path);

} // namespace qwench
