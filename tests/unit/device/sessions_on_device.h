// Sessions of the fake model on a GPU, against drivers that keep device memory in host memory (fake_driver.h).
#pragma once

#include "tests/unit/device/fake_driver.h"
#include "tests/unit/runtime/sessions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <limits>

namespace qwench {
namespace {

// The kernels of the fake model on a device.

void writeCache(const QwenchStep *step, int64_t, int64_t, int64_t, int64_t row) {
  reinterpret_cast<int32_t *>(step->cache)[step->slots[row] * step->cache_capacity + step->positions[row]] =
      step->tokens[row];
  memset(step->arena, 1, 64);
}

void computeLogits(const QwenchStep *step, int64_t layer, int64_t instance, int64_t, int64_t output) {
  const int64_t row = step->output_rows[output];
  const auto *cache = reinterpret_cast<const int32_t *>(step->cache) + step->slots[row] * step->cache_capacity;
  std::vector<float> logits = fake::expectedLogits({cache, cache + step->positions[row] + 1});
  const bool right = layer == 7 && instance == 5 && memcmp(step->weights, fake::weights().data(), fake::kWeightBytes) == 0;
  for (int64_t i = 0; i < fake::kVocabulary; ++i)
    step->logits[output * fake::kStride + i] = right ? logits[i] : std::numeric_limits<float>::quiet_NaN();
}

void drawTokens(const QwenchStep *step, int64_t, int64_t, int64_t, int64_t i) {
  const QwenchDraw &d = step->draws[i];
  const QwenchSampling sampling = {static_cast<float>(d.temperature), static_cast<int32_t>(d.top_k),
                                   static_cast<float>(d.top_p), static_cast<float>(d.min_p), 0};
  std::vector<Candidate> scratch;
  step->drawn[i] = drawToken(step->logits + static_cast<int64_t>(d.row) * fake::kStride,
                             static_cast<int64_t>(d.candidates), sampling, d.uniform, scratch);
}

/// A decode step whose blocks would meet; here they come one after another, and the first does everything.
inline void decodeStep(const QwenchStep *step, int64_t, int64_t, int64_t, int64_t block) {
  auto &arrived = *reinterpret_cast<uint32_t *>(step->team);
  if (arrived++ != block)
    return; // the logits stay what they are
  for (int64_t row = 0; block == 0 && row < step->rows; ++row)
    writeCache(step, 0, 0, 0, row);
  for (int64_t output = 0; block == 0 && output < step->outputs; ++output)
    computeLogits(step, 7, 5, 0, output);
}

void enqueueStep(const QwenchStep *step, int64_t thread, int64_t threads) {
  if (thread != 0 || threads != 1)
    abort();
  qwench_device_launch(step->team, 0, step->rows, 0, 0);
  qwench_device_launch(step->team, 1, step->outputs, 7, 5);
}

void enqueueDraws(const QwenchStep *step, int64_t, int64_t) { qwench_device_launch(step->team, 2, step->rows, 0, 0); }

inline void enqueueDecodeStep(const QwenchStep *step, int64_t, int64_t) { qwench_device_launch(step->team, 3, 1, 0, 0); }

const QwenchKernel kKernels[] = {
    {"write_cache", 64, 0, 0, 0}, {"compute_logits", 128, 1 << 16, 0, 0}, {"draw_tokens", 512, 0, 0, 0}, {"decode_step", 256, 0, 1, 0}};
const char kImageText[] = "kernels write_cache compute_logits draw_tokens decode_step";
const auto *kImageBytes = reinterpret_cast<const uint8_t *>(kImageText);
const QwenchImage kCudaImages[] = {{"sm_90a", QWENCH_IMAGE_CUBIN, 0, kImageBytes, sizeof kImageText, kKernels},
                                   {"sm_80", QWENCH_IMAGE_PTX, 0, kImageBytes, sizeof kImageText, kKernels}};
const QwenchImage kRocmImages[] = {{"gfx942", QWENCH_IMAGE_HSACO, 0, kImageBytes, sizeof kImageText, kKernels}};
const QwenchDeviceProgram kCuda = {"cuda", 3, kCudaImages, 2}, kRocm = {"rocm", 3, kRocmImages, 1};

QwenchProgram programFor(const QwenchDeviceProgram &device) {
  QwenchProgram program = qwench_program;
  program.prefill = program.decode = enqueueStep;
  program.sample = enqueueDraws;
  program.device = &device;
  return program;
}

/// A variable that is unset at the end.
class Variable {
public:
  Variable(const char *name, const std::string &value) : name(name) { setenv(name, value.c_str(), 1); }
  ~Variable() { unsetenv(name); }

private:
  const char *name;
};

struct Vendor {
  const char *name, *library, *old;
  const QwenchDeviceProgram *device;
  std::vector<std::string> calls; // of opening a session, a decode step and a draw that can fail
};

void PrintTo(const Vendor &vendor, std::ostream *out) { *out << vendor.name; }

const Vendor kVendors[] = {
    {"Cuda", FAKE_CUDA, FAKE_OLD_CUDA, &kCuda,
     {"cuInit", "cuDeviceGetCount", "cuDevicePrimaryCtxRetain", "cuCtxSetCurrent", "cuCtxSetCurrent:2", "cuMemGetInfo_v2",
      "cuMemAlloc_v2", "cuMemAlloc_v2:5", "cuMemHostAlloc", "cuMemHostAlloc:3", "cuMemcpyHtoDAsync_v2",
      "cuMemcpyHtoDAsync_v2:4", "cuMemcpyDtoHAsync_v2", "cuStreamCreate", "cuStreamSynchronize", "cuStreamSynchronize:2",
      "cuStreamBeginCapture_v2", "cuGraphInstantiateWithFlags", "cuGraphLaunch", "cuEventCreate", "cuLaunchKernel",
      "cuLaunchKernel:4", "cuMemcpyDtoDAsync_v2", "cuEventSynchronize:3"}},
    {"Rocm", FAKE_ROCM, FAKE_OLD_ROCM, &kRocm,
     {"hipInit", "hipGetDeviceCount", "hipSetDevice", "hipSetDevice:2", "hipMemGetInfo", "hipMalloc", "hipMalloc:5",
      "hipHostMalloc", "hipHostMalloc:3", "hipMemcpyHtoDAsync", "hipMemcpyHtoDAsync:4", "hipMemcpyDtoHAsync",
      "hipStreamCreateWithFlags", "hipStreamSynchronize", "hipStreamSynchronize:2", "hipStreamBeginCapture",
      "hipGraphInstantiateWithFlags", "hipGraphLaunch", "hipEventCreateWithFlags", "hipModuleLoadDataEx",
      "hipModuleLaunchKernel", "hipModuleLaunchKernel:4", "hipMemcpyDtoDAsync", "hipEventSynchronize:3"}}};

class DeviceTest : public testing::TestWithParam<Vendor> {
protected:
  void SetUp() override {
    library = dlopen(GetParam().library, RTLD_NOW); // stays, so that what it recorded does
    ASSERT_TRUE(library) << dlerror();
    symbol<decltype(&fake_gpu_kernel)>("fake_gpu_kernel")("write_cache", writeCache);
    symbol<decltype(&fake_gpu_kernel)>("fake_gpu_kernel")("compute_logits", computeLogits);
    symbol<decltype(&fake_gpu_kernel)>("fake_gpu_kernel")("draw_tokens", drawTokens);
    takeLog();
  }
  void TearDown() override {
    EXPECT_EQ(symbol<decltype(&fake_gpu_live)>("fake_gpu_live")(), 0) << "something was not given back";
    dlclose(library);
  }

  template <typename T> T symbol(const char *name) { return reinterpret_cast<T>(dlsym(library, name)); }
  std::string takeLog() { return symbol<decltype(&fake_gpu_log)>("fake_gpu_log")(); }

  std::unique_ptr<Session> open(const SessionOptions &options) {
    Variable driver("QWENCH_GPU_DRIVER", GetParam().library);
    return openWith(options);
  }
  std::unique_ptr<Session> openWith(const SessionOptions &options) {
    Result<ModelFile> model = ModelFile::open(program, file.path());
    EXPECT_TRUE(model) << model.error().message;
    std::unique_ptr<Session> session;
    outcome = Session::open(program, *model, options, session);
    return session;
  }

  QwenchProgram program = programFor(*GetParam().device);
  fake::TemporaryFile file{fake::modelBytes()};
  void *library = nullptr;
  Outcome outcome;
};

} // namespace
} // namespace qwench
