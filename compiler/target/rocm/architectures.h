// The AMD architectures that code is made for.
#pragma once

#include "compiler/target/gpu/emit/architecture.h"

namespace qwench::rocm {

/// CDNA, then RDNA, in ascending order.
llvm::ArrayRef<gpu::Architecture> architectures();

/// The entry of that name, or null.
const gpu::Architecture *findArchitecture(llvm::StringRef name);

} // namespace qwench::rocm
