// Sessions on a GPU, against drivers that keep device memory in host memory (fake_driver.h).
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

using fake::logits;
using fake::prompt;
using testing::HasSubstr;
using testing::StartsWith;

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
void decodeStep(const QwenchStep *step, int64_t, int64_t, int64_t, int64_t block) {
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

void enqueueDecodeStep(const QwenchStep *step, int64_t, int64_t) { qwench_device_launch(step->team, 3, 1, 0, 0); }

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

const Vendor kVendors[] = {
    {"Cuda", FAKE_CUDA, FAKE_OLD_CUDA, &kCuda,
     {"cuInit", "cuDeviceGetCount", "cuDevicePrimaryCtxRetain", "cuCtxSetCurrent", "cuCtxSetCurrent:2", "cuMemGetInfo_v2",
      "cuMemAlloc_v2", "cuMemAlloc_v2:5", "cuMemHostAlloc", "cuMemHostAlloc:3", "cuMemcpyHtoDAsync_v2",
      "cuMemcpyHtoDAsync_v2:4", "cuMemcpyDtoHAsync_v2", "cuStreamCreate", "cuStreamSynchronize", "cuStreamSynchronize:2",
      "cuStreamBeginCapture_v2", "cuGraphInstantiateWithFlags", "cuGraphLaunch", "cuEventCreate", "cuLaunchKernel",
      "cuLaunchKernel:4"}},
    {"Rocm", FAKE_ROCM, FAKE_OLD_ROCM, &kRocm,
     {"hipInit", "hipGetDeviceCount", "hipSetDevice", "hipSetDevice:2", "hipMemGetInfo", "hipMalloc", "hipMalloc:5",
      "hipHostMalloc", "hipHostMalloc:3", "hipMemcpyHtoDAsync", "hipMemcpyHtoDAsync:4", "hipMemcpyDtoHAsync",
      "hipStreamCreateWithFlags", "hipStreamSynchronize", "hipStreamSynchronize:2", "hipStreamBeginCapture",
      "hipGraphInstantiateWithFlags", "hipGraphLaunch", "hipEventCreateWithFlags", "hipModuleLoadDataEx",
      "hipModuleLaunchKernel", "hipModuleLaunchKernel:4"}}};

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

TEST_P(DeviceTest, PrefillAndDecodeGiveTheLogitsOfTheWholeSequence) {
  auto session = open({.threads = 2, .sequences = 3});
  ASSERT_TRUE(session) << outcome.message;
  ASSERT_TRUE(session->device());
  EXPECT_EQ(session->device()->name(), "Fake GPU 0");
  auto tokens = prompt(17);
  ASSERT_TRUE(session->prefill(1, tokens));
  EXPECT_EQ(logits(*session, 1), fake::expectedLogits(tokens));
  ASSERT_TRUE(session->prefill(2, prompt(3)));
  for (int32_t next : {9, 11, 4, 9}) {
    const int32_t sequences[] = {1, 2}, given[] = {next, next + 1};
    ASSERT_TRUE(session->decode(sequences, given));
    tokens.push_back(next);
    EXPECT_EQ(logits(*session, 1), fake::expectedLogits(tokens));
  }
  auto other = prompt(3);
  other.insert(other.end(), {10, 12, 5, 10});
  EXPECT_EQ(logits(*session, 2), fake::expectedLogits(other));
}

TEST_P(DeviceTest, AStepIsOneUploadAndItsLaunchesAndLogitsAreReadWhenWanted) {
  auto session = open({.threads = 1});
  ASSERT_TRUE(session) << outcome.message;
  takeLog();
  ASSERT_TRUE(session->prefill(0, prompt(5)));
  EXPECT_EQ(takeLog(), "upload 512\n"
                       "launch write_cache blocks=5 threads=64 shared=0 layer=0 instance=0 tiles=5\n"
                       "launch compute_logits blocks=1 threads=128 shared=65536 layer=7 instance=5 tiles=1\n");
  EXPECT_EQ(logits(*session, 0), fake::expectedLogits(prompt(5)));
  EXPECT_EQ(takeLog(), "download 256\n");
  EXPECT_EQ(logits(*session, 0), fake::expectedLogits(prompt(5)));
  EXPECT_EQ(takeLog(), "") << "they are here already";
}

TEST_P(DeviceTest, TokensAreDrawnThereAndTheirIdsComeBack) {
  auto session = open({.threads = 1, .sequences = 3});
  ASSERT_TRUE(session) << outcome.message;
  session->limitSampling(fake::kVocabulary - 1);
  for (int32_t sequence : {0, 1, 2})
    ASSERT_TRUE(session->prefill(sequence, prompt(5 + sequence)));
  takeLog();
  const QwenchSampling sampling = {1.5f, 9, 0.9f, 0.1f, 42};
  const int32_t sequences[] = {2, 0};
  int32_t tokens[] = {-1, -1};
  ASSERT_TRUE(session->sample(sequences, sampling, tokens));
  EXPECT_EQ(takeLog(), "upload 256\nlaunch draw_tokens blocks=2 threads=512 shared=0 layer=0 instance=0 tiles=2\ndownload 8\n");
  std::vector<Candidate> scratch;
  for (int i : {0, 1}) {
    Random random(42);
    const auto row = fake::expectedLogits(prompt(5 + sequences[i]));
    EXPECT_EQ(tokens[i], drawToken(row.data(), fake::kVocabulary - 1, sampling, random.uniform(), scratch));
  }
}

TEST_P(DeviceTest, AProgramThatDrawsNoTokensLeavesThatToTheRuntime) {
  program.sample = nullptr;
  auto session = open({.threads = 1});
  ASSERT_TRUE(session) << outcome.message;
  ASSERT_TRUE(session->prefill(0, prompt(5)));
  takeLog();
  int32_t token = -1;
  ASSERT_TRUE(session->sample(0, QWENCH_SAMPLING_GREEDY, &token));
  EXPECT_EQ(token, likeliestToken(fake::expectedLogits(prompt(5)).data(), fake::kVocabulary));
  EXPECT_EQ(takeLog(), "download 256\n");
}

TEST_P(DeviceTest, LogitsOfABatchStayWithTheirSequences) {
  auto session = open({.threads = 1, .sequences = 4});
  ASSERT_TRUE(session) << outcome.message;
  std::vector<std::vector<int32_t>> known(4);
  for (int32_t sequence : {0, 1, 2, 3})
    ASSERT_TRUE(session->prefill(sequence, known[sequence] = prompt(5 + sequence)));
  takeLog();
  const std::vector<int32_t> batches[] = {{1, 2}, {3, 0}, {0, 1, 2, 3}, {2}};
  for (const auto &batch : batches) {
    std::vector<int32_t> tokens;
    for (int32_t sequence : batch)
      known[sequence].push_back(tokens.emplace_back(sequence + 7));
    ASSERT_TRUE(session->decode(batch, tokens));
    for (int32_t sequence : {0, 1, 2, 3})
      EXPECT_EQ(logits(*session, sequence), fake::expectedLogits(known[sequence])) << sequence;
    const bool copies = batch == batches[1]; // the others lie side by side
    EXPECT_EQ(takeLog().find("copy 200") != std::string::npos, copies);
  }
}

TEST_P(DeviceTest, DecodeStepsOfASizeAreCapturedOnceAndReplayed) {
  auto session = open({.threads = 1, .sequences = 2});
  ASSERT_TRUE(session) << outcome.message;
  ASSERT_TRUE(session->prefill(0, prompt(8)));
  ASSERT_TRUE(session->prefill(1, prompt(8)));
  takeLog();
  const std::string replayed = "upload 512\ngraph\n"
                               "launch write_cache blocks=1 threads=64 shared=0 layer=0 instance=0 tiles=1\n"
                               "launch compute_logits blocks=1 threads=128 shared=65536 layer=7 instance=5 tiles=1\n";
  const int32_t one[] = {1}, both[] = {0, 1}, tokens[] = {4, 5};
  const std::string last = "download 256\n";
  auto decode = [&](std::span<const int32_t> sequences) {
    EXPECT_TRUE(session->decode(sequences, std::span(tokens, sequences.size())));
    logits(*session, 1);
    return takeLog();
  };
  EXPECT_EQ(decode(one), "capture\n" + replayed + last);
  EXPECT_EQ(decode(one), replayed + last);
  EXPECT_THAT(decode(both), StartsWith("capture\nupload 512\ngraph\nlaunch write_cache blocks=2"));
}

/// Programs whose decode step is one kernel.
class PersistentTest : public DeviceTest {
protected:
  void SetUp() override {
    DeviceTest::SetUp();
    device.kernel_count = 4;
    program.device = &device;
    program.decode = enqueueDecodeStep;
    symbol<decltype(&fake_gpu_kernel)>("fake_gpu_kernel")("decode_step", decodeStep);
  }
  QwenchDeviceProgram device = *GetParam().device;
};

TEST_P(PersistentTest, ADecodeStepIsOneLaunchOfAllBlocksThatRunAtOnce) {
  auto session = open({.threads = 1});
  ASSERT_TRUE(session) << outcome.message;
  auto tokens = prompt(5);
  ASSERT_TRUE(session->prefill(0, tokens));
  EXPECT_EQ(logits(*session, 0), fake::expectedLogits(tokens));
  for (int32_t next : {9, 11}) {
    takeLog();
    const int32_t sequences[] = {0}, given[] = {next};
    ASSERT_TRUE(session->decode(sequences, given));
    tokens.push_back(next);
    EXPECT_EQ(logits(*session, 0), fake::expectedLogits(tokens)) << "the counter was not 0 when the step began";
    EXPECT_EQ(takeLog(), "upload 512\n"
                         "launch together decode_step blocks=8 threads=256 shared=0 layer=0 instance=0 tiles=1\n"
                         "download 256\n");
  }
}

TEST_P(PersistentTest, AGpuThatDoesNotRunAllBlocksAtOnceIsNamed) {
  Variable none("QWENCH_FAKE_GPU_COOPERATIVE", "0");
  EXPECT_FALSE(open({}));
  EXPECT_EQ(outcome.message, "kernel decode_step: expected a GPU that runs all blocks of a kernel at once, found Fake GPU 0, "
                             "which does not: the model must be compiled with --schedule graph");
}

TEST_P(PersistentTest, CallsThatFailAreNamed) {
  const bool cuda = GetParam().device == &kCuda;
  for (std::string call : {cuda ? "cuOccupancyMaxActiveBlocksPerMultiprocessor" : "hipModuleOccupancyMaxActiveBlocksPerMultiprocessor",
                           cuda ? "cuLaunchCooperativeKernel" : "hipModuleLaunchCooperativeKernel"}) {
    Variable fail("QWENCH_FAKE_GPU_FAIL", call);
    auto session = open({.threads = 1});
    const int32_t sequence[] = {0}, token[] = {1};
    if (session && (outcome = session->prefill(0, prompt(9))))
      outcome = session->decode(sequence, token);
    EXPECT_THAT(outcome.message, testing::AllOf(StartsWith("kernel decode_step: "), HasSubstr(call)));
  }
}

TEST_P(DeviceTest, EveryCallThatFailsIsNamed) {
  Variable driver("QWENCH_GPU_DRIVER", GetParam().library);
  for (const std::string &call : GetParam().calls) {
    Variable fail("QWENCH_FAKE_GPU_FAIL", call);
    auto session = openWith({.threads = 1});
    if (session) {
      const int32_t sequence[] = {0}, token[] = {1};
      outcome = session->prefill(0, prompt(9));
      if (outcome)
        outcome = session->decode(sequence, token);
      int32_t drawn = 0;
      if (outcome)
        outcome = session->sample(0, QWENCH_SAMPLING_GREEDY, &drawn);
    }
    EXPECT_FALSE(outcome) << call;
    EXPECT_THAT(outcome.message, HasSubstr(call.substr(0, call.find(':')))) << call;
    EXPECT_THAT(outcome.message, testing::Not(HasSubstr("\n")));
  }
}

TEST_P(DeviceTest, AFailedDecodeLeavesTheSequenceAsItWas) {
  const bool cuda = GetParam().device == &kCuda;
  Variable fail("QWENCH_FAKE_GPU_FAIL", cuda ? "cuGraphLaunch:2" : "hipGraphLaunch:2");
  auto session = open({.threads = 1});
  ASSERT_TRUE(session) << outcome.message;
  ASSERT_TRUE(session->prefill(0, prompt(9)));
  const int32_t sequence[] = {0}, token[] = {1};
  EXPECT_FALSE(session->decode(sequence, token)); // the first graph was the prefill's last row's
  int64_t length = 0;
  ASSERT_TRUE(session->length(0, &length));
  EXPECT_EQ(length, 9);
  ASSERT_TRUE(session->decode(sequence, token));
  auto tokens = prompt(9);
  tokens.push_back(1);
  EXPECT_EQ(logits(*session, 0), fake::expectedLogits(tokens));
}

TEST_P(DeviceTest, TooLittleMemoryIsSaidBeforeWeightsAreTouched) {
  Variable memory("QWENCH_FAKE_GPU_MEMORY", "6000");
  auto session = open({.threads = 1});
  EXPECT_FALSE(session);
  EXPECT_THAT(outcome.message, StartsWith("Fake GPU 0: expected 0.0 MB of free memory (weights 0.0 MB, cache "));
  EXPECT_EQ(takeLog(), "");
}

TEST_P(DeviceTest, WithoutAGpuTheErrorSaysSo) {
  Variable none("QWENCH_FAKE_GPU_ARCHS", "none");
  EXPECT_FALSE(open({}));
  EXPECT_THAT(outcome.message, testing::AllOf(StartsWith("expected an "), HasSubstr(" GPU, found none: ")));
}

TEST_P(DeviceTest, AGpuThatNoImageFitsIsNamedWithTheImages) {
  Variable archs("QWENCH_FAKE_GPU_ARCHS", "sm_75,sm_61");
  EXPECT_FALSE(open({}));
  const bool cuda = GetParam().device == &kCuda;
  EXPECT_EQ(outcome.message, std::string("no GPU here fits this model: expected one for ") +
                                 (cuda ? "sm_90a, PTX of sm_80" : "gfx942") +
                                 ", found Fake GPU 0 (sm_75), Fake GPU 1 (sm_61)");
}

TEST_P(DeviceTest, TheFirstGpuThatFitsIsTaken) {
  Variable archs("QWENCH_FAKE_GPU_ARCHS", GetParam().device == &kCuda ? "sm_75,sm_90" : "gfx90a,gfx942");
  auto session = open({});
  ASSERT_TRUE(session) << outcome.message;
  EXPECT_EQ(session->device()->name(), "Fake GPU 1");
  EXPECT_EQ(session->device()->arch(), GetParam().device == &kCuda ? "sm_90" : "gfx942");
}

TEST_P(DeviceTest, AnOldDriverIsNamed) {
  {
    Variable driver("QWENCH_GPU_DRIVER", GetParam().old);
    EXPECT_FALSE(openWith({}));
    EXPECT_THAT(outcome.message, HasSubstr("is too old: expected one for "));
    EXPECT_THAT(outcome.message, HasSubstr("GraphInstantiateWithFlags"));
  }
  Variable version("QWENCH_FAKE_GPU_VERSION", GetParam().device == &kCuda ? "11040" : "50700000");
  EXPECT_FALSE(open({}));
  EXPECT_THAT(outcome.message, testing::EndsWith(GetParam().device == &kCuda ? "CUDA 12 or newer, found 11.4"
                                                                            : "ROCm 6 or newer, found 5.7"));
}

TEST_P(DeviceTest, WithoutADriverTheErrorNamesTheLibrary) {
  Variable driver("QWENCH_GPU_DRIVER", "/nowhere/libgpu.so");
  EXPECT_FALSE(openWith({}));
  EXPECT_EQ(outcome.code, QWENCH_ERROR_SYSTEM);
  EXPECT_THAT(outcome.message, testing::AllOf(StartsWith("this model needs an "), HasSubstr("/nowhere/libgpu.so")));
}

TEST_P(DeviceTest, KernelsThatAnImageLacksAreNamed) {
  const QwenchKernel kernels[] = {{"write_cache", 64, 0, 0, 0}, {"other", 64, 0, 0, 0}};
  QwenchImage image = GetParam().device->images[0];
  image.kernels = kernels;
  const QwenchDeviceProgram device = {GetParam().device->api, 2, &image, 1};
  program.device = &device;
  EXPECT_FALSE(open({}));
  EXPECT_THAT(outcome.message, StartsWith("kernel other: "));
}

INSTANTIATE_TEST_SUITE_P(Driver, DeviceTest, testing::ValuesIn(kVendors),
                         [](const auto &vendor) { return vendor.param.name; });

INSTANTIATE_TEST_SUITE_P(Driver, PersistentTest, testing::ValuesIn(kVendors),
                         [](const auto &vendor) { return vendor.param.name; });

class CudaTest : public DeviceTest {};
INSTANTIATE_TEST_SUITE_P(Driver, CudaTest, testing::Values(kVendors[0]));

TEST_P(CudaTest, MachineCodeThatTheDriverRefusesLeavesThePtx) {
  Variable driver("QWENCH_GPU_DRIVER", GetParam().library);
  Variable fail("QWENCH_FAKE_GPU_FAIL", "cuModuleLoadDataEx:1");
  auto session = openWith({});
  ASSERT_TRUE(session) << outcome.message;
  EXPECT_EQ(session->device()->image().kind, static_cast<uint32_t>(QWENCH_IMAGE_PTX));
}

} // namespace
} // namespace qwench
