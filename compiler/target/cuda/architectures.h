// The NVIDIA architectures that code is made for.
#pragma once

#include "compiler/target/gpu/emit/architecture.h"

namespace qwench::cuda {

/// In ascending order.
llvm::ArrayRef<gpu::Architecture> architectures();

/// The name without its suffix: PTX of it runs on later GPUs too ("sm_90a": "sm_90").
llvm::StringRef baseName(llvm::StringRef name);

} // namespace qwench::cuda
