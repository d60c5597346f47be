// What runs kernels on a GPU, as far as a machine without one shows it: on drivers that keep device memory in host memory
// (tests/unit/device/fake_driver.h) the images fit, the kernels are found in them, launches come in order, and what a step points
// to is where kernels look for it. What kernels compute, tests/gpu-on-cpu shows.
#include "passes/Pipelines.h"
#include "tests/differential/all_dialects.h"
#include "tests/gpu-on-cpu/checkpoint_source.h"
#include "tests/gpu-on-cpu/program.h"
#include "tests/reference/model.h"
#include "tests/unit/device/fake_driver.h"

#include "mlir/Pass/PassManager.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <dlfcn.h>
#include <regex>

namespace qwench {
namespace {

using testing::StartsWith;

struct Case {
  const char *name, *driver, *gpu; ///< gpu: as the driver calls it
  gpu::Schedule schedule = gpu::Schedule::Graph;
  gpu::MatrixUnit matrix = gpu::MatrixUnit::None;
  const char *format = "";
  bool dependent = false; ///< launches
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

/// Tells, in the logits, what it finds through the step.
void tell(const QwenchStep *step, int64_t, int64_t, int64_t, int64_t block) {
  for (int64_t row = 0; block == 0 && row < step->rows; ++row)
    step->logits[row] = static_cast<float>(step->tokens[row] * 100 + step->positions[row] * 10 + step->slots[row]);
  if (block == 0)
    step->logits[step->rows] = static_cast<float>(step->arena[0] + step->cache[0] + *reinterpret_cast<const int32_t *>(step->team));
}

class on_a_stand_in : public testing::TestWithParam<Case> {
protected:
  void SetUp() override {
    setenv("QWENCH_GPU_DRIVER", GetParam().driver, 1);
    setenv("QWENCH_FAKE_GPU_ARCHS", GetParam().gpu, 1);
    setenv("QWENCH_PTXAS", "none", 1); // tests/e2e assembles
    library = dlopen(GetParam().driver, RTLD_NOW); // stays, so that what it recorded does
    ASSERT_TRUE(library) << dlerror();
    log();
  }
  void TearDown() override { dlclose(library); }

  /// "launch", "launch early" or "launch together" and the kernel's name, of each launch since the last call.
  std::vector<std::string> log() {
    std::string text = reinterpret_cast<decltype(&fake_gpu_log)>(dlsym(library, "fake_gpu_log"))();
    static const std::regex line("(launch (together |early )?[^ ]+) blocks=[1-9]");
    std::vector<std::string> launches;
    for (std::sregex_iterator it(text.begin(), text.end(), line), end; it != end; ++it)
      launches.push_back((*it)[1]);
    return launches;
  }
  void define(const std::string &kernel, FakeKernel function) {
    reinterpret_cast<decltype(&fake_gpu_kernel)>(dlsym(library, "fake_gpu_kernel"))(kernel.c_str(), function);
  }

  void *library = nullptr;
};

TEST_P(on_a_stand_in, launches_find_their_kernels_and_kernels_their_step) {
  const Case &c = GetParam();
  mlir::MLIRContext context(test::allDialects());
  auto module = importGolden(context, "moe-odd-sizes", ElementType::BF16, CacheFormat::BF16);
  ASSERT_TRUE(module) << module.error().message;
  mlir::PassManager passes(&context);
  ASSERT_TRUE(buildFusePipeline(passes, {}, {c.format, "", 0}));
  ASSERT_TRUE(mlir::succeeded(passes.run(**module)));
  auto checkpoint = openGolden("moe-odd-sizes");
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  CheckpointSource source(checkpoint.take());
  gpu::Device device = gpu_test::deviceOf(c.matrix, 32);
  device.dependentLaunches = c.dependent;
  ASSERT_EQ(gpu_test::missingFor(device), "");
  auto program = gpu_test::Program::create(**module, device, source, 2, 128, c.schedule);
  ASSERT_TRUE(program) << program.error().message;

  evaluator::BatchRows rows = rowsOf({31, 41, 59}, 0, 3, 1, 3);
  rows.outputRows = {0, 2};
  auto nothing = (*program)->forward(rows, /*decode=*/false);
  ASSERT_TRUE(nothing) << nothing.error().message;
  EXPECT_TRUE(std::isnan((*nothing)[0])); // as they were
  std::vector<std::string> launches = log();
  ASSERT_GT(launches.size(), 20u);
  EXPECT_THAT(launches.front(), StartsWith("launch prefill_0"));
  EXPECT_THAT(launches.back(), StartsWith(c.dependent ? "launch early prefill_" : "launch prefill_"));
  define(launches.front().substr(std::string("launch ").size()), tell);
  auto told = (*program)->forward(rows, /*decode=*/false);
  ASSERT_TRUE(told) << told.error().message;
  EXPECT_THAT(std::vector<float>(told->begin(), told->begin() + 4), testing::ElementsAre(3101, 4111, 5921, 0xff));
  EXPECT_EQ(log(), launches);

  ASSERT_TRUE((*program)->forward(rows, /*decode=*/true));
  launches = log();
  if (c.schedule == gpu::Schedule::Persistent)
    EXPECT_THAT(launches, testing::ElementsAre("launch together decode_step"));
  else
    EXPECT_THAT(launches.front(), StartsWith("launch decode_0"));
  EXPECT_THAT(launches.back(), StartsWith(c.dependent ? "launch early decode" : "launch"));
}

INSTANTIATE_TEST_SUITE_P(
    drivers, on_a_stand_in,
    testing::Values(Case{"sm_80", FAKE_CUDA, "sm_80"}, Case{"sm_89_int4", FAKE_CUDA, "sm_89", gpu::Schedule::Graph, {}, "int4"},
                    Case{"sm_90a_wgmma", FAKE_CUDA, "sm_90", gpu::Schedule::Graph, gpu::MatrixUnit::Wgmma},
                    Case{.name = "sm_100a_dependent", .driver = FAKE_CUDA, .gpu = "sm_100", .dependent = true},
                    Case{"sm_120_persistent", FAKE_CUDA, "sm_120", gpu::Schedule::Persistent},
                    Case{"gfx942", FAKE_ROCM, "gfx942"}, Case{"gfx1100_persistent", FAKE_ROCM, "gfx1100", gpu::Schedule::Persistent},
                    Case{"gfx1201_fp8", FAKE_ROCM, "gfx1201", gpu::Schedule::Graph, {}, "fp8"}),
    [](const auto &info) { return std::string(info.param.name); });

} // namespace
} // namespace qwench
