#include "runtime/device/driver.h"

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <string>
#include <vector>

namespace qwench {

using namespace driver_numbers;

namespace {

constexpr int kOldestCuda = 12000, kOldestHip = 60000000; // as the drivers count: 12.0, 6.0.0
constexpr int kOldestDependent = 12030; // CUDA 12.3: dependent launches in graphs

/// What users know the parts as.
struct Vendor {
  std::string_view api;
  const char *driver, *gpu, *oldest;
  std::vector<const char *> libraries;
};

const Vendor &vendorOf(std::string_view api) {
  static const Vendor cuda = {"cuda", "NVIDIA driver", "NVIDIA GPU", "CUDA 12", {"libcuda.so.1"}};
  static const Vendor rocm = {
      "rocm", "ROCm runtime", "AMD GPU", "ROCm 6", {"libamdhip64.so.7", "libamdhip64.so.6"}};
  return api == "cuda" ? cuda : rocm;
}

/// Why dlopen failed: "libcuda.so.1: cannot open shared object file: ...".
std::string loaderMessage() {
  const char *text = dlerror();
  return text ? text : "unknown reason";
}

} // namespace

Result<std::unique_ptr<Driver>> Driver::open(std::string_view api) {
  if (api != "cuda" && api != "rocm")
    return internalError("expected a program for cuda or rocm, found '" + std::string(api) + "'");
  std::unique_ptr<Driver> driver(new Driver());
  if (Status loaded = driver->load(api); !loaded)
    return loaded.takeError();
  const Vendor &vendor = vendorOf(api);
  DriverResult result = driver->init(0);
  if (Status status = driver->check(result, driver->names.init); !status)
    return userError(std::string("expected an ") + vendor.gpu + ", found none: " + status.error().message);
  if (Status version = driver->checkVersion(api); !version)
    return version.takeError();
  return driver;
}

Driver::~Driver() {
  if (library)
    dlclose(library);
}

Status Driver::load(std::string_view api) {
  const Vendor &vendor = vendorOf(api);
  std::vector<const char *> candidates = vendor.libraries;
  if (const char *chosen = getenv("QWENCH_GPU_DRIVER"); chosen && *chosen)
    candidates = {chosen};
  std::string tried, reason;
  for (const char *name : candidates) {
    library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library)
      break;
    tried.append(tried.empty() ? "" : ", ").append(name);
    reason = loaderMessage();
  }
  if (!library)
    return userError("this model needs an " + std::string(vendor.gpu) + ": expected the " + vendor.driver + " (" +
                     tried + "), found none: " + reason);
  std::string missing;
  auto find = [&](auto &member, const char *&name, const char *symbol) {
    name = symbol;
    member = reinterpret_cast<std::remove_reference_t<decltype(member)>>(dlsym(library, symbol));
    if (!member)
      missing = symbol;
  };
  const bool cuda = api == "cuda";
#define QWENCH_FIND(member, parameters, cudaName, hipName) find(member, names.member, cuda ? cudaName : hipName);
  QWENCH_DRIVER_SYMBOLS(QWENCH_FIND)
#undef QWENCH_FIND
#define QWENCH_FIND(member, parameters, name) find(member, names.member, name);
  if (cuda) {
    QWENCH_CUDA_SYMBOLS(QWENCH_FIND)
  } else {
    QWENCH_HIP_SYMBOLS(QWENCH_FIND)
  }
#undef QWENCH_FIND
  if (!missing.empty())
    return userError("the " + std::string(vendor.driver) + " is too old: expected one for " + vendor.oldest +
                     " or newer, found one without " + missing);
  return ok();
}

Status Driver::checkVersion(std::string_view api) {
  if (Status status = QWENCH_CALL(*this, driverVersion, &version); !status)
    return status;
  const bool cuda = api == "cuda";
  if (version >= (cuda ? kOldestCuda : kOldestHip))
    return ok();
  const int major = version / (cuda ? 1000 : 10000000), minor = version % (cuda ? 1000 : 10000000) / (cuda ? 10 : 100000);
  return userError("the " + std::string(vendorOf(api).driver) + " is too old: expected one for " +
                   vendorOf(api).oldest + " or newer, found " + std::to_string(major) + "." + std::to_string(minor));
}

Result<std::string> Driver::architecture(int device) const {
  if (hasContexts()) {
    int major = 0, minor = 0;
    if (Status status = QWENCH_CALL(*this, deviceAttribute, &major, kCudaComputeMajor, device); !status)
      return status.takeError();
    if (Status status = QWENCH_CALL(*this, deviceAttribute, &minor, kCudaComputeMinor, device); !status)
      return status.takeError();
    return "sm_" + std::to_string(major * 10 + minor);
  }
  // Twice the size that we know: later drivers fill in the structure of their version of this symbol.
  std::vector<char> properties(2 * kHipPropertiesBytes);
  if (Status status = QWENCH_CALL(*this, deviceProperties, properties.data(), device); !status)
    return status.takeError();
  std::string arch(properties.data() + kHipArchOffset, strnlen(properties.data() + kHipArchOffset, kHipArchBytes));
  return arch.substr(0, arch.find(':')); // "gfx942:sramecc+:xnack-"
}

std::string_view Driver::vendor() const { return hasContexts() ? "NVIDIA" : "AMD"; }

Result<DriverHandle> Driver::retainContext(int device) const {
  DriverHandle context = nullptr;
  if (hasContexts())
    if (Status status = QWENCH_CALL(*this, contextRetain, &context, device); !status)
      return status.takeError();
  return context;
}

void Driver::releaseContext(int device) const {
  if (hasContexts())
    (void)contextRelease(device);
}

Status Driver::use(int device, DriverHandle context) const {
  return hasContexts() ? QWENCH_CALL(*this, contextSet, context) : QWENCH_CALL(*this, setDevice, device);
}

Status Driver::allowShared(DriverHandle function, uint32_t bytes) const {
  constexpr uint32_t kAlwaysAllowed = 48 << 10; // what CUDA gives without being asked; HIP gives all
  if (!hasContexts() || bytes <= kAlwaysAllowed)
    return ok();
  return QWENCH_CALL(*this, functionAttribute, function, kCudaDynamicShared, static_cast<int>(bytes));
}

Result<uint32_t> Driver::blocksTogether(int device, DriverHandle function, uint32_t threads, uint32_t sharedBytes) const {
  const bool cuda = hasContexts();
  int cooperative = 0, multiprocessors = 0, blocks = 0;
  if (Status status = QWENCH_CALL(*this, deviceAttribute, &cooperative, cuda ? kCudaCooperative : kHipCooperative, device); !status)
    return status.takeError();
  if (!cooperative)
    return 0u;
  if (Status status = QWENCH_CALL(*this, deviceAttribute, &multiprocessors, cuda ? kCudaMultiprocessors : kHipMultiprocessors, device);
      !status)
    return status.takeError();
  if (Status status = QWENCH_CALL(*this, blocksPerMultiprocessor, &blocks, function, static_cast<int>(threads), sharedBytes); !status)
    return status.takeError();
  return static_cast<uint32_t>(blocks) * static_cast<uint32_t>(multiprocessors);
}

Status Driver::launchDependent(DriverHandle function, uint32_t blocks, uint32_t threads, uint32_t sharedBytes, DriverHandle stream,
                               void **parameters) const {
  if (!launchWith || version < kOldestDependent)
    return QWENCH_CALL(*this, launch, function, blocks, 1, 1, threads, 1, 1, sharedBytes, stream, parameters, nullptr);
  const CudaLaunchAttribute early = {kCudaDependent, 0, 1, {}};
  const CudaLaunch how = {blocks, 1, 1, threads, 1, 1, sharedBytes, stream, &early, 1};
  return QWENCH_CALL(*this, launchWith, &how, function, parameters, nullptr);
}

Status Driver::check(DriverResult result, const char *call) const {
  if (result == 0)
    return ok();
  const char *name = nullptr, *text = nullptr;
  if (!errorName || errorName(result, &name) != 0 || !name)
    name = "an unknown error";
  if (!errorText || errorText(result, &text) != 0 || !text)
    text = "no description";
  return userError(std::string(call) + " failed: " + name + " (" + std::to_string(result) + "), " + text);
}

} // namespace qwench
