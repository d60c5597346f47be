#include "runtime/core/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace qwench {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<float> someLogits(int64_t count) {
  Random random(5);
  std::vector<float> logits(count);
  for (float &logit : logits)
    logit = static_cast<float>(random.uniform() * 6 - 3);
  return logits;
}

/// Expected probabilities by sorting: the definition, step by step.
std::vector<double> expected(const std::vector<float> &logits, const QwenchSampling &s) {
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  if (s.top_k > 0)
    order.resize(std::min<size_t>(order.size(), s.top_k));
  std::vector<double> weight;
  double total = 0;
  for (size_t id : order)
    total += weight.emplace_back(std::exp(double(logits[id]) / s.temperature));
  size_t kept = 0;
  for (double sum = 0; kept < order.size() && (kept == 0 || sum < s.top_p * total);)
    sum += weight[kept++];
  while (kept > 1 && weight[kept - 1] < s.min_p * weight[0])
    --kept;
  total = std::accumulate(weight.begin(), weight.begin() + kept, 0.0);
  std::vector<double> probabilities(logits.size());
  for (size_t i = 0; i < kept; ++i)
    probabilities[order[i]] = weight[i] / total;
  return probabilities;
}

class SamplerTest : public testing::TestWithParam<QwenchSampling> {};

TEST_P(SamplerTest, DrawsFollowTheDistribution) {
  const auto logits = someLogits(40);
  const auto probabilities = expected(logits, GetParam());
  Random random(9);
  std::vector<Candidate> scratch;
  const int draws = 40000;
  std::vector<int> counts(logits.size());
  for (int i = 0; i < draws; ++i)
    ++counts[drawToken(logits.data(), logits.size(), GetParam(), random, scratch)];
  for (size_t id = 0; id < logits.size(); ++id) {
    const double p = probabilities[id], deviation = std::sqrt(draws * p * (1 - p));
    EXPECT_NEAR(counts[id], draws * p, 5 * deviation) << id; // exact where p is 0 or 1
  }
}

INSTANTIATE_TEST_SUITE_P(Settings, SamplerTest,
                         testing::Values(QwenchSampling{1, 0, 1, 0, 0}, QwenchSampling{0.5, 0, 1, 0, 0},
                                         QwenchSampling{1, 5, 1, 0, 0}, QwenchSampling{1, 100, 1, 0, 0},
                                         QwenchSampling{1, 0, 0.7f, 0, 0}, QwenchSampling{1, 0, 1, 0.2f, 0},
                                         QwenchSampling{0.6f, 20, 0.95f, 0, 0},
                                         QwenchSampling{2, 10, 0.8f, 0.3f, 0}, QwenchSampling{1, 1, 1, 0, 0},
                                         QwenchSampling{1, 0, 0, 0, 0}));

TEST(Sampler, GreedyTakesTheLowestIdAmongEquals) {
  for (size_t count : {1, 5, 16, 17, 33, 100}) {
    std::vector<float> logits(count, -1);
    EXPECT_EQ(likeliestToken(logits.data(), count), 0);
    logits[count / 2] = logits[count - 1] = 2;
    EXPECT_EQ(likeliestToken(logits.data(), count), static_cast<int>(count / 2));
  }
}

TEST(Sampler, NaNIsNeverDrawn) {
  std::vector<float> logits = {kNaN, 1, kNaN, 0.5, -kInfinity};
  EXPECT_EQ(likeliestToken(logits.data(), 5), 1);
  Random random(1);
  std::vector<Candidate> scratch;
  for (int i = 0; i < 200; ++i)
    EXPECT_THAT(drawToken(logits.data(), 5, {5, 0, 1, 0, 0}, random, scratch), testing::AnyOf(1, 3));
  std::vector<float> none(20, kNaN);
  EXPECT_EQ(likeliestToken(none.data(), 20), -1);
  EXPECT_EQ(drawToken(none.data(), 20, {1, 3, 0.5, 0, 0}, random, scratch), -1);
}

TEST(Sampler, InfiniteAndTinyTemperaturesWork) {
  std::vector<float> logits = {0, kInfinity, 3};
  Random random(1);
  std::vector<Candidate> scratch;
  EXPECT_EQ(drawToken(logits.data(), 3, {1, 0, 1, 0, 0}, random, scratch), 1);
  logits[1] = -500;
  EXPECT_EQ(drawToken(logits.data(), 3, {1e-30f, 0, 1, 0, 0}, random, scratch), 2);
}

TEST(Sampler, ParametersOutsideTheirRangeAreNamed) {
  EXPECT_EQ(checkSampling({1, 0, 1, 0, 0}), nullptr);
  EXPECT_STREQ(checkSampling({-1, 0, 1, 0, 0}), "expected a temperature of at least 0");
  EXPECT_NE(checkSampling({kNaN, 0, 1, 0, 0}), nullptr);
  EXPECT_NE(checkSampling({kInfinity, 0, 1, 0, 0}), nullptr);
  EXPECT_NE(checkSampling({1, -1, 1, 0, 0}), nullptr);
  EXPECT_NE(checkSampling({1, 0, 1.5f, 0, 0}), nullptr);
  EXPECT_NE(checkSampling({1, 0, 1, -0.1f, 0}), nullptr);
}

TEST(Sampler, LogSumExpIsStable) {
  std::vector<float> logits = {1000, 1000};
  EXPECT_NEAR(logSumExp(logits.data(), 2), 1000 + std::log(2), 1e-9);
  logits = {-1000, 0};
  EXPECT_NEAR(logSumExp(logits.data(), 2), 0, 1e-12);
}

TEST(Random, IsReproducibleAndUniform) {
  Random random(0), same(0), other(1);
  EXPECT_EQ(random.next(), same.next());
  EXPECT_NE(random.next(), other.next());
  double sum = 0;
  for (int i = 0; i < 10000; ++i) {
    double u = random.uniform();
    ASSERT_TRUE(u >= 0 && u < 1);
    sum += u;
  }
  EXPECT_NEAR(sum / 10000, 0.5, 0.02);
}

} // namespace
} // namespace qwench
