// Attention at the end of the longest contexts: the kernels, run on the CPU thread by thread, over a cache of
// 262144 positions of random keys and values, against plain arithmetic; in a slot so far behind the first
// that no 32-bit number tells its place.
#include "dialects/Qwen.h"
#include "dialects/quantization/codes.h"
#include "tests/differential/all_dialects.h"
#include "tests/differential/planned_module.h"
#include "tests/gpu-on-cpu/program.h"

#include "mlir/Parser/Parser.h"
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

namespace qwench {
namespace {

constexpr int64_t kCapacity = 262144, kDim = 32, kHeads = 2, kRows = 2, kSlot = 700;
constexpr int64_t kValuesAt = 1024, kStatsAt = 1 << 20, kOutAt = 512;

struct Case {
  const char *name, *element;
  int64_t subgroupSize;
  bool decode;
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

/// @prefill attends over all keys at once, @decode over runs of them that are made whole.
std::string programText(const std::string &element) {
  const std::string cache = "!qwen.cache<layers = 1, heads = 1, dim = 32, " + element + ">";
  const std::string rows = "memref<?x2x32xf32, strided<[64, 32, 1]>>",
                    values = "memref<?x128x2x32xf32, strided<[8192, 64, 32, 1]>>",
                    stats = "memref<?x128x2x2xf32, strided<[512, 4, 2, 1]>>";
  const std::string head = "(%batch: !qwen.batch, %cache: " + cache + ") {\n%t = qwen.batch_size %batch\n" +
                           "%layer = arith.constant 0 : index\n%q = qwen.buffer[%t] at 0 : " + rows +
                           "\n%o = qwen.buffer[%t] at " + std::to_string(kOutAt) + " : " + rows + "\n";
  const std::string attention = "qwen.attention(%q, %batch) over %cache[%layer] outs(",
                    scale = "{scale = 1.0 : f32, ";
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

/// Keys, then values, of the one head of a slot: codes of all positions, then their scales, then their zero
/// points; or floats.
class Cache {
public:
  explicit Cache(const std::string &element)
      : kind(element.find("i8") != std::string::npos   ? Int8
             : element.find("i4") != std::string::npos ? Int4
             : element.find("f8") != std::string::npos ? FP8
                                                       : F32),
        words(2 * plane() / 4) {
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    for (uint8_t *start : {base(), base() + plane()})
      for (int64_t position = 0; position < kCapacity; ++position)
        fill(start, position, random, normal);
  }
  uint8_t *base() { return reinterpret_cast<uint8_t *>(words.data()); }
  int64_t plane() const {
    return kCapacity * (kind == F32 ? 4 * kDim : kind == Int4 ? kDim / 2 + 3 : kDim + 4);
  }
  int64_t size() const { return 2 * plane(); }

  double at(int64_t which, int64_t position, int64_t d) {
    const uint8_t *start = base() + which * plane(), *scales = start + kCapacity * kDim;
    if (kind == F32)
      return reinterpret_cast<const float *>(start)[position * kDim + d];
    if (kind == Int4) { // byte i of 8 codes has codes i and 4 + i
      const int byte = start[position * kDim / 2 + d / 8 * 4 + d % 4],
                code = d % 8 < 4 ? byte & 15 : byte >> 4;
      scales = start + kCapacity * kDim / 2;
      return (code - scales[2 * kCapacity + position]) * std::ldexp(1, -4 - static_cast<int>(position % 3));
    }
    const int code = start[position * kDim + d];
    const double value = kind == Int8 ? code - 128 : quantization::fromE4M3(static_cast<uint8_t>(code));
    return value * reinterpret_cast<const float *>(scales)[position];
  }

private:
  void fill(uint8_t *start, int64_t position, std::mt19937 &random, std::normal_distribution<float> &normal) {
    for (int64_t d = 0; d < kDim; ++d)
      if (kind == F32)
        reinterpret_cast<float *>(start)[position * kDim + d] = normal(random);
      else if (kind != Int4 || d % 2)
        start[kind == Int4 ? position * kDim / 2 + d / 2 : position * kDim + d] =
            static_cast<uint8_t>(random() & (kind == FP8 ? 0xbf : 0xff)); // no NaN
    if (kind == Int4) {
      reinterpret_cast<uint16_t *>(start + kCapacity * kDim / 2)[position] =
          static_cast<uint16_t>((11 - position % 3) << 10); // 2^-4 ...
      start[kCapacity * (kDim / 2 + 2) + position] = static_cast<uint8_t>(random() % 16);
    } else if (kind != F32) {
      reinterpret_cast<float *>(start + kCapacity * kDim)[position] =
          0.01f * static_cast<float>(1 + position % 3);
    }
  }

  enum { F32, Int8, FP8, Int4 } kind;
  std::vector<float> words;
};

std::vector<double> attend(Cache &cache, const float *query, int64_t last) {
  std::vector<double> scores(last + 1), result(kDim);
  double largest = -INFINITY, sum = 0;
  for (int64_t position = 0; position <= last; ++position) {
    for (int64_t d = 0; d < kDim; ++d)
      scores[position] += query[d] * cache.at(0, position, d);
    largest = std::max(largest, scores[position]);
  }
  for (int64_t position = 0; position <= last; ++position) {
    const double weight = std::exp(scores[position] - largest);
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
  mlir::MLIRContext context(test::allDialects(), mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<qwen::QwenDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(programText(c.element), &context);
  ASSERT_TRUE(module);
  auto kernels = gpu_test::emitKernels(*module, gpu_test::deviceOf(gpu::MatrixUnit::None, c.subgroupSize),
                                       gpu::Schedule::Graph);
  ASSERT_TRUE(kernels) << kernels.error().message;

  Cache cache(c.element);
  std::vector<float> arena((kStatsAt + kRows * 512 * 4) / 4);
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < kRows * kHeads * kDim; ++i)
    arena[i] = 0.25f * normal(random);
  std::vector<int32_t> zeros(kRows), positions = {kCapacity - 2, kCapacity - 1}, slots(kRows, kSlot);
  QwenchStep step = {};
  step.tokens = step.output_rows = zeros.data(), step.positions = step.context_lengths = positions.data(),
  step.slots = slots.data();
  step.rows = kRows, step.cache_capacity = kCapacity;
  step.arena = reinterpret_cast<uint8_t *>(arena.data());
  step.cache = reinterpret_cast<uint8_t *>(reinterpret_cast<uintptr_t>(cache.base()) -
                                           kSlot * cache.size()); // only the slot is there
  using gpu_test::rangeOf;
  Status ran = (*kernels)->run(c.decode ? gpu_test::Entry::Decode : gpu_test::Entry::Prefill, step,
                               {rangeOf(arena, true),
                                {cache.base(), static_cast<uint64_t>(cache.size()), false},
                                rangeOf(positions),
                                rangeOf(slots),
                                rangeOf(zeros)});
  ASSERT_TRUE(ran) << ran.error().message;
  for (int64_t row = 0; row < kRows; ++row)
    for (int64_t head = 0; head < kHeads; ++head) {
      const int64_t at = (row * kHeads + head) * kDim;
      std::vector<double> expected = attend(cache, arena.data() + at, positions[row]);
      for (int64_t d = 0; d < kDim; ++d)
        EXPECT_NEAR(arena[kOutAt / 4 + at + d], expected[d], 1e-4)
            << "row " << row << " head " << head << " element " << d;
    }
}

INSTANTIATE_TEST_SUITE_P(
    of_262144, long_context,
    testing::Values(Case{"decode_f32_32", "f32", 32, true}, Case{"prefill_f32_64", "f32", 64, false},
                    Case{"decode_int8_64", "!qwen.quant<i8, group = 0, scale = f32>", 64, true},
                    Case{"decode_fp8_32", "!qwen.quant<f8E4M3FN, group = 0, scale = f32>", 32, true},
                    Case{"decode_int4_32", "!qwen.quant<i4, group = 32, scale = f16, zero_points = true>", 32,
                         true}),
    [](const auto &info) { return std::string(info.param.name); });

} // namespace
} // namespace qwench
