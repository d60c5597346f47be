// Kernels of quantized weights against plain arithmetic on the same codes: every format, every way through the kernels
// (few rows and many, one piece of a panel and several), and CPUs with and without dot products and tiles of bytes.
#include "tests/differential/quantized_program.h"

#include "compiler/target/target.h"

#include <gtest/gtest.h>

using namespace mlir;
using namespace qwench;
using namespace qwench::test;

namespace {

struct Case {
  std::string format; ///< of !qwen.quant
  std::string cpu;
  int64_t k = 200;
  int64_t rowBound = 16; ///< of the steps that activations are for
  int leastScale = 1;    ///< code of e4m3
  double tolerance = 2e-5;
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.format << " " << c.cpu << " " << c.k; }

class QuantizedKernels : public testing::TestWithParam<Case> {};

} // namespace

TEST_P(QuantizedKernels, ComputeWhatTheCodesMean) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  context.loadDialect<qwen::QwenDialect>();
  TargetOptions options;
  options.cpu = GetParam().cpu;
  auto target = createTarget("x86-64", options);
  ASSERT_TRUE(target);
  TargetProperties properties = (*target)->properties();
  const Case &c = GetParam();
  QuantizedProgram program(context, properties,
                           {.format = c.format, .k = c.k, .rowBound = c.rowBound, .leastScale = c.leastScale, .tolerance = c.tolerance});
  auto compiled = CompiledKernels::compile(program.text(), GetParam().cpu);
  ASSERT_TRUE(compiled) << compiled.error().message << "\n" << program.text();
  if (!(*compiled)->runsHere())
    GTEST_SKIP() << "this CPU lacks features of " << GetParam().cpu;
  program.compare([&](bool decode, const QwenchStep &step) {
    (*compiled)->run(decode ? (*compiled)->program().decode : (*compiled)->program().prefill, step);
  });
}

static std::vector<Case> cases() {
  std::vector<Case> result;
  for (const char *format : {"i8, group = 0, scale = f32", "i8, group = 32, scale = f16", "i8, group = 128, scale = f16, zero_points = true",
                             "i4, group = 64, scale = f16", "i4, group = 128, scale = f16, zero_points = true",
                             "i4, group = 32, scale = bf16", "f4E2M1FN, group = 32, scale = f8E8M0FNU",
                             "f4E2M1FN, group = 16, scale = f8E4M3FN, row_scales = true",
                             "f8E4M3FN, group = 128, scale = f32, group_rows = 128"}) {
    for (const char *cpu : {"native", "x86-64-v4", "x86-64-v3", "sapphirerapids"})
      result.push_back({format, cpu, 200});
    for (const char *cpu : {"native", "sapphirerapids"})
      result.push_back({format, cpu, 1100, 512});
  }
  // Pairs of groups, with whole scales of activations and a piece of one: exact where a row's scales are within a factor of 512,
  // and not far off where they are not.
  for (int64_t k : {1024, 1120}) {
    result.push_back({"f4E2M1FN, group = 16, scale = f8E4M3FN, row_scales = true", "native", k, 512, 56});
    result.push_back({"f4E2M1FN, group = 16, scale = f8E4M3FN, row_scales = true", "native", k, 512, 1, 5e-4});
  }
  for (const char *format : {"i8, group = 0, scale = f32", "i4, group = 64, scale = f16"})
    result.push_back({format, "native", 2600});
  return result;
}

INSTANTIATE_TEST_SUITE_P(Formats, QuantizedKernels, testing::ValuesIn(cases()), [](const auto &info) {
  std::string name = info.param.format + "_" + info.param.cpu + "_" + std::to_string(info.param.k) +
                     "_" + std::to_string(info.param.rowBound) + (info.param.leastScale > 1 ? "_close" : "");
  std::erase_if(name, [](char c) { return c == ' ' || c == '='; });
  std::replace_if(name.begin(), name.end(), [](char c) { return !isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
});
