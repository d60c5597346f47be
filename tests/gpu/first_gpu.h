// The first GPU of this machine, of either vendor.
#pragma once

#include <string>

namespace qwench::gpu_test {

struct Gpu {
  std::string api, arch; ///< as --target and --gpu call them: "cuda", "sm_90a"
  std::string missing;   ///< why there is none; empty: there is one
};

/// Asks the drivers anew, in each call.
Gpu firstGpu();

/// Whether its kernels can begin while the launch before runs.
bool hasDependentLaunches(const Gpu &gpu);

} // namespace qwench::gpu_test
