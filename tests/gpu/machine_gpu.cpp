// The first GPU of this machine, of either vendor.
#include "runtime/device/driver.h"
#include "tests/e2e/machine.h"

#include <cstring>

using namespace qwench;
using namespace qwench::driver_numbers;

namespace {

/// --gpu's name of the first GPU that a driver knows.
Result<std::string> firstArchitecture(const Driver &driver) {
  int device = 0;
  if (Status status = QWENCH_CALL(driver, deviceGet, &device, 0); !status)
    return status.takeError();
  if (driver.isCuda()) {
    int major = 0, minor = 0;
    Status first = QWENCH_CALL(driver, deviceAttribute, &major, kCudaComputeMajor, device);
    Status second = QWENCH_CALL(driver, deviceAttribute, &minor, kCudaComputeMinor, device);
    if (!first || !second)
      return first ? second.takeError() : first.takeError();
    const bool suffix = minor == 0 && (major == 9 || major == 10); // sm_90a, sm_100a
    return "sm_" + std::to_string(major * 10 + minor) + (suffix ? "a" : "");
  }
  std::vector<char> properties(2 * kHipPropertiesBytes);
  if (Status status = QWENCH_CALL(driver, deviceProperties, properties.data(), device); !status)
    return status.takeError();
  std::string arch(properties.data() + kHipArchOffset, strnlen(properties.data() + kHipArchOffset, kHipArchBytes));
  return arch.substr(0, arch.find(':'));
}

e2e::Machine findGpu() {
  e2e::Machine machine;
  for (const char *api : {"cuda", "rocm"}) {
    Result<std::unique_ptr<Driver>> driver = Driver::open(api);
    Result<std::string> arch = driver ? firstArchitecture(**driver) : Result<std::string>(driver.takeError());
    if (arch)
      return {{"--target", api, "--gpu", *arch}, ""};
    machine.missing += (machine.missing.empty() ? "" : "; ") + arch.error().message;
  }
  return machine;
}

} // namespace

const e2e::Machine &qwench::e2e::machine() {
  static const Machine gpu = findGpu();
  return gpu;
}
