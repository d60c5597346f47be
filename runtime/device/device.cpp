#include "runtime/device/device.h"

#include "runtime/device/images.h"

#include <cstdio>
#include <cstring>
#include <span>

namespace qwench {

using namespace driver_numbers;

std::string formatMemory(uint64_t bytes) {
  char text[32];
  const bool large = bytes >= 100000000;
  snprintf(text, sizeof text, large ? "%.1f GB" : "%.1f MB", static_cast<double>(bytes) / (large ? 1e9 : 1e6));
  return text;
}

Result<std::unique_ptr<Device>> Device::open(const QwenchDeviceProgram &program) {
  std::span<const QwenchImage> images(program.images, program.image_count);
  Result<std::unique_ptr<Driver>> driver = Driver::open(program.api);
  if (!driver)
    return driver.takeError();
  std::unique_ptr<Device> device(new Device(driver.take(), program));
  int count = 0;
  if (Status status = QWENCH_CALL(*device->driver, deviceCount, &count); !status)
    return status.takeError();
  if (count < 1)
    return userError("expected an " + std::string(device->driver->vendor()) + " GPU, found none");
  std::string found;
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    Result<bool> fits = device->tryOrdinal(ordinal);
    if (!fits)
      return fits.takeError();
    if (*fits)
      return device;
    found += (found.empty() ? "" : ", ") + device->gpuName + " (" + device->gpuArch + ")";
  }
  return userError("no GPU here fits this model: expected one for " + describeImages(images) + ", found " + found);
}

Result<bool> Device::tryOrdinal(int ordinal) {
  char name[256] = "";
  if (Status status = QWENCH_CALL(*driver, deviceGet, &handle, ordinal); !status)
    return status.takeError();
  if (Status status = QWENCH_CALL(*driver, deviceName, name, sizeof name - 1, handle); !status)
    return status.takeError();
  gpuName = name;
  Result<std::string> arch = driver->architecture(handle);
  if (!arch)
    return arch.takeError();
  gpuArch = arch.take();
  auto fitting = fittingImages({program.images, static_cast<size_t>(program.image_count)}, gpuArch);
  if (fitting.empty())
    return false;
  Result<DriverHandle> retained = driver->retainContext(handle);
  if (!retained)
    return retained.takeError();
  context = *retained;
  if (Status status = use(); !status)
    return status.takeError();
  if (Status status = QWENCH_CALL(*driver, streamCreate, &stream, kStreamNonBlocking); !status)
    return status.takeError();
  // A driver older than the assembler refuses its machine code, and translates PTX itself.
  Status first = ok();
  for (const QwenchImage *image : fitting) {
    Status status = loadImage(*image);
    if (status) {
      Status kernels = findKernels();
      return kernels ? Result<bool>(true) : Result<bool>(kernels.takeError());
    }
    if (first)
      first = std::move(status);
  }
  return first.takeError();
}

Status Device::loadImage(const QwenchImage &image) {
  char log[1024] = "";
  const int options[] = {kCudaJitErrorLog, kCudaJitErrorLogBytes};
  void *values[] = {log, reinterpret_cast<void *>(sizeof log - 1)};
  const bool translates = image.kind == QWENCH_IMAGE_PTX;
  Status status = QWENCH_CALL(*driver, moduleLoad, &module, image.bytes, translates ? 2 : 0, translates ? options : nullptr,
                              translates ? values : nullptr);
  if (status) {
    loaded = &image;
    return ok();
  }
  std::string message = "cannot load the code for " + describeImage(image) + " on " + gpuName + ": " + status.error().message;
  if (*log)
    message += ": " + std::string(log, strnlen(log, sizeof log)).substr(0, 200);
  return userError(message);
}

Status Device::findKernels() {
  for (int64_t i = 0; i < program.kernel_count; ++i)
    if (Status status = findKernel(loaded->kernels[i]); !status)
      return userError("kernel " + std::string(loaded->kernels[i].name) + ": " + status.error().message);
  return ok();
}

Status Device::findKernel(const QwenchKernel &kernel) {
  DriverHandle function = nullptr;
  if (Status status = QWENCH_CALL(*driver, moduleFunction, &function, module, kernel.name); !status)
    return status;
  if (Status status = driver->allowShared(function, kernel.shared_bytes); !status)
    return status;
  uint32_t blocks = 0;
  if (kernel.cooperative) {
    Result<uint32_t> fitting = driver->blocksTogether(handle, function, kernel.threads, kernel.shared_bytes);
    if (!fitting)
      return fitting.takeError();
    blocks = *fitting;
    if (!blocks)
      return userError("expected a GPU that runs all blocks of a kernel at once, found " + gpuName +
                       ", which does not: the model must be compiled with --schedule graph");
  }
  functions.push_back(function);
  together.push_back(blocks);
  return ok();
}

Device::~Device() {
  // Errors have nobody to go to here; what one call leaves behind, the end of the process takes.
  if (stream && use())
    (void)driver->streamSynchronize(stream);
  for (DriverHandle graph : graphs)
    (void)driver->graphExecDestroy(graph);
  for (DriverHandle event : events)
    (void)driver->eventDestroy(event);
  for (DeviceAddress address : memory)
    (void)driver->release(address);
  for (void *address : hostMemory)
    (void)driver->hostRelease(address);
  if (module)
    (void)driver->moduleUnload(module);
  if (stream)
    (void)driver->streamDestroy(stream);
  if (context)
    driver->releaseContext(handle);
}

Status Device::use() { return driver->use(handle, context); }

Result<uint64_t> Device::freeMemory() const {
  size_t free = 0, total = 0;
  if (Status status = QWENCH_CALL(*driver, memoryInfo, &free, &total); !status)
    return status.takeError();
  return static_cast<uint64_t>(free);
}

Result<DeviceAddress> Device::allocate(uint64_t bytes) {
  DeviceAddress address = 0;
  if (Status status = QWENCH_CALL(*driver, allocate, &address, bytes ? bytes : 1); !status)
    return userError(gpuName + ": cannot take " + formatMemory(bytes) + " of memory: " + status.error().message);
  memory.push_back(address);
  return address;
}

Result<uint8_t *> Device::allocateHost(uint64_t bytes) {
  void *address = nullptr;
  if (Status status = QWENCH_CALL(*driver, hostAllocate, &address, bytes ? bytes : 1, 0u); !status)
    return userError("cannot pin " + formatMemory(bytes) + " of memory: " + status.error().message);
  hostMemory.push_back(address);
  return static_cast<uint8_t *>(address);
}

Status Device::releaseHost(uint8_t *address) {
  std::erase(hostMemory, address);
  return QWENCH_CALL(*driver, hostRelease, address);
}

Status Device::upload(DeviceAddress to, const void *from, uint64_t bytes) {
  return bytes ? QWENCH_CALL(*driver, upload, to, from, bytes, stream) : ok();
}

Status Device::download(void *to, DeviceAddress from, uint64_t bytes) {
  return bytes ? QWENCH_CALL(*driver, download, to, from, bytes, stream) : ok();
}

Status Device::copy(DeviceAddress to, DeviceAddress from, uint64_t bytes) {
  return bytes ? QWENCH_CALL(*driver, copy, to, from, bytes, stream) : ok();
}

Status Device::zero(DeviceAddress to, uint64_t bytes) {
  return bytes ? QWENCH_CALL(*driver, fill, to, 0, bytes, stream) : ok();
}

Status Device::launch(int64_t kernel, uint32_t blocks, void **parameters, bool afterLaunch) {
  const QwenchKernel &described = loaded->kernels[kernel];
  DriverHandle function = functions[kernel];
  const uint32_t threads = described.threads, shared = described.shared_bytes;
  Status status = ok();
  if (described.cooperative)
    status = QWENCH_CALL(*driver, launchTogether, function, together[kernel], 1, 1, threads, 1, 1, shared, stream, parameters);
  else if (described.dependent && afterLaunch)
    status = driver->launchDependent(function, blocks, threads, shared, stream, parameters);
  else
    status = QWENCH_CALL(*driver, launch, function, blocks, 1, 1, threads, 1, 1, shared, stream, parameters, nullptr);
  return status ? ok() : userError("kernel " + std::string(described.name) + ": " + status.error().message);
}

Status Device::synchronize() { return QWENCH_CALL(*driver, streamSynchronize, stream); }

Status Device::beginCapture() { return QWENCH_CALL(*driver, beginCapture, stream, kCaptureThreadLocal); }

Result<DriverHandle> Device::endCapture() {
  DriverHandle graph = nullptr, executable = nullptr;
  if (Status status = QWENCH_CALL(*driver, endCapture, stream, &graph); !status)
    return status.takeError();
  Status made = QWENCH_CALL(*driver, graphInstantiate, &executable, graph, 0ull);
  Status released = QWENCH_CALL(*driver, graphDestroy, graph);
  if (!made)
    return made.takeError();
  graphs.push_back(executable);
  if (!released)
    return released.takeError();
  return executable;
}

Status Device::replay(DriverHandle graph) { return QWENCH_CALL(*driver, graphLaunch, graph, stream); }

Result<DriverHandle> Device::createEvent(bool timed) {
  DriverHandle event = nullptr;
  const unsigned flags = timed ? 0 : kEventBlocking | kEventNoTiming;
  if (Status status = QWENCH_CALL(*driver, eventCreate, &event, flags); !status)
    return status.takeError();
  events.push_back(event);
  return event;
}

Status Device::record(DriverHandle event) { return QWENCH_CALL(*driver, eventRecord, event, stream); }
Status Device::wait(DriverHandle event) { return QWENCH_CALL(*driver, eventSynchronize, event); }

Result<float> Device::milliseconds(DriverHandle from, DriverHandle to) {
  float time = 0;
  if (Status status = QWENCH_CALL(*driver, eventElapsed, &time, from, to); !status)
    return status.takeError();
  return time;
}

} // namespace qwench
