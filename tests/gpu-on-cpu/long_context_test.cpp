// Attention at the end of the longest contexts: the kernels, run on the CPU thread by thread, over a cache of
// 262144 positions of random keys and values, against plain arithmetic. With a window, what lies before it is
// no number.
#include "tests/differential/planned_module.h"
#include "tests/gpu-on-cpu/long_cache.h"

#include <gtest/gtest.h>

namespace qwench {
namespace {

using gpu::MatrixUnit;
using gpu_test::LongCache;

constexpr int64_t kDim = LongCache::kDim, kHeads = 2, kWindow = 200;
constexpr int64_t kOutAt = 1 << 14, kValuesAt = 1 << 15, kStatsAt = 1 << 18, kArenaBytes = 1 << 19;

struct Case {
  LongCache::Kind cache;
  int64_t subgroupSize;
  bool decode, window;
  MatrixUnit unit = MatrixUnit::None;

  /// Matrix units take rows of bf16 in whole tiles, and one of them is not full.
  bool bf16() const { return unit != MatrixUnit::None; }
  int64_t rows() const { return bf16() && window ? 37 : 2; }
  int64_t first(int64_t position) const { return window ? std::max<int64_t>(0, position - kWindow + 1) : 0; }
  std::string name() const {
    return std::string(decode ? "decode_" : "chunk_") + LongCache::kFormats[cache].name +
           (bf16() ? gpu_test::suffixOf(unit) : "_" + std::to_string(subgroupSize)) +
           (window ? "_window" : "");
  }
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.name(); }

/// @prefill attends over all keys at once, @decode over runs of them that are made whole.
std::string programText(const Case &c, const std::string &cache) {
  const std::string rows = std::string("memref<?x2x32x") + (c.bf16() ? "bf16" : "f32") +
                           ", strided<[64, 32, 1]>>",
                    values = "memref<?x128x2x32xf32, strided<[8192, 64, 32, 1]>>",
                    stats = "memref<?x128x2x2xf32, strided<[512, 4, 2, 1]>>";
  const std::string head = "(%batch: !qwen.batch, %cache: " + cache + ") {\n%t = qwen.batch_size %batch\n" +
                           "%layer = arith.constant 0 : index\n%q = qwen.buffer[%t] at 0 : " + rows +
                           "\n%o = qwen.buffer[%t] at " + std::to_string(kOutAt) + " : " + rows + "\n";
  const std::string attention = "qwen.attention(%q, %batch) over %cache[%layer] outs(",
                    scale = "{scale = 1.0 : f32, " +
                            (c.window ? "window = " + std::to_string(kWindow) + " : i64, " : std::string());
  const std::string inputs = "(" + rows + ", " + cache + ", index, !qwen.batch, ";
  return test::plannedModule() + " {\nfunc.func @prefill" + head + attention + "%o) " + scale +
         "tile = array<i64: 32>} : " + inputs + rows + ") -> ()\nreturn\n}\nfunc.func @decode" + head +
         "%v = qwen.buffer[%t] at " + std::to_string(kValuesAt) + " : " + values +
         "\n%s = qwen.buffer[%t] at " + std::to_string(kStatsAt) + " : " + stats + "\n" + attention +
         "%v, %s) " + scale + "split_keys = 64 : i64, splits = 128 : i64, tile = array<i64: 1>} : " + inputs +
         values + ", " + stats +
         ") -> ()\nqwen.attention_combine(%v, %s) outs(%o) {tile = array<i64: 1, 4>} : (" + values + ", " +
         stats + ", " + rows + ") -> ()\nreturn\n}\n}\n";
}

/// Rows of query vectors, or of results, in the arena.
class Rows {
public:
  Rows(uint8_t *memory, bool bf16) : memory(memory), bf16(bf16) {}
  float at(int64_t i) const {
    return bf16 ? quantization::fromBF16(reinterpret_cast<const uint16_t *>(memory)[i])
                : reinterpret_cast<const float *>(memory)[i];
  }
  void put(int64_t i, float value) const {
    if (bf16)
      reinterpret_cast<uint16_t *>(memory)[i] = quantization::toBF16(value);
    else
      reinterpret_cast<float *>(memory)[i] = value;
  }

private:
  uint8_t *memory;
  bool bf16;
};

std::vector<double> attend(const LongCache &cache, const Rows &queries, int64_t query, int64_t first,
                           int64_t last) {
  std::vector<double> scores(last + 1 - first), result(kDim);
  double largest = -INFINITY, sum = 0;
  for (int64_t position = first; position <= last; ++position) {
    double &score = scores[position - first];
    for (int64_t d = 0; d < kDim; ++d)
      score += queries.at(query + d) * cache.at(0, position, d);
    largest = std::max(largest, score);
  }
  for (int64_t position = first; position <= last; ++position) {
    const double weight = std::exp(scores[position - first] - largest);
    sum += weight;
    for (int64_t d = 0; d < kDim; ++d)
      result[d] += weight * cache.at(1, position, d);
  }
  for (double &value : result)
    value /= sum;
  return result;
}

class long_context : public testing::TestWithParam<Case> {};

TEST_P(long_context, is_attended_to_from_its_end) {
  const Case &c = GetParam();
  LongCache cache(c.cache);
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  auto kernels =
      gpu_test::emitText(context, programText(c, cache.type()), gpu_test::deviceOf(c.unit, c.subgroupSize));
  ASSERT_TRUE(kernels) << kernels.error().message;

  const int64_t capacity = LongCache::kCapacity;
  cache.fillFrom(c.window ? (capacity - c.rows() - kWindow) / 64 * 64 : 0); // blocks of keys are read whole
  gpu_test::LongStep step(cache, c.rows(), kArenaBytes);
  const Rows queries(step.arena.data(), c.bf16()), results(step.arena.data() + kOutAt, c.bf16());
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < c.rows() * kHeads * kDim; ++i)
    queries.put(i, 0.5f * normal(random));
  std::vector<gpu_test::Range> memory = step.memory();
  memory.push_back(cache.all());
  Status ran =
      (*kernels)->run(c.decode ? gpu_test::Entry::Decode : gpu_test::Entry::Prefill, step.step, memory);
  ASSERT_TRUE(ran) << ran.error().message;
  for (int64_t vector = 0; vector < c.rows() * kHeads; ++vector) {
    const int64_t last = step.positions[vector / kHeads];
    std::vector<double> expected = attend(cache, queries, vector * kDim, c.first(last), last);
    for (int64_t d = 0; d < kDim; ++d)
      EXPECT_NEAR(results.at(vector * kDim + d), expected[d], c.bf16() ? 5e-2 : 1e-4) // results are up to 4
          << "row " << vector / kHeads << " head " << vector % kHeads << " element " << d;
  }
}

std::vector<Case> cases() {
  std::vector<Case> result = {{LongCache::F32, 32, true, false},  {LongCache::F32, 64, false, false},
                              {LongCache::BF16, 64, true, false}, {LongCache::Int8, 64, true, false},
                              {LongCache::FP8, 32, true, false},  {LongCache::Int4, 32, true, false},
                              {LongCache::F32, 64, false, true}};
  for (MatrixUnit unit : {MatrixUnit::MmaSync, MatrixUnit::Wgmma})
    result.push_back({LongCache::BF16, 32, false, false, unit});
  for (LongCache::Kind kind :
       {LongCache::F32, LongCache::BF16, LongCache::Int8, LongCache::FP8, LongCache::Int4}) {
    result.push_back({kind, 32, true, true});
    if (kind != LongCache::F32)
      for (MatrixUnit unit : {MatrixUnit::MmaSync, MatrixUnit::Wgmma, MatrixUnit::Mfma, MatrixUnit::Wmma11})
        result.push_back({kind, unit == MatrixUnit::Mfma ? 64 : 32, false, true, unit});
  }
  return result;
}
INSTANTIATE_TEST_SUITE_P(of_262144, long_context, testing::ValuesIn(cases()),
                         [](const auto &info) { return info.param.name(); });

} // namespace
} // namespace qwench
