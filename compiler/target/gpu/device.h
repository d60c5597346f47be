// What the shared lowering asks of a GPU. Properties, never identities; the tables of architectures are the backends'.
#pragma once

#include <cstdint>
#include <string>

namespace qwench::gpu {

struct Device {
  std::string moduleName = "kernels"; ///< of the gpu.module that holds this device's kernels
  int64_t subgroupSize = 32;          ///< lanes that shuffles and subgroup reductions join: 32 or 64
  int64_t sharedBytes = 48 << 10;     ///< static workgroup memory of a block
};

} // namespace qwench::gpu
