// The first GPU of this machine, of either vendor; it multiplies as QWENCH_MATRIX_UNIT says, if it can.
#include "runtime/device/driver.h"
#include "tests/e2e/machine.h"

#include <string_view>

using namespace qwench;

namespace {

/// --gpu's name of the first GPU that a driver knows.
Result<std::string> firstArchitecture(const Driver &driver) {
  int device = 0;
  if (Status status = QWENCH_CALL(driver, deviceGet, &device, 0); !status)
    return status.takeError();
  Result<std::string> arch = driver.architecture(device);
  if (arch && (*arch == "sm_90" || *arch == "sm_100"))
    *arch += "a";
  return arch;
}

e2e::Machine findGpu() {
  e2e::Machine machine;
  for (const char *api : {"cuda", "rocm"}) {
    Result<std::unique_ptr<Driver>> driver = Driver::open(api);
    Result<std::string> arch = driver ? firstArchitecture(**driver) : Result<std::string>(driver.takeError());
    if (arch && std::string_view(QWENCH_MATRIX_UNIT) == "wgmma" && *arch != "sm_90a")
      return {{}, "wgmma: expected an sm_90a, found " + *arch};
    if (arch)
      return {{"--target", api, "--gpu", *arch, "--matrix-unit", QWENCH_MATRIX_UNIT}, ""};
    machine.missing += (machine.missing.empty() ? "" : "; ") + arch.error().message;
  }
  return machine;
}

} // namespace

const e2e::Machine &qwench::e2e::machine() {
  static const Machine gpu = findGpu();
  return gpu;
}
