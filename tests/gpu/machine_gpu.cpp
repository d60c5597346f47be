// The first GPU of this machine multiplies as QWENCH_MATRIX_UNIT says, if it can.
#include "tests/e2e/machine.h"
#include "tests/gpu/first_gpu.h"

#include <string_view>

using namespace qwench;

static e2e::Machine findGpu() {
  const gpu_test::Gpu gpu = gpu_test::firstGpu();
  if (!gpu.missing.empty())
    return {{}, gpu.missing};
  if (std::string_view(QWENCH_MATRIX_UNIT) == "wgmma" && gpu.arch != "sm_90a")
    return {{}, "wgmma: expected an sm_90a, found " + gpu.arch};
  return {{"--target", gpu.api, "--gpu", gpu.arch, "--matrix-unit", QWENCH_MATRIX_UNIT}, ""};
}

const e2e::Machine &qwench::e2e::machine() {
  static const Machine gpu = findGpu();
  return gpu;
}
