// The driver functions in use: our own declarations of the two vendors' interfaces, which agree in almost all of them.
// Handles and device addresses are 64-bit integers here; where a vendor declares a pointer, the calling convention of
// x86-64 passes the same register.
#pragma once

#include <cstddef>
#include <cstdint>

namespace qwench {

using DeviceAddress = uint64_t;
using DriverHandle = void *; // stream, event, module, function, graph

/// 0 is success in both; other numbers are the driver's.
using DriverResult = int;

/// CUlaunchAttribute of CUDA 12: a number and 64 bytes, whose first four are the value of what we use.
struct CudaLaunchAttribute {
  int attribute, unused;
  int value;
  char rest[60];
};
/// CUlaunchConfig.
struct CudaLaunch {
  unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, shared;
  DriverHandle stream;
  const CudaLaunchAttribute *attributes;
  unsigned attributeCount;
};
static_assert(sizeof(CudaLaunchAttribute) == 72 && sizeof(CudaLaunch) == 56);

// X(member, parameters, CUDA's name, HIP's name)
#define QWENCH_DRIVER_SYMBOLS(X)                                                                               \
  X(init, (unsigned flags), "cuInit", "hipInit")                                                              \
  X(driverVersion, (int *version), "cuDriverGetVersion", "hipDriverGetVersion")                               \
  X(errorName, (DriverResult, const char **name), "cuGetErrorName", "hipDrvGetErrorName")                     \
  X(errorText, (DriverResult, const char **text), "cuGetErrorString", "hipDrvGetErrorString")                 \
  X(deviceCount, (int *count), "cuDeviceGetCount", "hipGetDeviceCount")                                       \
  X(deviceGet, (int *device, int ordinal), "cuDeviceGet", "hipDeviceGet")                                     \
  X(deviceName, (char *name, int bytes, int device), "cuDeviceGetName", "hipDeviceGetName")                   \
  X(memoryInfo, (size_t *free, size_t *total), "cuMemGetInfo_v2", "hipMemGetInfo")                            \
  X(allocate, (DeviceAddress * out, size_t bytes), "cuMemAlloc_v2", "hipMalloc")                              \
  X(release, (DeviceAddress), "cuMemFree_v2", "hipFree")                                                      \
  X(hostAllocate, (void **out, size_t bytes, unsigned flags), "cuMemHostAlloc", "hipHostMalloc")              \
  X(hostRelease, (void *), "cuMemFreeHost", "hipHostFree")                                                    \
  X(upload, (DeviceAddress, const void *, size_t, DriverHandle stream), "cuMemcpyHtoDAsync_v2",               \
    "hipMemcpyHtoDAsync")                                                                                     \
  X(download, (void *, DeviceAddress, size_t, DriverHandle stream), "cuMemcpyDtoHAsync_v2",                   \
    "hipMemcpyDtoHAsync")                                                                                     \
  X(copy, (DeviceAddress to, DeviceAddress from, size_t, DriverHandle stream), "cuMemcpyDtoDAsync_v2",        \
    "hipMemcpyDtoDAsync")                                                                                     \
  X(fill, (DeviceAddress, unsigned char, size_t, DriverHandle stream), "cuMemsetD8Async", "hipMemsetD8Async") \
  X(streamCreate, (DriverHandle * out, unsigned flags), "cuStreamCreate", "hipStreamCreateWithFlags")         \
  X(streamDestroy, (DriverHandle), "cuStreamDestroy_v2", "hipStreamDestroy")                                  \
  X(streamSynchronize, (DriverHandle), "cuStreamSynchronize", "hipStreamSynchronize")                         \
  X(beginCapture, (DriverHandle stream, int mode), "cuStreamBeginCapture_v2", "hipStreamBeginCapture")        \
  X(endCapture, (DriverHandle stream, DriverHandle *graph), "cuStreamEndCapture", "hipStreamEndCapture")      \
  X(graphInstantiate, (DriverHandle * out, DriverHandle graph, unsigned long long flags),                     \
    "cuGraphInstantiateWithFlags", "hipGraphInstantiateWithFlags")                                            \
  X(graphLaunch, (DriverHandle executable, DriverHandle stream), "cuGraphLaunch", "hipGraphLaunch")           \
  X(graphExecDestroy, (DriverHandle), "cuGraphExecDestroy", "hipGraphExecDestroy")                            \
  X(graphDestroy, (DriverHandle), "cuGraphDestroy", "hipGraphDestroy")                                        \
  X(eventCreate, (DriverHandle * out, unsigned flags), "cuEventCreate", "hipEventCreateWithFlags")            \
  X(eventDestroy, (DriverHandle), "cuEventDestroy_v2", "hipEventDestroy")                                     \
  X(eventRecord, (DriverHandle event, DriverHandle stream), "cuEventRecord", "hipEventRecord")                \
  X(eventSynchronize, (DriverHandle), "cuEventSynchronize", "hipEventSynchronize")                            \
  X(eventElapsed, (float *milliseconds, DriverHandle from, DriverHandle to), "cuEventElapsedTime",            \
    "hipEventElapsedTime")                                                                                    \
  X(moduleLoad,                                                                                               \
    (DriverHandle * out, const void *image, unsigned count, const int *options, void **values),               \
    "cuModuleLoadDataEx", "hipModuleLoadDataEx")                                                              \
  X(moduleUnload, (DriverHandle), "cuModuleUnload", "hipModuleUnload")                                        \
  X(moduleFunction, (DriverHandle * out, DriverHandle module, const char *name), "cuModuleGetFunction",       \
    "hipModuleGetFunction")                                                                                   \
  X(launch,                                                                                                   \
    (DriverHandle function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX, unsigned blockY, \
     unsigned blockZ, unsigned shared, DriverHandle stream, void **parameters, void **extra),                 \
    "cuLaunchKernel", "hipModuleLaunchKernel")                                                                \
  X(launchTogether,                                                                                           \
    (DriverHandle function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX, unsigned blockY, \
     unsigned blockZ, unsigned shared, DriverHandle stream, void **parameters),                               \
    "cuLaunchCooperativeKernel", "hipModuleLaunchCooperativeKernel")                                          \
  X(blocksPerMultiprocessor, (int *blocks, DriverHandle function, int threads, size_t shared),                \
    "cuOccupancyMaxActiveBlocksPerMultiprocessor", "hipModuleOccupancyMaxActiveBlocksPerMultiprocessor")      \
  X(deviceAttribute, (int *value, int attribute, int device), "cuDeviceGetAttribute", "hipDeviceGetAttribute")

// X(member, parameters, name): what only one of them has.
#define QWENCH_CUDA_SYMBOLS(X)                                                                       \
  X(contextRetain, (DriverHandle * context, int device), "cuDevicePrimaryCtxRetain")                \
  X(contextRelease, (int device), "cuDevicePrimaryCtxRelease_v2")                                   \
  X(contextSet, (DriverHandle context), "cuCtxSetCurrent")                                          \
  X(functionAttribute, (DriverHandle function, int attribute, int value), "cuFuncSetAttribute")       \
  X(launchWith, (const CudaLaunch *how, DriverHandle function, void **parameters, void **extra), "cuLaunchKernelEx")

#define QWENCH_HIP_SYMBOLS(X)                                                                        \
  X(setDevice, (int device), "hipSetDevice")                                                        \
  X(deviceProperties, (void *properties, int device), "hipGetDevicePropertiesR0600")

/// Numbers of the two interfaces that we use.
namespace driver_numbers {
inline constexpr int kCaptureThreadLocal = 1;                // both: calls of other threads do not disturb it
inline constexpr unsigned kStreamNonBlocking = 1;            // both
inline constexpr unsigned kEventBlocking = 1;                // both: waiting sleeps
inline constexpr unsigned kEventNoTiming = 2;                // both
inline constexpr int kCudaComputeMajor = 75, kCudaComputeMinor = 76; // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
inline constexpr int kCudaMultiprocessors = 16, kCudaCooperative = 95; // CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, _COOPERATIVE_LAUNCH
inline constexpr int kHipMultiprocessors = 63, kHipCooperative = 10;   // hipDeviceAttributeMultiprocessorCount, CooperativeLaunch
inline constexpr int kCudaDynamicShared = 8; // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
inline constexpr int kCudaDependent = 6;     // CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
inline constexpr int kCudaJitErrorLog = 5, kCudaJitErrorLogBytes = 6; // CU_JIT_ERROR_LOG_BUFFER, ..._SIZE_BYTES
inline constexpr size_t kHipPropertiesBytes = 1472, kHipArchOffset = 1160, kHipArchBytes = 256; // hipDeviceProp_tR0600
} // namespace driver_numbers

} // namespace qwench
