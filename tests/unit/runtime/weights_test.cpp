#include "runtime/core/weights.h"
#include "tests/unit/runtime/fake_program.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

namespace qwench {
namespace {

RandomWeights sample(uint64_t seed) {
  RandomWeights random;
  random.seed = seed;
  random.tensors.push_back({"a", 0, 3 << 20, RandomTensor::Type::BF16, RandomTensor::Init::Normal, 0.02f});
  random.tensors.push_back({"b", 3 << 20, 40000, RandomTensor::Type::F32, RandomTensor::Init::Ones, 0});
  random.tensors.push_back(
      {"c", (3 << 20) + 40000, 80000, RandomTensor::Type::F32, RandomTensor::Init::Normal, 2});
  return random;
}

std::vector<uint8_t> filled(uint64_t seed, int threads) {
  auto team = QwenchTeam::create(threads).take();
  std::vector<uint8_t> memory((3 << 20) + 40000 + 80000 + 64);
  fillRandom(sample(seed), memory.data(), *team);
  return memory;
}

struct Moments {
  double mean, deviation;
};

template <typename At> Moments moments(size_t count, At at) {
  double sum = 0, squares = 0;
  for (size_t i = 0; i < count; ++i) {
    sum += at(i);
    squares += at(i) * at(i);
  }
  return {sum / count, std::sqrt(squares / count - sum / count * sum / count)};
}

TEST(RandomWeights, DependOnTheSeedAndNotOnTheThreads) {
  EXPECT_EQ(filled(1, 1), filled(1, 3));
  EXPECT_NE(filled(1, 1), filled(2, 1));
}

TEST(RandomWeights, HaveTheDeviationAskedFor) {
  auto memory = filled(4, 2);
  auto *half = reinterpret_cast<uint16_t *>(memory.data());
  auto *ones = reinterpret_cast<float *>(memory.data() + (3 << 20));
  Moments a = moments((3 << 20) / 2, [&](size_t i) { return std::bit_cast<float>(uint32_t(half[i]) << 16); });
  EXPECT_NEAR(a.mean, 0, 1e-4);
  EXPECT_NEAR(a.deviation, 0.02, 2e-4);
  Moments b = moments(10000, [&](size_t i) { return ones[i]; });
  EXPECT_NEAR(b.mean, 1, 5e-3);
  EXPECT_NEAR(b.deviation, 0.1, 5e-3);
  Moments c = moments(20000, [&](size_t i) { return ones[10000 + i]; });
  EXPECT_NEAR(c.deviation, 2, 5e-2);
  for (size_t i = memory.size() - 64; i < memory.size(); ++i)
    EXPECT_EQ(memory[i], 0) << "written past the last tensor";
}

TEST(RandomWeights, NeighboursAndTensorsAreNotCorrelated) {
  auto memory = filled(4, 2);
  auto *c = reinterpret_cast<float *>(memory.data() + (3 << 20) + 40000);
  double product = 0;
  for (size_t i = 0; i + 1 < 20000; ++i)
    product += c[i] * c[i + 1];
  EXPECT_NEAR(product / 20000 / 4, 0, 0.04);
}

TEST(RandomWeights, LargerThanTheMemoryAreRefused) {
  fake::TemporaryFile file(
      fake::bundleBytes({{QWENCH_SECTION_METADATA, R"({"random_weights": {"seed": 1, "tensors": []}})"}},
                        qwench_program.plan_hash));
  QwenchProgram program = qwench_program;
  program.weight_bytes = int64_t(1) << 45;
  auto model = ModelFile::open(program, file.path());
  ASSERT_TRUE(model) << model.error().message;
  auto weights = Weights::load(program, *model, *QwenchTeam::create(1).take());
  ASSERT_FALSE(weights);
  EXPECT_EQ(weights.error().message.find("random weights: expected 35184372088832 bytes of free memory"), 0u);
}

TEST(Weights, OfAFileAreWholeCopiedAndMapped) {
  fake::TemporaryFile file(fake::modelBytes());
  auto model = ModelFile::open(qwench_program, file.path());
  ASSERT_TRUE(model) << model.error().message;
  auto team = QwenchTeam::create(3).take();
  for (auto [mode, how] : {std::pair(WeightsMode::Copy, "copied"), {WeightsMode::Map, "mapped"}}) {
    auto weights = Weights::load(qwench_program, *model, *team, mode);
    ASSERT_TRUE(weights) << weights.error().message;
    EXPECT_STREQ(weights->how(), how);
    EXPECT_EQ(memcmp(weights->data(), fake::weights().data(), fake::kWeightBytes), 0);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(weights->data()) % 64, 0u);
  }
}

} // namespace
} // namespace qwench
