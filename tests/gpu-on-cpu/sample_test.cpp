// Drawing tokens on a GPU: the kernel, for subgroups of 32 and of 64 lanes, takes the very token that the reference evaluator and
// the runtime's sampler take, whatever the logits and the settings.
#include "dialects/Qwen.h"
#include "dialects/evaluator/Math.h"
#include "runtime/core/random.h"
#include "runtime/core/sampler.h"
#include "tests/differential/all_dialects.h"
#include "tests/differential/planned_module.h"
#include "tests/gpu-on-cpu/program.h"

#include "mlir/Parser/Parser.h"
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace qwench {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Case {
  int64_t vocabulary, subgroupSize;
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.vocabulary << " " << c.subgroupSize; }

using Row = std::vector<float>;

/// Rows that a threshold could trip over.
std::vector<Row> rowsOf(int64_t vocabulary) {
  Random random(static_cast<uint64_t>(vocabulary));
  auto row = [&](auto &&logit) {
    Row values;
    for (int64_t id = 0; id < vocabulary; ++id)
      values.push_back(static_cast<float>(logit(id)));
    return values;
  };
  auto normal = [&](int64_t) { return (random.uniform() + random.uniform() + random.uniform() - 1.5) * 8; };
  std::vector<Row> rows{row(normal), row(normal)};
  rows.push_back(row([](int64_t) { return 1.5; }));                                        // all equal
  rows.push_back(row([&](int64_t) { return std::floor(random.uniform() * 4); }));          // many equals
  rows.push_back(row([](int64_t id) { return id % 2 ? -0.0f : 0.0f; }));                   // which are equal
  rows.push_back(row([](int64_t id) { return id % 3 ? kNaN : id % 2 ? -kInfinity : -2e9 - static_cast<double>(id % 7); }));
  rows.push_back(row([&](int64_t id) { return id % 3 == 1 ? std::copysign(kNaN, -1) : normal(id); }));
  rows.push_back(row([](int64_t) { return -kInfinity; }));
  rows.push_back(row([](int64_t) { return kNaN; }));
  rows.push_back(row([&](int64_t id) { return id == vocabulary / 2 ? kInfinity : 3; }));
  rows.push_back(row([&](int64_t id) { return id == vocabulary - 1 ? -3e38f : -kInfinity; })); // the last alone
  rows.push_back(row([&](int64_t id) { return id % 5 ? 3e38f : -3e38f; }));
  rows.push_back(row([](int64_t id) { return 1e-40 * static_cast<double>(id % 3); })); // denormal
  return rows;
}

std::vector<QwenchSampling> settingsOf(int64_t vocabulary) {
  const auto all = static_cast<int32_t>(vocabulary);
  return {{0, 0, 1, 0, 0},         {1, 0, 1, 0, 0},      {0.6f, 20, 0.95f, 0, 0}, {1, 1, 1, 0, 0},      {1, all, 1, 0, 0},
          {1, all - 1, 1, 0, 0},   {2, 0, 0, 0, 0},      {1, 0, 0.5f, 0, 0},      {0.7f, 0, 0.9f, 0, 0}, {1, 0, 1, 1, 0},
          {3, 0, 1, 0.1f, 0},      {5, 3, 0.4f, 0.2f, 0}, {1e-30f, 0, 1, 0, 0},   {3e38f, 7, 1, 0, 0},  {1e-42f, 5, 0.5f, 0, 0}};
}

class sample : public testing::TestWithParam<Case> {};

TEST_P(sample, draws_what_the_evaluator_and_the_runtime_draw) {
  mlir::MLIRContext context(test::allDialects(), mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<qwen::QwenDialect>();
  const auto [vocabulary, subgroupSize] = GetParam();
  gpu::Device device;
  device.subgroupSize = subgroupSize;
  if (std::string missing = gpu_test::missingFor(device); !missing.empty())
    GTEST_SKIP() << missing;
  const std::string type = "memref<?x" + std::to_string(vocabulary) + "xf32, strided<[" +
                           std::to_string((vocabulary + 15) / 16 * 16) + ", 1]>>";
  auto module = mlir::parseSourceString<mlir::ModuleOp>(test::plannedModule() + R"( {
    func.func @prefill(%batch: !qwen.batch) { return }
    func.func @decode(%batch: !qwen.batch) { return }
    func.func @sample(%batch: !qwen.batch) {
      %draws = qwen.batch_size %batch
      %logits = qwen.buffer at 0 logits : )" + type + R"(
      %drawn = qwen.buffer[%draws] at 0 drawn : memref<?xi32, strided<[1]>>
      qwen.sample(%logits, %batch) outs(%drawn) {tile = array<i64: 1>} : ()" + type +
                                                            R"(, !qwen.batch, memref<?xi32, strided<[1]>>) -> ()
      return
    }
  })", &context);
  ASSERT_TRUE(module);
  auto kernels = gpu_test::emitKernels(*module, device, gpu::Schedule::Graph);
  ASSERT_TRUE(kernels) << kernels.error().message;

  const std::vector<Row> rows = rowsOf(vocabulary);
  Row logits;
  for (const Row &row : rows)
    logits.insert(logits.end(), row.begin(), row.end());
  Random random(3);
  std::vector<QwenchDraw> draws;
  for (size_t row = 0; row < rows.size(); ++row)
    for (const QwenchSampling &s : settingsOf(vocabulary)) {
      const int64_t candidates = draws.size() % 4 ? vocabulary : std::max<int64_t>(1, vocabulary - 3);
      const double uniform = draws.size() % 9 == 0 ? 0 : draws.size() % 9 == 4 ? 1 - 0x1p-53 : random.uniform();
      draws.push_back({static_cast<double>(row), static_cast<double>(candidates), uniform, s.temperature,
                       static_cast<double>(s.top_k), s.top_p, s.min_p});
    }
  auto found = gpu_test::draw(**kernels, draws, logits, vocabulary);
  ASSERT_TRUE(found) << found.error().message;
  std::vector<Candidate> scratch;
  for (size_t i = 0; i < draws.size(); ++i) {
    const QwenchDraw &d = draws[i];
    const Row &row = rows[static_cast<size_t>(d.row)];
    const QwenchSampling settings = {static_cast<float>(d.temperature), static_cast<int32_t>(d.top_k),
                                     static_cast<float>(d.top_p), static_cast<float>(d.min_p), 0};
    const int32_t expected = evaluator::sample(row.data(), d);
    auto what = [&] {
      return "row " + std::to_string(d.row) + " temperature " + std::to_string(d.temperature) + " top_k " +
             std::to_string(d.top_k) + " top_p " + std::to_string(d.top_p) + " min_p " + std::to_string(d.min_p) + " at " +
             std::to_string(d.uniform);
    };
    EXPECT_EQ((*found)[i], expected) << what();
    EXPECT_EQ(drawToken(row.data(), static_cast<int64_t>(d.candidates), settings, d.uniform, scratch), expected) << what();
  }
}

INSTANTIATE_TEST_SUITE_P(vocabularies, sample,
                         testing::Values(Case{1, 32}, Case{2, 64}, Case{7, 32}, Case{101, 64}, Case{256, 32}, Case{515, 64},
                                         Case{1025, 32}, Case{4104, 32}),
                         [](const auto &info) {
                           return std::to_string(info.param.vocabulary) + "_of_" + std::to_string(info.param.subgroupSize);
                         });

} // namespace
} // namespace qwench
