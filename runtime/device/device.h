// One GPU: memory, copies, images, launches, graphs, events. Every call's result is checked.
#pragma once

#include "runtime/abi/program.h"
#include "runtime/device/driver.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace qwench {

/// A GPU of this machine that one of a program's images runs on, with that image loaded and one stream. Calls of one
/// Device come from one thread at a time; use() comes first on every thread. All errors are the user's: what is wrong is
/// the machine, not the program.
class Device {
public:
  /// The first GPU, in the driver's order, that an image fits; the best of the images that its driver accepts. Fails
  /// without driver, GPU, or image that fits, before any memory is taken.
  static Result<std::unique_ptr<Device>> open(const QwenchDeviceProgram &program);
  ~Device();
  Device(const Device &) = delete;

  const std::string &name() const { return gpuName; } ///< "NVIDIA H100 80GB HBM3"
  const std::string &arch() const { return gpuArch; } ///< "sm_90", "gfx942"
  const QwenchImage &image() const { return *loaded; }

  /// Makes it the calling thread's current device.
  Status use();

  Result<uint64_t> freeMemory() const; ///< bytes
  Result<DeviceAddress> allocate(uint64_t bytes);
  /// Pinned memory of the host: copies from and to it run beside the CPU.
  Result<uint8_t *> allocateHost(uint64_t bytes);
  Status releaseHost(uint8_t *address);

  // In the order of the stream, without waiting; host memory must stay as it is until then.
  Status upload(DeviceAddress to, const void *from, uint64_t bytes);
  Status download(void *to, DeviceAddress from, uint64_t bytes);
  Status copy(DeviceAddress to, DeviceAddress from, uint64_t bytes);
  Status zero(DeviceAddress to, uint64_t bytes);
  /// `parameters`: an address of each of the kernel's. A cooperative kernel gets as many blocks as run at once. A dependent one may
  /// begin before the call before this one has ended, which is a launch if it is `afterLaunch`.
  Status launch(int64_t kernel, uint32_t blocks, void **parameters, bool afterLaunch);

  Status synchronize();

  /// What is enqueued between the two becomes a graph's instead of running.
  Status beginCapture();
  Result<DriverHandle> endCapture();
  Status replay(DriverHandle graph);

  /// Events without times say when the stream has come so far; those with times measure it.
  Result<DriverHandle> createEvent(bool timed = false);
  Status record(DriverHandle event);
  Status wait(DriverHandle event); ///< the host waits
  Result<float> milliseconds(DriverHandle from, DriverHandle to);

private:
  Device(std::unique_ptr<Driver> driver, const QwenchDeviceProgram &program)
      : driver(std::move(driver)), program(program) {}

  Result<bool> tryOrdinal(int ordinal); ///< false: no image fits
  Status loadImage(const QwenchImage &image);
  Status findKernels();
  Status findKernel(const QwenchKernel &kernel);

  std::unique_ptr<Driver> driver;
  const QwenchDeviceProgram &program;
  const QwenchImage *loaded = nullptr;
  int handle = 0;
  DriverHandle context = nullptr, stream = nullptr, module = nullptr; // context: CUDA's only
  std::string gpuName, gpuArch;
  std::vector<DriverHandle> functions, graphs, events;
  std::vector<uint32_t> together; ///< of each function: blocks that run at once, if it is cooperative
  std::vector<DeviceAddress> memory;
  std::vector<void *> hostMemory;
};

/// "17.2 GB", for messages about memory.
std::string formatMemory(uint64_t bytes);

} // namespace qwench
