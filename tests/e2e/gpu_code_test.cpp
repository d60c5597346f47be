// Programs for GPUs without a GPU: what their code keeps in registers, what they say where there is no driver, and what they
// launch on drivers that keep device memory in host memory (tests/unit/device/fake_driver.h).
#include "tests/e2e/golden.h"
#include "tests/e2e/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <regex>
#include <unistd.h>

using namespace qwench::e2e;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

namespace {

/// Numbers behind `label` in `text`.
std::vector<int> numbersAfter(const std::string &text, const std::string &label) {
  std::vector<int> numbers;
  for (size_t at = text.find(label); at != std::string::npos; at = text.find(label, at + 1))
    numbers.push_back(std::atoi(text.c_str() + at + label.size()));
  return numbers;
}

/// The first group of each match in `text`.
std::vector<std::string> matchesOf(const std::regex &what, const std::string &text) {
  std::vector<std::string> found;
  for (std::sregex_iterator it(text.begin(), text.end(), what), end; it != end; ++it)
    found.push_back((*it)[1]);
  return found;
}

struct Case {
  std::string model, dtype, gpu;
  std::string cache = ""; ///< its format, if it is not the weights'
  std::string schedule = "graph", matrixUnit = "auto", dependentLaunch = "auto";
};

void PrintTo(const Case &c, std::ostream *out) {
  *out << c.model << " " << c.dtype << (c.cache.empty() ? "" : " cache " + c.cache) << " " << c.gpu << " " << c.schedule;
}

std::string emitText(const Case &c, const std::string &target, const std::string &rung) {
  bool isShape = c.model.starts_with("qwen3-");
  std::string source = isShape ? QWENCH_SOURCE_DIR "/benchmarks/configs/" + c.model + ".json" : goldenModel(c.model);
  std::vector<std::string> arguments{"compile", source, "--no-tokenizer", "--target", target, "--gpu", c.gpu,
                                     "--schedule", c.schedule, "--matrix-unit", c.matrixUnit, "--dependent-launch", c.dependentLaunch, "--emit", rung};
  if (c.dtype != "auto") // else the checkpoint's
    arguments.insert(arguments.end(), {"--dtype", c.dtype});
  if (isShape)
    arguments.insert(arguments.end(), {"--random-weights", "1"});
  if (!c.cache.empty())
    arguments.insert(arguments.end(), {"--kv-dtype", c.cache});
  Outcome outcome = runTool(arguments);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return outcome.out;
}

std::string assembler() {
  for (const char *path : {"/usr/local/cuda/bin/ptxas", "/usr/bin/ptxas"})
    if (access(path, X_OK) == 0)
      return path;
  return "";
}

std::string nameOf(const testing::TestParamInfo<Case> &info) {
  std::string name = info.param.model + "_" + info.param.dtype + "_" + info.param.gpu;
  if (!info.param.cache.empty())
    name += "_" + info.param.cache + "_cache";
  if (info.param.schedule != "graph")
    name += "_" + info.param.schedule;
  if (info.param.matrixUnit != "auto")
    name += "_" + info.param.matrixUnit;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

/// Every model of the golden set, as its checkpoint is, for the architecture of each vendor whose kernels want most of what a
/// thread has: sm_80 is all that NVIDIA's later ones are without wgmma, with as many registers, and RDNA 3's WMMA wants operands in
/// both halves of a subgroup, in half the registers of CDNA.
std::vector<Case> goldenSet(const char *gpu) {
  std::vector<Case> result;
  for (const auto &[name, entry] : manifest()["models"].items())
    result.push_back({name, "auto", gpu});
  return result;
}

/// For another architecture those whose kernels differ in more than numbers from one another's and from those of cases(): heads,
/// windows, formats of checkpoints, numbers of experts, tables of angles. A third of the time that all would take.
std::vector<Case> goldenShapes(const char *gpu, const char *matrixUnit = "auto") {
  std::vector<Case> result;
  for (const char *model : {"awq-moe", "dense-base", "dense-hd96", "dense-sliding-layer-types", "dense-tied", "dense-v5-sliding",
                            "dense-wide-gqa", "fp8-dense", "fp8-moe", "fp8-some-layers", "gptq-act-order-some", "gptq-int4-asym",
                            "gptq-int8-asym", "gptq-int8-rows", "gptq-moe", "moe-bias-hd64", "moe-every-expert", "moe-f16",
                            "moe-fused-experts", "moe-hd96", "moe-many-experts", "moe-rope-dynamic", "moe-sliding",
                            "moe-top1-plain", "moe-top8-plain", "rope-longrope-original"})
    result.push_back({model, "auto", gpu, "", "graph", matrixUnit});
  return result;
}

std::vector<Case> cases(std::initializer_list<const char *> gpus) {
  std::vector<Case> result;
  for (const char *model : {"dense-bias", "dense-hd128", "moe-base", "moe-odd-sizes"})
    for (const char *dtype : {"f32", "bf16"})
      for (const char *gpu : gpus)
        result.push_back({model, dtype, gpu});
  return result;
}

/// Every format of weights and of the cache.
std::vector<Case> quantizedCases(std::initializer_list<const char *> gpus) {
  std::vector<Case> result;
  for (const char *gpu : gpus) {
    for (const char *dtype : {"int8", "int4", "nvfp4"})
      result.push_back({"moe-odd-sizes", dtype, gpu});
    for (auto [dtype, cache] : {std::pair("int4z", "int4"), {"mxfp4", "int8"}, {"fp8", "fp8"}})
      result.push_back({"dense-hd128", dtype, gpu, cache});
  }
  return result;
}

/// Shapes of real models, whose tiles are larger and whose loops read ahead.
std::vector<Case> realShapes(std::initializer_list<const char *> gpus) {
  std::vector<Case> result;
  for (const char *gpu : gpus)
    for (const char *model : {"qwen3-8b-4-layers", "qwen3-30b-a3b-6-layers"})
      result.push_back({model, "int4", gpu});
  return result;
}

/// Products of four subgroups together, of floats and of codes.
std::vector<Case> wgmmaCases() {
  std::vector<Case> result = realShapes({"sm_90a"});
  for (const char *model : {"dense-bias", "dense-hd128", "moe-base", "moe-odd-sizes", "qwen3-8b-4-layers", "qwen3-30b-a3b-6-layers"})
    result.push_back({model, "bf16", "sm_90a"});
  for (auto [model, cache] : {std::pair("dense-hd96", "int4"), {"dense-hd128", "int8"}, {"dense-sliding-upper", "fp8"}})
    result.push_back({model, "bf16", "sm_90a", cache});
  for (Case &c : result)
    c.matrixUnit = "wgmma";
  return result;
}

/// Decode steps that are one kernel, of every format and of real shapes.
std::vector<Case> persistentCases(std::initializer_list<const char *> gpus) {
  std::vector<Case> result = quantizedCases(gpus);
  for (const Case &c : realShapes(gpus))
    result.push_back(c);
  for (const char *gpu : gpus)
    for (const char *model : {"dense-bias", "moe-base", "qwen3-8b-4-layers"})
      result.push_back({model, "bf16", gpu});
  for (Case &c : result)
    c.schedule = "persistent";
  return result;
}

} // namespace

class AmdResources : public testing::TestWithParam<Case> {};

TEST_P(AmdResources, NoKernelUsesScratchOrSpills) {
  std::string text = emitText(GetParam(), "rocm", "asm");
  std::vector<int> scratch = numbersAfter(text, ".private_segment_fixed_size:");
  EXPECT_GT(scratch.size(), 10u);
  for (const char *label : {".private_segment_fixed_size:", ".vgpr_spill_count:"})
    for (int number : numbersAfter(text, label))
      EXPECT_EQ(number, 0) << label;
  // A whole step outlives what CDNA has of scalar registers by a few, which lie in lanes of a vector register: 8 at most here, and
  // none of most models.
  const int lanes = GetParam().schedule == "persistent" && GetParam().gpu.starts_with("gfx9") ? 16 : 0;
  for (int number : numbersAfter(text, ".sgpr_spill_count:"))
    EXPECT_LE(number, lanes);
  for (int bytes : numbersAfter(text, ".group_segment_fixed_size:"))
    EXPECT_LE(bytes, 64 << 10);
}

INSTANTIATE_TEST_SUITE_P(GoldenSet, AmdResources, testing::ValuesIn(goldenSet("gfx1100")), nameOf);
INSTANTIATE_TEST_SUITE_P(GoldenShapes, AmdResources, testing::ValuesIn(goldenShapes("gfx942")), nameOf);
INSTANTIATE_TEST_SUITE_P(Models, AmdResources, testing::ValuesIn(cases({"gfx90a", "gfx942", "gfx1100", "gfx1201"})), nameOf);
INSTANTIATE_TEST_SUITE_P(Quantized, AmdResources, testing::ValuesIn(quantizedCases({"gfx942", "gfx1100"})), nameOf);

INSTANTIATE_TEST_SUITE_P(RealShapes, AmdResources, testing::ValuesIn(realShapes({"gfx942", "gfx1100", "gfx1201"})), nameOf);
INSTANTIATE_TEST_SUITE_P(Persistent, AmdResources, testing::ValuesIn(persistentCases({"gfx942", "gfx1100"})), nameOf);

class NvidiaResources : public testing::TestWithParam<Case> {};

TEST_P(NvidiaResources, NoKernelUsesLocalMemoryOrSpills) {
  if (assembler().empty())
    GTEST_SKIP() << "there is no ptxas here";
  Scratch scratch;
  writeFile(scratch / "k.ptx", emitText(GetParam(), "cuda", "ptx"));
  Outcome outcome = run({assembler(), "-v", "-arch=" + GetParam().gpu, scratch / "k.ptx", "-o", scratch / "k.cubin"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  std::string report = outcome.out + outcome.err;
  static const std::regex line("(\\d+) bytes stack frame, (\\d+) bytes spill stores, (\\d+) bytes spill loads");
  size_t kernels = 0;
  for (std::sregex_iterator it(report.begin(), report.end(), line), end; it != end; ++it, ++kernels)
    EXPECT_EQ(it->str(), "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads");
  EXPECT_GT(kernels, 10u);
  EXPECT_THAT(report, Not(HasSubstr("wgmma"))); // ptxas would warn that products wait for one another (C7510 and the like)
}

INSTANTIATE_TEST_SUITE_P(Wgmma, NvidiaResources, testing::ValuesIn(wgmmaCases()), nameOf);
INSTANTIATE_TEST_SUITE_P(GoldenSet, NvidiaResources, testing::ValuesIn(goldenSet("sm_80")), nameOf);
INSTANTIATE_TEST_SUITE_P(GoldenShapes, NvidiaResources, testing::ValuesIn(goldenShapes("sm_90a", "wgmma")), nameOf);
INSTANTIATE_TEST_SUITE_P(Models, NvidiaResources, testing::ValuesIn(cases({"sm_80", "sm_90a", "sm_120"})), nameOf);
INSTANTIATE_TEST_SUITE_P(Quantized, NvidiaResources, testing::ValuesIn(quantizedCases({"sm_80"})), nameOf);
INSTANTIATE_TEST_SUITE_P(RealShapes, NvidiaResources, testing::ValuesIn(realShapes({"sm_80", "sm_90a"})), nameOf);
INSTANTIATE_TEST_SUITE_P(Persistent, NvidiaResources, testing::ValuesIn(persistentCases({"sm_80", "sm_90a"})), nameOf);

class DependentLaunches : public testing::TestWithParam<Case> {};

/// Lines of PTX that access memory, but for a kernel's arguments.
std::vector<std::string> accessesIn(const std::string &text) {
  static const std::regex access("\\s((?:ld|st|atom|red|cp|ldmatrix|mbarrier)[.](?!param)[^;]*);");
  return matchesOf(access, text);
}

// Neither MLIR's nor LLVM's passes have moved an access to what launches write before the wait for them: a kernel reads the step
// alone, which is the same for all of them.
TEST_P(DependentLaunches, AccessOnlyTheStepBeforeTheyWait) {
  std::string text = emitText(GetParam(), "cuda", "ptx");
  static const std::regex entry("[.]entry ([^(]+)[(]"), step("ld[.]param[.]b64\\s+(%rd[0-9]+), \\[[a-z0-9_]+_param_0\\];");
  size_t kernels = 0;
  for (std::sregex_iterator it(text.begin(), text.end(), entry), end; it != end; ++it, ++kernels) {
    std::string rest = text.substr(it->position()), name = (*it)[1];
    const size_t wait = rest.find("griddepcontrol.wait;");
    ASSERT_LT(wait, rest.find(".entry", 1)) << name << " does not wait";
    EXPECT_LT(rest.find("griddepcontrol.launch_dependents;"), wait) << name;
    std::string before = rest.substr(0, wait);
    std::smatch pointer;
    std::vector<std::string> allowed;
    if (std::regex_search(before, pointer, step)) {
      allowed.push_back("[" + pointer.str(1));
      std::smatch global;
      const std::string convert = "cvta[.]to[.]global[.]u64\\s+(%rd[0-9]+), " + pointer.str(1) + ";";
      if (std::regex_search(before, global, std::regex(convert)))
        allowed.push_back("[" + global.str(1));
    }
    for (const std::string &line : accessesIn(before)) {
      const bool ofStep = line.starts_with("ld.") && std::any_of(allowed.begin(), allowed.end(), [&](const std::string &base) {
                            return line.find(base + "]") != std::string::npos || line.find(base + "+") != std::string::npos;
                          });
      EXPECT_TRUE(ofStep) << name << ": " << line;
    }
  }
  EXPECT_GT(kernels, 10u);
}

std::vector<Case> dependentCases() {
  std::vector<Case> result = {{"dense-bias", "f32", "sm_100a"},
                              {"moe-odd-sizes", "bf16", "sm_90a"},
                              {"moe-odd-sizes", "int4", "sm_90a"},
                              {"dense-hd128", "fp8", "sm_120", "int8"},
                              {"qwen3-8b-4-layers", "bf16", "sm_90a"},
                              {.model = "qwen3-30b-a3b-6-layers", .dtype = "bf16", .gpu = "sm_90a", .matrixUnit = "wgmma"}};
  for (Case &c : result)
    c.dependentLaunch = "on";
  return result;
}
INSTANTIATE_TEST_SUITE_P(Models, DependentLaunches, testing::ValuesIn(dependentCases()), nameOf);
INSTANTIATE_TEST_SUITE_P(DependentLaunches, NvidiaResources, testing::ValuesIn(dependentCases()), nameOf);

class GpuProgram : public testing::Test {
protected:
  void compile(const std::string &target, const std::string &gpus, const std::string &schedule = "auto",
               const std::string &dependentLaunch = "auto") {
    Outcome outcome = runTool({"compile", goldenModel("moe-base"), "-o", scratch / "model", "--no-tokenizer", "--dtype", "f32",
                              "--max-context", "256", "--target", target, "--gpu", gpus, "--schedule", schedule,
                              "--dependent-launch", dependentLaunch});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
  }
  Outcome generate(const std::string &driver, const std::string &log) {
    return run({"/usr/bin/env", "QWENCH_GPU_DRIVER=" + driver, "QWENCH_FAKE_GPU_LOG=" + log, scratch / "model", "generate",
                "--tokens", "1,2,3", "-n", "3", "--greedy", "--ids", "--ignore-eos"});
  }
  Scratch scratch;
};

TEST_F(GpuProgram, WithoutADriverSaysSoInOneLine) {
  compile("cuda", "sm_80");
  Outcome outcome = generate("/nowhere/libcuda.so.1", "");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, HasSubstr("error: this model needs an NVIDIA GPU: expected the NVIDIA driver"));
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1);
}

/// The log of the launches of a step, without their numbers: "decode_0_embedding", ...
std::vector<std::string> launchesOf(const std::string &log) {
  static const std::regex line("launch ([^ ]+) ");
  return matchesOf(line, log);
}

TEST_F(GpuProgram, LaunchesItsKernelsInOrderAndReplaysDecodeSteps) {
  for (auto [target, gpus, driver] : {std::tuple("cuda", "sm_90a,sm_80", FAKE_CUDA), {"rocm", "gfx1100,gfx942", FAKE_ROCM}}) {
    compile(target, gpus);
    std::string log = scratch / (std::string(target) + ".log");
    Outcome outcome = generate(driver, log);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    std::string text = readFile(log);
    auto names = launchesOf(text);
    ASSERT_GT(names.size(), 20u);
    EXPECT_THAT(names.front(), StartsWith("decode_0"));
    EXPECT_THAT(names.front(), HasSubstr("embedding"));
    // Three rows, then one row twice: two sizes, two captures, three replays of as many launches.
    EXPECT_EQ(names.size() % 3, 0u);
    const size_t step = names.size() / 3;
    for (size_t i = 0; i < step; ++i) {
      EXPECT_EQ(names[i], names[i + step]);
      EXPECT_EQ(names[i], names[i + 2 * step]);
    }
    EXPECT_EQ(numbersAfter(text, "capture").size(), 2u);
    EXPECT_EQ(numbersAfter(text, "graph\n").size(), 3u);
    Outcome info = run({scratch / "model", "info"});
    EXPECT_THAT(info.out, HasSubstr(std::string(target) == "cuda" ? "PTX of sm_80" : "gfx1100, gfx942"));
    EXPECT_THAT(info.out, HasSubstr("gpu_schedule              graph\n"));
  }
}

TEST_F(GpuProgram, LaunchesOneKernelForADecodeStepThatIsPersistent) {
  for (auto [target, gpus, driver] : {std::tuple("cuda", "sm_90a,sm_80", FAKE_CUDA), {"rocm", "gfx1100,gfx942", FAKE_ROCM}}) {
    compile(target, gpus, "persistent");
    std::string log = scratch / (std::string(target) + ".log");
    Outcome outcome = generate(driver, log);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    std::string text = readFile(log);
    EXPECT_EQ(numbersAfter(text, "launch together decode_step blocks="), (std::vector<int>{8, 8, 8}));
    EXPECT_THAT(launchesOf(text), ElementsAre("together", "sample_0_sample", "together", "sample_0_sample", "together", "sample_0_sample"));
    EXPECT_EQ(numbersAfter(text, "capture").size(), 0u);
    EXPECT_THAT(run({scratch / "model", "info"}).out, HasSubstr("gpu_schedule              persistent\n"));
  }
}

// The first launch of a step follows an upload, which nothing in it would wait for.
TEST_F(GpuProgram, BeginsLaunchesWhileThoseBeforeThemRunWhereTheDriverKnowsHow) {
  compile("cuda", "sm_90a", "graph", "on");
  for (const char *version : {"12030", "12020"}) {
    setenv("QWENCH_FAKE_GPU_VERSION", version, 1);
    std::string log = scratch / (std::string(version) + ".log");
    Outcome outcome = generate(FAKE_CUDA, log);
    unsetenv("QWENCH_FAKE_GPU_VERSION");
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    static const std::regex line("(launch(?: early| together)? [^ ]+) blocks");
    auto launches = matchesOf(line, readFile(log));
    ASSERT_GT(launches.size(), 20u);
    for (const std::string &launch : launches) {
      const size_t space = launch.rfind(' ');
      const std::string how = launch.substr(0, space), name = launch.substr(space + 1);
      const bool first = name.starts_with("decode_0_") || name == "sample_0_sample";
      const bool early = std::string(version) == "12030" && !first;
      EXPECT_EQ(how, early ? "launch early" : "launch") << name << " with a driver of " << version;
    }
  }
}
