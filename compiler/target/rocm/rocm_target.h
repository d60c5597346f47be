// AMD GPUs: code objects, linked in process.
#pragma once

#include "compiler/target/target.h"

namespace qwench {

/// Fails for an architecture that is not in rocm/architectures.cpp.
Result<std::unique_ptr<Target>> createRocmTarget(const TargetOptions &options);

} // namespace qwench
