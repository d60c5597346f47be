// A vendor's driver library, opened by name: nothing of it is needed to build or to link.
#pragma once

#include "runtime/abi/result.h"
#include "runtime/device/symbols.h"

#include <memory>
#include <string>
#include <string_view>

namespace qwench {

/// The driver's functions as members of the names in symbols.h. Which of the two vendors' it is, the members say that
/// only one of them has.
class Driver {
public:
  /// `api` is "cuda" or "rocm". Opens libcuda.so.1 or libamdhip64.so.7 or .6; the environment variable
  /// QWENCH_GPU_DRIVER names another file. No library, a missing function or too old a driver is a user error.
  static Result<std::unique_ptr<Driver>> open(std::string_view api);
  ~Driver();
  Driver(const Driver &) = delete;

  /// Whose GPUs it drives: "NVIDIA", "AMD".
  std::string_view vendor() const;

  /// What images call the architecture of a device: "sm_90", "gfx942".
  Result<std::string> architecture(int device) const;

  /// The context in which a device's memory and code live: null where the vendor has none. releaseContext() gives it back.
  Result<DriverHandle> retainContext(int device) const;
  void releaseContext(int device) const;
  /// Later calls of this thread are for the device.
  Status use(int device, DriverHandle context) const;
  /// Lets a kernel be launched with so much dynamic workgroup memory.
  Status allowShared(DriverHandle function, uint32_t bytes) const;

  /// Blocks of a kernel that run at once: 0 on a device that promises this of none.
  Result<uint32_t> blocksTogether(int device, DriverHandle function, uint32_t threads, uint32_t sharedBytes) const;

  /// Launches a kernel that waits itself for the launches before it on the stream, which may still run when it begins. A driver
  /// that does not know this in a graph launches it behind them.
  Status launchDependent(DriverHandle function, uint32_t blocks, uint32_t threads, uint32_t sharedBytes, DriverHandle stream,
                         void **parameters) const;

  /// Success, or an error that names the call, the driver's name of the number, and its meaning.
  Status check(DriverResult result, const char *call) const;

#define QWENCH_MEMBER(member, parameters, ...) DriverResult(*member) parameters = nullptr;
  QWENCH_DRIVER_SYMBOLS(QWENCH_MEMBER)
  QWENCH_CUDA_SYMBOLS(QWENCH_MEMBER)
  QWENCH_HIP_SYMBOLS(QWENCH_MEMBER)
#undef QWENCH_MEMBER

  /// The vendor's names of the functions, for check(): names.upload is "cuMemcpyHtoDAsync_v2".
  struct Names {
#define QWENCH_NAME(member, ...) const char *member = "";
    QWENCH_DRIVER_SYMBOLS(QWENCH_NAME)
    QWENCH_CUDA_SYMBOLS(QWENCH_NAME)
    QWENCH_HIP_SYMBOLS(QWENCH_NAME)
#undef QWENCH_NAME
  } names;

private:
  Driver() = default;
  /// CUDA has contexts and attributes where HIP has calls of its own.
  bool hasContexts() const { return contextRetain != nullptr; }
  Status load(std::string_view api);
  Status checkVersion(std::string_view api);

  void *library = nullptr;
  int version = 0; ///< as the driver counts
};

} // namespace qwench

/// Calls a member of `driver` (a Driver &) and checks its result.
#define QWENCH_CALL(driver, member, ...) (driver).check((driver).member(__VA_ARGS__), (driver).names.member)
