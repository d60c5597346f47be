// What is in a model directory, for people (`qwench inspect DIR`) and for programs (`--json`).
#pragma once

#include "runtime/abi/result.h"

#include <string>

namespace qwench::hf {

/// Both forms of the same description.
struct Description {
  std::string text; ///< lines, each ended by \n
  std::string json; ///< one JSON object, indented, ended by \n
};

/// Describes a directory, or a bare config.json: architecture, sizes, parameters, rope, cache bytes per
/// token, tensors per type, files, warnings. Missing weights are a warning here; weights that do not fit the
/// configuration are an error.
Result<Description> describeModel(const std::string &path);

} // namespace qwench::hf
