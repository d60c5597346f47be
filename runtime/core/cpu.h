// CPU features by LLVM's names, asked of the machine we run on.
#pragma once

#include "runtime/abi/result.h"

#include <string_view>

namespace qwench {

/// Checks that this CPU (and its operating system) has every feature of a comma-separated list
/// ("avx512f,avx512bf16"), and asks the kernel for what needs asking (AMX tiles). The error names the missing
/// features and `compiledFor`.
Status requireCpuFeatures(std::string_view features, std::string_view compiledFor);

/// Whether this CPU has one feature; an unknown name is an error.
Result<bool> cpuHasFeature(std::string_view name);

} // namespace qwench
