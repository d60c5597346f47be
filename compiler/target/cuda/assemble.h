// PTX to machine code with the CUDA toolkit's assembler.
#pragma once

#include "runtime/abi/result.h"

#include "llvm/ADT/StringRef.h"

#include <string>

namespace qwench::cuda {

/// Path of ptxas: $QWENCH_PTXAS (or "none"), $CUDA_HOME/bin, $CUDA_PATH/bin, the path, /usr/local/cuda/bin. Empty: there is none.
std::string findAssembler();

/// A cubin for `arch`. What ptxas complains about is an internal error: the PTX is ours.
Result<std::string> assemble(const std::string &assembler, llvm::StringRef ptx, llvm::StringRef arch);

} // namespace qwench::cuda
