// Sessions on a GPU: opening one, its steps, and what is said when something fails.
#include "tests/unit/device/sessions_on_device.h"

namespace qwench {
namespace {

using fake::logits;
using fake::prompt;
using testing::HasSubstr;
using testing::StartsWith;

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
      if (outcome)
        outcome = session->generate(sequence, QWENCH_SAMPLING_GREEDY, 3, [](int32_t, int32_t) { return true; });
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
