// Programs for the first GPU of this machine, in the form that QWENCH_GPU_FORM names, if the GPU has it: "auto", or one that has to be
// asked for.
#include "tests/e2e/machine.h"
#include "tests/gpu/first_gpu.h"

#include <string>

using namespace qwench;

static e2e::Machine findGpu() {
  const gpu_test::Gpu gpu = gpu_test::firstGpu();
  const std::string form = QWENCH_GPU_FORM;
  if (!gpu.missing.empty())
    return {{}, gpu.missing};
  if (form == "wgmma" && gpu.arch != "sm_90a")
    return {{}, "wgmma: expected an sm_90a, found " + gpu.arch};
  if (form == "dependent" && !gpu_test::hasDependentLaunches(gpu))
    return {{}, "dependent launches: expected an sm_90a or later, found " + gpu.arch};
  e2e::Machine machine = {{"--target", gpu.api, "--gpu", gpu.arch}, ""};
  auto ask = [&](const char *option, const char *value) { machine.options.insert(machine.options.end(), {option, value}); };
  if (form == "wgmma")
    ask("--matrix-unit", "wgmma");
  if (form == "dependent")
    ask("--dependent-launch", "on");
  if (form == "persistent")
    ask("--schedule", "persistent");
  return machine;
}

const e2e::Machine &qwench::e2e::machine() {
  static const Machine gpu = findGpu();
  return gpu;
}
