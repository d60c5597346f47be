// Kernels of quantized weights against plain arithmetic on the same codes: every format, for
// subgroups of 32 and of 64 lanes, by subgroups and on matrix units, on shapes that nothing divides.
#include "compiler/target/gpu/properties.h"
#include "tests/differential/all_dialects.h"
#include "tests/differential/quantized_program.h"
#include "tests/gpu-on-cpu/program.h"

#include "mlir/Parser/Parser.h"
#include <gtest/gtest.h>

namespace qwench {
namespace {

using Unit = gpu::MatrixUnit;

struct Case {
  std::string format;
  int64_t k;
  int64_t subgroupSize;
  Unit matrix = Unit::None;
  bool tiles = true; ///< of many rows
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.format << " " << c.k << " " << c.subgroupSize; }

std::vector<Case> cases() {
  std::vector<Case> list;
  const Unit units[] = {Unit::MmaSync, Unit::Mfma, Unit::Wmma11, Unit::Wmma12};
  for (const char *format :
       {"i8, group = 0, scale = f32", "i8, group = 32, scale = f16", "i8, group = 128, scale = f16, zero_points = true",
        "i4, group = 64, scale = f16", "i4, group = 128, scale = f16, zero_points = true", "i4, group = 32, scale = bf16",
        "f4E2M1FN, group = 32, scale = f8E8M0FNU", "f4E2M1FN, group = 16, scale = f8E4M3FN, row_scales = true",
        "f8E4M3FN, group = 128, scale = f32, group_rows = 128"}) {
    list.push_back({format, 203, 32});
    list.push_back({format, 200, 64});
    Unit unit = units[list.size() / 3 % 4];
    list.push_back({format, 200, unit == Unit::Mfma ? 64 : 32, unit});
    list.push_back({format, 203, 32, Unit::MmaSync, false});
  }
  for (const char *format : {"i8, group = 0, scale = f32", "i4, group = 64, scale = f16"})
    list.push_back({format, 2600, 32}); // loops over steps that are read ahead
  for (const char *format : {"i8, group = 0, scale = f32", "i4, group = 32, scale = bf16",
                             "f4E2M1FN, group = 16, scale = f8E4M3FN, row_scales = true"})
    list.push_back({format, 2600, 32, Unit::MmaSync, false});
  return list;
}

class quantized_kernels : public testing::TestWithParam<Case> {};

TEST_P(quantized_kernels, compute_what_the_codes_mean) {
  mlir::MLIRContext context(test::allDialects(), mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<qwen::QwenDialect>();
  const Case &c = GetParam();
  gpu::Device device = gpu_test::deviceOf(c.matrix, c.subgroupSize);
  if (std::string missing = gpu_test::missingFor(device); !missing.empty())
    GTEST_SKIP() << missing;
  bool tiles = c.matrix != Unit::None && c.tiles;
  TargetProperties properties = gpu::properties();
  test::QuantizedProgram program(context, properties,
                                 {c.format, c.k, 16, tiles ? "64, 64" : "16, 16", tiles ? "64, 64" : "16, 4", "16", c.matrix == Unit::None ? "x" : "norm"});
  mlir::ParserConfig config(&context);
  auto module = mlir::parseSourceString<mlir::ModuleOp>(program.text(), config);
  ASSERT_TRUE(module);
  auto kernels = gpu_test::emitKernels(*module, device, gpu::Schedule::Graph);
  ASSERT_TRUE(kernels) << kernels.error().message;
  program.compare([&](bool decode, const QwenchStep &step) {
    auto bytes = [](const void *at, int64_t count, bool writable) {
      return gpu_test::Range{static_cast<const uint8_t *>(at), static_cast<uint64_t>(count), writable};
    };
    Status ran = (*kernels)->run(decode ? gpu_test::Entry::Decode : gpu_test::Entry::Prefill, step,
                                 {bytes(step.arena, program.arenaBytes, true), bytes(step.weights, program.weightBytes, false),
                                  bytes(step.tokens, step.rows * 4, false), bytes(step.positions, step.rows * 4, false)});
    ASSERT_TRUE(ran) << ran.error().message;
  });
}

std::string nameOf(const testing::TestParamInfo<Case> &info) {
  std::string name = info.param.format + "_" + std::to_string(info.param.k) + "_" + std::to_string(info.param.subgroupSize) +
                     gpu_test::suffixOf(info.param.matrix) + (info.param.tiles ? "" : "_few_rows");
  std::erase_if(name, [](char c) { return c == ' ' || c == '='; });
  std::replace_if(name.begin(), name.end(), [](char c) { return !isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(formats, quantized_kernels, testing::ValuesIn(cases()), nameOf);

} // namespace
} // namespace qwench
