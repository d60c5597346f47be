// Golden models with quantized weights and caches: the kernels of the GPU backends, run on the CPU thread by thread, compute what
// the reference evaluator computes from the same codes, up to the rounding of activations to bf16 where weights are not f32.
#include "passes/Pipelines.h"
#include "tests/differential/all_dialects.h"
#include "tests/gpu-on-cpu/checkpoint_source.h"
#include "tests/gpu-on-cpu/program.h"
#include "tests/reference/logits.h"
#include "tests/reference/model.h"

#include "mlir/Pass/PassManager.h"
#include <gtest/gtest.h>

#include <algorithm>

namespace qwench {
namespace {

using Unit = gpu::MatrixUnit;

struct Case {
  std::string model, format;
  CacheFormat cache = CacheFormat::BF16;
  int64_t subgroupSize = 32;
  Unit matrix = Unit::None;
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.model << " " << c.format << " " << name(c.cache); }

std::vector<Case> cases() {
  return {{"dense-tied", "int8"},
          {"moe-base", "int8", CacheFormat::Int8, 32, Unit::MmaSync},
          {"dense-bias", "int4", CacheFormat::Int4, 64, Unit::Mfma},
          {"moe-odd-sizes", "int4z", CacheFormat::BF16, 64},
          {"moe-top1", "mxfp4", CacheFormat::FP8, 32, Unit::Wmma11},
          {"dense-tied", "nvfp4", CacheFormat::Int8, 32, Unit::Wmma12},
          {"moe-odd-sizes", "fp8", CacheFormat::Int8, 32},
          {"moe-odd-sizes", "f32", CacheFormat::Int4, 32},
          {"moe-base", "f32", CacheFormat::Int8, 64},
          {"dense-bias", "f32", CacheFormat::FP8, 64}};
}

class quantized_golden : public testing::TestWithParam<Case> {};

TEST_P(quantized_golden, computes_what_the_evaluator_computes_from_the_same_codes) {
  const Case &c = GetParam();
  mlir::MLIRContext context(test::allDialects());
  bool isF32 = c.format == "f32";
  auto imported = importGolden(context, c.model, isF32 ? ElementType::F32 : ElementType::BF16, c.cache);
  ASSERT_TRUE(imported) << imported.error().message;
  mlir::OwningOpRef<mlir::ModuleOp> module = imported.take();
  mlir::PassManager passes(&context);
  ASSERT_TRUE(buildFusePipeline(passes, {}, {isF32 ? "" : c.format, "", 0}));
  ASSERT_TRUE(mlir::succeeded(passes.run(*module)));
  Result<hf::Checkpoint> checkpoint = hf::Checkpoint::open(goldenDirectory(c.model));
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  CheckpointSource source(*checkpoint);
  gpu::Device device = gpu_test::deviceOf(c.matrix, c.subgroupSize);
  auto program = gpu_test::Program::create(*module, device, source, 1, 128);
  ASSERT_TRUE(program) << program.error().message;
  evaluator::NamedWeights weights = checkpointWeights(checkpoint.take());
  evaluator::Evaluator evaluator(*module, weights);

  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < 72; ++i)
    tokens.push_back((i * i * 7 + i * 31) % 61);
  std::vector<double> divergences;
  size_t done = 0;
  for (size_t count : {40, 29, 1, 1, 1}) { // more rows than a tile of few, then one by one
    evaluator::BatchRows rows = rowsOf(tokens, done, count, 0, static_cast<int32_t>(done + count));
    for (int32_t row = 0; row < rows.rows(); ++row)
      rows.outputRows.push_back(row);
    auto expected = evaluator.forward(rows);
    ASSERT_TRUE(expected) << expected.error().message;
    auto found = (*program)->forward(rows, count == 1);
    ASSERT_TRUE(found) << found.error().message;
    ASSERT_EQ(found->size(), expected->size());
    size_t vocabulary = found->size() / count;
    for (size_t row = 0; row < count; ++row)
      divergences.push_back(divergence(std::span(*expected).subspan(row * vocabulary, vocabulary),
                                       std::span(*found).subspan(row * vocabulary, vocabulary)));
    done += count;
  }
  std::sort(divergences.begin(), divergences.end());
  double median = divergences[divergences.size() / 2];
  RecordProperty("median_kl", std::to_string(median));
  // Weights of 4 bits cost some 1e-1 on these models, whose weights are noise: other codes than the evaluator's, or scales of
  // another row, would be far outside. The median, because a row whose router hesitates may go to another expert. Where
  // activations are not rounded to bf16, the codes of a cache are the evaluator's; where they are, a code of 4 bits that
  // rounds the other way is a difference of a step.
  EXPECT_LE(median, isF32 ? 1e-9 : c.cache == CacheFormat::Int4 ? 1e-2 : 3e-3);
  EXPECT_TRUE(std::isfinite(divergences.back()));
}

std::string nameOf(const testing::TestParamInfo<Case> &info) {
  std::string text = info.param.model + "_" + info.param.format + "_" + std::string(name(info.param.cache)) + "_" +
                     std::to_string(info.param.subgroupSize) + gpu_test::suffixOf(info.param.matrix);
  std::replace(text.begin(), text.end(), '-', '_');
  return text;
}
INSTANTIATE_TEST_SUITE_P(model, quantized_golden, testing::ValuesIn(cases()), nameOf);

} // namespace
} // namespace qwench
