// The cache's write side at the end of the longest contexts: the table of angles of the last positions, and
// what qk_norm_rope_cache stores there in every format, against plain arithmetic and the evaluator's
// rounding. Nothing but what belongs to those positions may be written.
#include "dialects/evaluator/Cache.h"
#include "tests/differential/planned_module.h"
#include "tests/gpu-on-cpu/long_cache.h"

#include "mlir/AsmParser/AsmParser.h"
#include <gtest/gtest.h>

#include <iomanip>
#include <sstream>

namespace qwench {
namespace {

using gpu_test::LongCache;

constexpr int64_t kDim = LongCache::kDim, kHalf = kDim / 2, kRows = 2;
constexpr int64_t kWidth = 4 * kDim; // two heads of q, one of k, one of v
constexpr int64_t kTableAt = 1024, kOutAt = 2048, kArenaBytes = 4096;

struct Case {
  LongCache::Kind cache;
  int64_t subgroupSize;
};

std::string nameOf(const Case &c) {
  return std::string(LongCache::kFormats[c.cache].name) + "_" + std::to_string(c.subgroupSize);
}

void PrintTo(const Case &c, std::ostream *out) { *out << nameOf(c); }

/// Angles of all sizes, some of which f32 rounds.
float frequency(int64_t i) { return std::exp2(-0.75f * static_cast<float>(i)); }

std::string programText(const std::string &cache) {
  std::ostringstream text;
  text << std::setprecision(9) << test::plannedModule()
       << " {\nqwen.rotary @rope fixed scaling 1.0 {inv_freq = array<f32: ";
  for (int64_t i = 0; i < kHalf; ++i)
    text << (i ? ", " : "") << std::scientific << frequency(i);
  text << ">}\n";
  for (auto [name, at] : {std::pair("q", 0), {"k", 128}})
    text << "qwen.weight @" << name << " : tensor<32xf32> instances 1 layers [] source \"" << name
         << "\" layout <\"rows\", width = 1, depth = 1, align = 8, pair_halves = false> at " << at
         << " stride 256\n";
  const std::string qkv = "memref<?x128xf32, strided<[128, 1]>>",
                    table = "memref<?x32xf32, strided<[32, 1]>>",
                    out = "memref<?x2x32xf32, strided<[64, 32, 1]>>", norm = "tensor<32xf32>";
  for (const char *entry : {"prefill", "decode"})
    text << "func.func @" << entry << "(%batch: !qwen.batch, %cache: " << cache << ") {\n"
         << "%t = qwen.batch_size %batch\n%zero = arith.constant 0 : index\n"
         << "%qn = qwen.param @q[%zero] : " << norm << "\n%kn = qwen.param @k[%zero] : " << norm << "\n"
         << "%qkv = qwen.buffer[%t] at 0 : " << qkv << "\n%table = qwen.buffer[%t] at " << kTableAt << " : "
         << table << "\n%q = qwen.buffer[%t] at " << kOutAt << " : " << out << "\n"
         << "qwen.rope_table(%batch) @rope outs(%table) {tile = array<i64: 1>} : (!qwen.batch, " << table
         << ") -> ()\n"
         << "qwen.qk_norm_rope_cache(%qkv, %qn, %kn, %table, %batch) into %cache[%zero] outs(%q) {eps = 0.0 "
            ": f32, "
         << "tile = array<i64: 1, 1>} : (" << qkv << ", " << norm << ", " << norm << ", " << table << ", "
         << cache << ", index, !qwen.batch, " << out << ") -> ()\nreturn\n}\n";
  text << "}\n";
  return text.str();
}

/// A row's vectors whose elements are all of one magnitude, a power of two: normalised they are exactly 1 or
/// -1.
std::vector<float> randomInputs(std::mt19937 &random) {
  std::normal_distribution<float> normal;
  std::vector<float> qkv(kRows * kWidth);
  for (int64_t i = 0; i < kRows * kWidth; ++i)
    qkv[i] = i % kWidth / kDim == 3 ? normal(random) : random() % 2 ? 2.0f : -2.0f;
  return qkv;
}

/// What becomes of a vector of q or k, each operation rounded by itself.
std::vector<float> rotate(const float *in, const float *norm, const float *table) {
  std::vector<float> out(kDim);
  for (int64_t i = 0; i < kHalf; ++i) {
    const float cosine = table[i], sine = table[i + kHalf];
    const float first = in[i] / 2 * norm[i], second = in[i + kHalf] / 2 * norm[i + kHalf];
    const float products[] = {first * cosine, second * sine, second * cosine, first * sine};
    out[i] = products[0] - products[1], out[i + kHalf] = products[2] + products[3];
  }
  return out;
}

class end_of_cache : public testing::TestWithParam<Case> {};

TEST_P(end_of_cache, is_written_as_the_evaluator_rounds) {
  const Case &c = GetParam();
  LongCache cache(c.cache);
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  auto kernels = gpu_test::emitText(context, programText(cache.type()),
                                    gpu_test::deviceOf(gpu::MatrixUnit::None, c.subgroupSize));
  ASSERT_TRUE(kernels) << kernels.error().message;

  auto type = mlir::cast<qwen::CacheType>(mlir::parseType(cache.type(), &context));
  std::mt19937 random(3);
  const std::vector<float> qkv = randomInputs(random);
  std::vector<float> norms(2 * kDim);
  for (float &weight : norms)
    weight = std::uniform_real_distribution<float>(0.5, 1.5)(random);
  gpu_test::LongStep step(cache, kRows, kArenaBytes);
  std::memcpy(step.arena.data(), qkv.data(), qkv.size() * 4);
  step.step.weights = reinterpret_cast<const uint8_t *>(norms.data());
  std::vector<gpu_test::Range> memory = step.memory();
  memory.push_back(gpu_test::rangeOf(norms));
  for (gpu_test::Range range : cache.writableFrom(LongCache::kCapacity - kRows))
    memory.push_back(range);
  Status ran = (*kernels)->run(gpu_test::Entry::Decode, step.step, memory);
  ASSERT_TRUE(ran) << ran.error().message;

  auto *table = reinterpret_cast<const float *>(step.arena.data() + kTableAt),
       *queries = reinterpret_cast<const float *>(step.arena.data() + kOutAt);
  for (int64_t row = 0; row < kRows; ++row, table += kDim) {
    const int64_t position = step.positions[row];
    for (int64_t i = 0; i < kHalf; ++i) {
      const double angle = static_cast<float>(position) * frequency(i);
      EXPECT_NEAR(table[i], std::cos(angle), 1e-7) << "position " << position << " pair " << i;
      EXPECT_NEAR(table[i + kHalf], std::sin(angle), 1e-7) << "position " << position << " pair " << i;
    }
    const float *in = qkv.data() + row * kWidth;
    for (int64_t head = 0; head < 2; ++head, queries += kDim)
      EXPECT_EQ(std::vector<float>(queries, queries + kDim), rotate(in + head * kDim, norms.data(), table));
    std::vector<float> expected[] = {rotate(in + 2 * kDim, norms.data() + kDim, table),
                                     std::vector<float>(in + 3 * kDim, in + 4 * kDim)};
    for (int64_t plane : {0, 1}) {
      evaluator::roundVector(type, expected[plane].data());
      for (int64_t d = 0; d < kDim; ++d)
        EXPECT_EQ(static_cast<float>(cache.at(plane, position, d)), expected[plane][d])
            << "position " << position << " plane " << plane << " element " << d;
    }
  }
}

std::vector<Case> cases() {
  std::vector<Case> result;
  for (LongCache::Kind kind :
       {LongCache::F32, LongCache::BF16, LongCache::Int8, LongCache::FP8, LongCache::Int4})
    for (int64_t subgroupSize : {32, 64})
      result.push_back({kind, subgroupSize});
  return result;
}
INSTANTIATE_TEST_SUITE_P(of_262144, end_of_cache, testing::ValuesIn(cases()),
                         [](const auto &info) { return nameOf(info.param); });

} // namespace
} // namespace qwench
