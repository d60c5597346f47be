// x86-64: AVX-512 with bf16 dot products where the CPU has them, down to any 64-bit x86.
#pragma once

#include "compiler/target/target.h"

namespace qwench {

/// Fails for a CPU that LLVM does not know.
Result<std::unique_ptr<Target>> createX86Target(const TargetOptions &options);

} // namespace qwench
