#include "tests/unit/device/fake_driver.h"
#include "tests/unit/device/fake_arguments.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <sys/mman.h>
#include <utility>
#include <vector>

#ifdef QWENCH_FAKE_ROCM
#define FUNCTION(cuda, hip) extern "C" __attribute__((visibility("default"))) int hip
#define NAME(cuda, hip) #hip
#define NUMBER(cuda, hip) hip
#else
#define FUNCTION(cuda, hip) extern "C" __attribute__((visibility("default"))) int cuda
#define NAME(cuda, hip) #cuda
#define NUMBER(cuda, hip) cuda
#endif

namespace {

enum { Success = 0, Invalid = 1, OutOfMemory = 2, NoDevice = 100, BadImage = 200, NotFound = 500, Injected = 999 };

constexpr unsigned kMultiprocessors = 4, kBlocks = 2; // of each GPU, and of a multiprocessor at once

using Work = std::function<void()>;

struct Event {
  bool reached = false;
};
struct Graph {
  std::vector<Work> work;
};
struct Module {
  std::string image;
};
struct Function {
  std::string name;
};

/// Everything of a process with this driver. Handles are the objects' addresses.
struct State {
  std::vector<std::string> archs;
  size_t memory = 0, used = 0;
  int version = 0;
  std::string failName;
  int failCall = 0;
  std::map<std::string, int> calls;
  std::map<uint64_t, size_t> device; // address and bytes
  std::vector<Work> stream;
  Graph *capturing = nullptr;
  bool behindLaunch = false; // the last that was enqueued is a launch, of the same graph if it is one's
  std::map<std::string, Function> functions;
  int live = 0;
  int current = -1;
};
State state;
std::map<std::string, FakeKernel> kernels;
std::string records;

void log(const std::string &line) {
  records += line + "\n";
  if (const char *path = getenv("QWENCH_FAKE_GPU_LOG"))
    if (FILE *file = fopen(path, "ae")) {
      fprintf(file, "%s\n", line.c_str());
      fclose(file);
    }
}

/// Whether this call is the one that shall fail.
bool fails(const char *name) { return ++state.calls[name] == state.failCall && state.failName == name; }

std::string text(const char *variable, const char *otherwise) {
  const char *value = getenv(variable);
  return value ? value : otherwise;
}

/// Device memory is open while `body` runs.
void onDevice(const Work &body) {
  for (auto [address, bytes] : state.device)
    mprotect(reinterpret_cast<void *>(address), bytes, PROT_READ | PROT_WRITE);
  body();
  for (auto [address, bytes] : state.device)
    mprotect(reinterpret_cast<void *>(address), bytes, PROT_NONE);
}

/// Whether the range lies within one allocation.
bool inside(uint64_t address, size_t bytes) {
  auto after = state.device.upper_bound(address);
  if (after == state.device.begin())
    return false;
  --after;
  return address + bytes <= after->first + after->second;
}

int enqueue(Work work) {
  state.behindLaunch = false;
  (state.capturing ? state.capturing->work : state.stream).push_back(std::move(work));
  return Success;
}

int enqueueLaunch(const char *how, void *function, unsigned blocks, unsigned threads, unsigned shared, void **parameters) {
  int64_t values[4];
  for (int i = 0; i < 4; ++i)
    memcpy(&values[i], parameters[i], sizeof values[i]);
  enqueue([how, name = static_cast<Function *>(function)->name, blocks, threads, shared, step = values[0],
           layer = values[1], instance = values[2], tiles = values[3]] {
    log(how + (" " + name) + " blocks=" + std::to_string(blocks) + " threads=" + std::to_string(threads) +
        " shared=" + std::to_string(shared) + " layer=" + std::to_string(layer) +
        " instance=" + std::to_string(instance) + " tiles=" + std::to_string(tiles));
    if (auto found = kernels.find(name); found != kernels.end())
      for (int64_t block = 0; block < blocks; ++block)
        found->second(reinterpret_cast<const QwenchStep *>(step), layer, instance, tiles, block);
  });
  state.behindLaunch = true;
  return Success;
}

int drain() {
  if (state.capturing)
    return Invalid;
  onDevice([] {
    for (size_t i = 0; i < state.stream.size(); ++i) {
      Work work = std::move(state.stream[i]);
      work();
    }
  });
  state.stream.clear();
  return Success;
}

} // namespace

void fake_gpu_kernel(const char *name, FakeKernel function) { kernels[name] = function; }

const char *fake_gpu_log() {
  static std::string taken;
  taken = std::move(records);
  records.clear();
  return taken.c_str();
}

int fake_gpu_live() { return state.live; }

FUNCTION(cuInit, hipInit)(unsigned) {
  state = State();
#ifdef QWENCH_FAKE_ROCM
  std::string archs = text("QWENCH_FAKE_GPU_ARCHS", "gfx942");
  state.version = atoi(text("QWENCH_FAKE_GPU_VERSION", "60300000").c_str());
#else
  std::string archs = text("QWENCH_FAKE_GPU_ARCHS", "sm_90");
  state.version = atoi(text("QWENCH_FAKE_GPU_VERSION", "13000").c_str());
#endif
  state.memory = strtoull(text("QWENCH_FAKE_GPU_MEMORY", "1000000000").c_str(), nullptr, 10);
  std::string fail = text("QWENCH_FAKE_GPU_FAIL", "");
  state.failName = fail.substr(0, fail.find(':'));
  state.failCall = fail.find(':') == std::string::npos ? 1 : atoi(fail.c_str() + fail.find(':') + 1);
  for (size_t at = 0; archs != "none" && at <= archs.size();) {
    size_t end = std::min(archs.find(',', at), archs.size());
    state.archs.push_back(archs.substr(at, end - at));
    at = end + 1;
  }
  if (fails(NAME(cuInit, hipInit)))
    return NoDevice;
  return state.archs.empty() ? NoDevice : Success;
}

FUNCTION(cuDriverGetVersion, hipDriverGetVersion)(int *version) {
  *version = state.version;
  return Success;
}

FUNCTION(cuGetErrorName, hipDrvGetErrorName)(int result, const char **name) {
  *name = result == OutOfMemory ? "FAKE_OUT_OF_MEMORY"
          : result == NoDevice  ? "FAKE_NO_DEVICE"
          : result == BadImage  ? "FAKE_BAD_IMAGE"
          : result == NotFound  ? "FAKE_NOT_FOUND"
                                : "FAKE_ERROR";
  return Success;
}

FUNCTION(cuGetErrorString, hipDrvGetErrorString)(int result, const char **out) {
  *out = result == OutOfMemory ? "out of memory"
         : result == NoDevice  ? "no device"
         : result == BadImage  ? "the image is bad"
         : result == NotFound  ? "not found"
         : result == Injected  ? "made to fail"
                               : "invalid use";
  return Success;
}

FUNCTION(cuDeviceGetCount, hipGetDeviceCount)(int *count) {
  *count = static_cast<int>(state.archs.size());
  return fails(NAME(cuDeviceGetCount, hipGetDeviceCount)) ? Injected : Success;
}

FUNCTION(cuDeviceGet, hipDeviceGet)(int *device, int ordinal) {
  *device = ordinal;
  return Success;
}

FUNCTION(cuDeviceGetName, hipDeviceGetName)(char *name, int bytes, int device) {
  snprintf(name, bytes, "Fake GPU %d", device);
  return Success;
}

FUNCTION(cuDeviceGetAttribute, hipDeviceGetAttribute)(int *value, int attribute, int device) {
  const int number = atoi(state.archs[device].c_str() + 3); // "sm_90"
  const std::map<int, int> values = {{NUMBER(16, 63), kMultiprocessors},
                                     {NUMBER(95, 10), text("QWENCH_FAKE_GPU_COOPERATIVE", "1") == "1"},
                                     {NUMBER(75, 23), number / 10},
                                     {NUMBER(76, 61), number % 10}};
  auto found = values.find(attribute);
  *value = found == values.end() ? -1 : found->second;
  return found == values.end() ? Invalid : Success;
}

#ifdef QWENCH_FAKE_ROCM
FUNCTION(, hipSetDevice)(int device) {
  state.current = device;
  return fails("hipSetDevice") ? Injected : Success;
}

FUNCTION(, hipGetDevicePropertiesR0600)(void *properties, int device) {
  snprintf(static_cast<char *>(properties) + 1160, 256, "%s:sramecc+:xnack-", state.archs[device].c_str());
  return Success;
}
#else
FUNCTION(cuDevicePrimaryCtxRetain, )(void **context, int device) {
  if (fails("cuDevicePrimaryCtxRetain"))
    return Injected;
  ++state.live;
  *context = reinterpret_cast<void *>(static_cast<intptr_t>(device + 1));
  return Success;
}

FUNCTION(cuDevicePrimaryCtxRelease_v2, )(int) {
  --state.live;
  return Success;
}

FUNCTION(cuCtxSetCurrent, )(void *context) {
  state.current = static_cast<int>(reinterpret_cast<intptr_t>(context)) - 1;
  return fails("cuCtxSetCurrent") ? Injected : Success;
}

FUNCTION(cuFuncSetAttribute, )(void *, int attribute, int) { return attribute == 8 ? Success : Invalid; }
#endif

FUNCTION(cuMemGetInfo_v2, hipMemGetInfo)(size_t *free, size_t *total) {
  if (state.current < 0)
    return Invalid;
  *total = state.memory;
  *free = state.memory - state.used;
  return fails(NAME(cuMemGetInfo_v2, hipMemGetInfo)) ? Injected : Success;
}

FUNCTION(cuMemAlloc_v2, hipMalloc)(uint64_t *out, size_t bytes) {
  if (fails(NAME(cuMemAlloc_v2, hipMalloc)))
    return Injected;
  if (state.used + bytes > state.memory)
    return OutOfMemory;
  void *memory = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    return OutOfMemory;
  state.used += bytes;
  ++state.live;
  *out = reinterpret_cast<uint64_t>(memory);
  state.device[*out] = bytes;
  return Success;
}

FUNCTION(cuMemFree_v2, hipFree)(uint64_t address) {
  auto found = state.device.find(address);
  if (found == state.device.end())
    return Invalid;
  munmap(reinterpret_cast<void *>(address), found->second);
  state.used -= found->second;
  state.device.erase(found);
  --state.live;
  return Success;
}

FUNCTION(cuMemHostAlloc, hipHostMalloc)(void **out, size_t bytes, unsigned) {
  if (fails(NAME(cuMemHostAlloc, hipHostMalloc)))
    return Injected;
  ++state.live;
  *out = malloc(bytes);
  return Success;
}

FUNCTION(cuMemFreeHost, hipHostFree)(void *address) {
  free(address);
  --state.live;
  return Success;
}

FUNCTION(cuMemcpyHtoDAsync_v2, hipMemcpyHtoDAsync)(uint64_t to, const void *from, size_t bytes, void *) {
  if (fails(NAME(cuMemcpyHtoDAsync_v2, hipMemcpyHtoDAsync)))
    return Injected;
  if (!inside(to, bytes))
    return Invalid;
  return enqueue([=] {
    memcpy(reinterpret_cast<void *>(to), from, bytes);
    log("upload " + std::to_string(bytes));
  });
}

FUNCTION(cuMemcpyDtoHAsync_v2, hipMemcpyDtoHAsync)(void *to, uint64_t from, size_t bytes, void *) {
  if (fails(NAME(cuMemcpyDtoHAsync_v2, hipMemcpyDtoHAsync)))
    return Injected;
  if (!inside(from, bytes))
    return Invalid;
  return enqueue([=] {
    memcpy(to, reinterpret_cast<const void *>(from), bytes);
    log("download " + std::to_string(bytes));
  });
}

FUNCTION(cuMemcpyDtoDAsync_v2, hipMemcpyDtoDAsync)(uint64_t to, uint64_t from, size_t bytes, void *) {
  if (fails(NAME(cuMemcpyDtoDAsync_v2, hipMemcpyDtoDAsync)))
    return Injected;
  if (!inside(to, bytes) || !inside(from, bytes))
    return Invalid;
  return enqueue([=] {
    memcpy(reinterpret_cast<void *>(to), reinterpret_cast<const void *>(from), bytes);
    log("copy " + std::to_string(bytes));
  });
}

FUNCTION(cuMemsetD8Async, hipMemsetD8Async)(uint64_t to, unsigned char value, size_t bytes, void *) {
  if (!inside(to, bytes))
    return Invalid;
  return enqueue([=] {
    memset(reinterpret_cast<void *>(to), value, bytes);
    log("fill " + std::to_string(bytes));
  });
}

FUNCTION(cuStreamCreate, hipStreamCreateWithFlags)(void **out, unsigned) {
  if (fails(NAME(cuStreamCreate, hipStreamCreateWithFlags)))
    return Injected;
  ++state.live;
  *out = &state.stream;
  return Success;
}

FUNCTION(cuStreamDestroy_v2, hipStreamDestroy)(void *) {
  --state.live;
  return Success;
}

FUNCTION(cuStreamSynchronize, hipStreamSynchronize)(void *) {
  return fails(NAME(cuStreamSynchronize, hipStreamSynchronize)) ? Injected : drain();
}

FUNCTION(cuStreamBeginCapture_v2, hipStreamBeginCapture)(void *, int) {
  if (fails(NAME(cuStreamBeginCapture_v2, hipStreamBeginCapture)) || state.capturing)
    return Invalid;
  state.capturing = new Graph();
  state.behindLaunch = false;
  log("capture");
  return Success;
}

FUNCTION(cuStreamEndCapture, hipStreamEndCapture)(void *, void **graph) {
  if (!state.capturing)
    return Invalid;
  ++state.live;
  *graph = std::exchange(state.capturing, nullptr);
  return Success;
}

#ifndef QWENCH_FAKE_OLD
FUNCTION(cuGraphInstantiateWithFlags, hipGraphInstantiateWithFlags)(void **out, void *graph, unsigned long long) {
  if (fails(NAME(cuGraphInstantiateWithFlags, hipGraphInstantiateWithFlags)))
    return Injected;
  ++state.live;
  *out = new Graph(*static_cast<Graph *>(graph));
  return Success;
}
#endif

FUNCTION(cuGraphLaunch, hipGraphLaunch)(void *graph, void *) {
  if (fails(NAME(cuGraphLaunch, hipGraphLaunch)))
    return Injected;
  return enqueue([work = static_cast<Graph *>(graph)->work] {
    log("graph");
    for (const Work &item : work)
      item();
  });
}

FUNCTION(cuGraphExecDestroy, hipGraphExecDestroy)(void *graph) {
  delete static_cast<Graph *>(graph);
  --state.live;
  return Success;
}

FUNCTION(cuGraphDestroy, hipGraphDestroy)(void *graph) {
  delete static_cast<Graph *>(graph);
  --state.live;
  return Success;
}

FUNCTION(cuEventCreate, hipEventCreateWithFlags)(void **out, unsigned) {
  if (fails(NAME(cuEventCreate, hipEventCreateWithFlags)))
    return Injected;
  ++state.live;
  *out = new Event();
  return Success;
}

FUNCTION(cuEventDestroy_v2, hipEventDestroy)(void *event) {
  delete static_cast<Event *>(event);
  --state.live;
  return Success;
}

FUNCTION(cuEventRecord, hipEventRecord)(void *event, void *) {
  static_cast<Event *>(event)->reached = false;
  return enqueue([event] { static_cast<Event *>(event)->reached = true; });
}

FUNCTION(cuEventSynchronize, hipEventSynchronize)(void *event) {
  if (fails(NAME(cuEventSynchronize, hipEventSynchronize)))
    return Injected;
  return static_cast<Event *>(event)->reached ? Success : drain();
}

FUNCTION(cuEventElapsedTime, hipEventElapsedTime)(float *milliseconds, void *from, void *to) {
  *milliseconds = 1;
  return static_cast<Event *>(from)->reached && static_cast<Event *>(to)->reached ? Success : Invalid;
}

FUNCTION(cuModuleLoadDataEx, hipModuleLoadDataEx)(void **out, const void *image, unsigned, const int *, void **) {
  if (fails(NAME(cuModuleLoadDataEx, hipModuleLoadDataEx)))
    return BadImage;
  ++state.live;
  *out = new Module{std::string(static_cast<const char *>(image), imageBytes(image))};
  return Success;
}

FUNCTION(cuModuleUnload, hipModuleUnload)(void *module) {
  delete static_cast<Module *>(module);
  --state.live;
  return Success;
}

FUNCTION(cuModuleGetFunction, hipModuleGetFunction)(void **out, void *module, const char *name) {
  if (static_cast<Module *>(module)->image.find(name) == std::string::npos)
    return NotFound;
  *out = &state.functions.try_emplace(name, Function{name}).first->second;
  return Success;
}

FUNCTION(cuLaunchKernel, hipModuleLaunchKernel)
(void *function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX, unsigned, unsigned, unsigned shared,
 void *, void **parameters, void **) {
  if (fails(NAME(cuLaunchKernel, hipModuleLaunchKernel)))
    return Injected;
  if (gridX == 0 || gridY != 1 || gridZ != 1 || blockX == 0 || blockX > 1024)
    return Invalid;
  return enqueueLaunch("launch", function, gridX, blockX, shared, parameters);
}

#ifndef QWENCH_FAKE_ROCM
extern "C" __attribute__((visibility("default"))) int cuLaunchKernelEx(const Configuration *how, void *function, void **parameters,
                                                                        void **) {
  if (fails("cuLaunchKernelEx"))
    return Injected;
  const bool early = how->attributeCount == 1 && how->attributes->id == kProgrammaticStreamSerialization && how->attributes->value == 1;
  // Only behind a launch there is something to wait for.
  if (!early || how->gridX == 0 || how->gridY != 1 || how->gridZ != 1 || how->blockX == 0 || how->blockX > 1024 || !state.behindLaunch)
    return Invalid;
  return enqueueLaunch("launch early", function, how->gridX, how->blockX, how->shared, parameters);
}
#endif

FUNCTION(cuLaunchCooperativeKernel, hipModuleLaunchCooperativeKernel)
(void *function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX, unsigned, unsigned, unsigned shared,
 void *, void **parameters) {
  if (fails(NAME(cuLaunchCooperativeKernel, hipModuleLaunchCooperativeKernel)))
    return Injected;
  if (gridX == 0 || gridX > kMultiprocessors * kBlocks || gridY != 1 || gridZ != 1 || blockX == 0 || blockX > 1024 || state.capturing)
    return Invalid;
  return enqueueLaunch("launch together", function, gridX, blockX, shared, parameters);
}

FUNCTION(cuOccupancyMaxActiveBlocksPerMultiprocessor, hipModuleOccupancyMaxActiveBlocksPerMultiprocessor)
(int *blocks, void *, int, size_t) {
  *blocks = kBlocks;
  return fails(NAME(cuOccupancyMaxActiveBlocksPerMultiprocessor, hipModuleOccupancyMaxActiveBlocksPerMultiprocessor)) ? Injected
                                                                                                                        : Success;
}
