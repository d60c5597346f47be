#include "tests/gpu/first_gpu.h"

#include "runtime/device/driver.h"

#include <cstdlib>
#include <string_view>

namespace qwench::gpu_test {

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

} // namespace

Gpu firstGpu() {
  Gpu gpu;
  for (const char *api : {"cuda", "rocm"}) {
    Result<std::unique_ptr<Driver>> driver = Driver::open(api);
    Result<std::string> arch = driver ? firstArchitecture(**driver) : Result<std::string>(driver.takeError());
    if (arch)
      return {api, *arch, ""};
    gpu.missing += (gpu.missing.empty() ? "" : "; ") + arch.error().message;
  }
  return gpu;
}

bool hasDependentLaunches(const Gpu &gpu) {
  return gpu.api == "cuda" && std::atoi(gpu.arch.c_str() + std::string_view("sm_").size()) >= 90;
}

} // namespace qwench::gpu_test
