#include "runtime/core/sampler.h"

#include "runtime/abi/token_weight.h"
#include "runtime/core/random.h"

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
    ++counts[drawToken(logits.data(), logits.size(), GetParam(), random.uniform(), scratch)];
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
    EXPECT_THAT(drawToken(logits.data(), 5, {5, 0, 1, 0, 0}, random.uniform(), scratch),
                testing::AnyOf(1, 3));
  std::vector<float> none(20, kNaN);
  EXPECT_EQ(likeliestToken(none.data(), 20), -1);
  EXPECT_EQ(drawToken(none.data(), 20, {1, 3, 0.5, 0, 0}, random.uniform(), scratch), -1);
}

TEST(Sampler, InfiniteAndTinyTemperaturesWork) {
  std::vector<float> logits = {0, kInfinity, 3};
  Random random(1);
  std::vector<Candidate> scratch;
  EXPECT_EQ(drawToken(logits.data(), 3, {1, 0, 1, 0, 0}, random.uniform(), scratch), 1);
  logits[1] = -500;
  EXPECT_EQ(drawToken(logits.data(), 3, {1e-30f, 0, 1, 0, 0}, random.uniform(), scratch), 2);
}

TEST(Sampler, WeightsFollowEachOtherByTokenId) {
  std::vector<Candidate> scratch;
  const std::vector<float> logits = {0, std::log(2.0f), kNaN, std::log(5.0f), 0};
  auto draw = [&](const QwenchSampling &s, double uniform) {
    return drawToken(logits.data(), 5, s, uniform, scratch);
  };
  const QwenchSampling all = {1, 0, 1, 0, 0}, two = {1, 2, 1, 0, 0}, three = {1, 3, 1, 0, 0},
                       share = {1, 0, 0.7f, 0, 0};
  for (auto [ninths, token] :
       {std::pair(0.0, 0), {0.9, 0}, {1.1, 1}, {2.9, 1}, {3.1, 3}, {7.9, 3}, {8.1, 4}, {8.99, 4}})
    EXPECT_EQ(draw(all, ninths / 9), token) << ninths;
  for (auto [sevenths, token] : {std::pair(0.0, 1), {1.9, 1}, {2.1, 3}, {6.9, 3}}) {
    EXPECT_EQ(draw(two, sevenths / 7), token) << sevenths;
    EXPECT_EQ(draw(share, sevenths / 7), token) << sevenths; // 5/9 are too few
  }
  for (auto [eighths, token] : {std::pair(0.9, 0), {1.1, 1}, {3.1, 3}, {7.9, 3}}) // of equals the lower id
    EXPECT_EQ(draw(three, eighths / 8), token) << eighths;
}

TEST(TokenWeight, IsThePowerThatItStandsFor) {
  int64_t last = 0;
  for (float difference = -28; difference <= 0; difference += 0x1p-12f) {
    const int64_t weight = tokenWeight(difference, 0, tokenScale(1));
    const double exact = std::exp(static_cast<double>(difference)) * kTopWeight;
    EXPECT_NEAR(static_cast<double>(weight), exact, 2e-6 * exact + 1) << difference;
    EXPECT_GE(weight, last) << difference;
    last = weight;
  }
  for (float temperature : {1e-45f, 1e-3f, 0.6f, 1.0f, 3e38f}) {
    EXPECT_EQ(tokenWeight(5, 5, tokenScale(temperature)), kTopWeight) << temperature;
    EXPECT_GE(tokenWeight(-3e38f, 3e38f, tokenScale(temperature)), 0) << temperature;
  }
  EXPECT_EQ(tokenWeight(-44, 0, tokenScale(1)), 0);
}

TEST(TokenWeight, SharesAndPlacesLieWithinTheTotal) {
  for (int64_t total : {int64_t(1), int64_t(3), kTopWeight, (int64_t(1) << 62) + 12345}) {
    EXPECT_EQ(shareOf(0, total), 0);
    EXPECT_EQ(placeOf(0, total), 0);
    EXPECT_LE(placeOf(1 - 0x1p-53, total), total - 1);
    EXPECT_LE(shareOf(1 - 0x1p-24, total), total);
  }
  EXPECT_EQ(shareOf(0.5, 3), 2);
  EXPECT_EQ(shareOf(0.5, 4), 2);
  EXPECT_EQ(placeOf(0.5, 3), 1);
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
