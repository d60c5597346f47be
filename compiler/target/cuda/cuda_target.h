// NVIDIA GPUs: PTX, and machine code where the CUDA toolkit's assembler is at hand.
#pragma once

#include "compiler/target/target.h"

namespace qwench {

/// Fails for an architecture that is not in cuda/architectures.cpp.
Result<std::unique_ptr<Target>> createCudaTarget(const TargetOptions &options);

} // namespace qwench
