#include "frontends/huggingface/rope.h"
#include "tests/unit/frontends/fixtures.h"
#include "tests/unit/frontends/rope_values.h"

#include <gtest/gtest.h>

inline void PrintTo(const RopeCase &rope, std::ostream *out) { *out << rope.name; }

namespace qwench::hf {
namespace {

using testing::Json;

// pow() of libm and of torch's vector library differ in the last place.
constexpr double kRelative = 5e-7;

class RopeNumbers : public ::testing::TestWithParam<RopeCase> {};

TEST_P(RopeNumbers, equalTransformers) {
  const RopeCase &expected = GetParam();
  ModelConfig config = testing::parsed(Json::parse(expected.config));
  EXPECT_NEAR(attentionScaling(config.rope), expected.scaling, 1e-12);
  std::vector<float> found = inverseFrequencies(config.rope, config.headDim, expected.length);
  ASSERT_EQ(found.size(), expected.frequencies.size());
  for (size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(found[i], expected.frequencies[i], kRelative * expected.frequencies[i]) << "at " << i;
}

INSTANTIATE_TEST_SUITE_P(All, RopeNumbers, ::testing::ValuesIn(kRopeCases),
                         [](const auto &info) { return std::string(info.param.name); });

bool depends(RopeType type) {
  RopeConfig rope;
  rope.type = type;
  return dependsOnLength(rope);
}

TEST(Rope, onlyDynamicAndLongRopeDependOnLength) {
  for (RopeType type : {RopeType::Default, RopeType::Linear, RopeType::Yarn, RopeType::Llama3})
    EXPECT_FALSE(depends(type)) << name(type);
  EXPECT_TRUE(depends(RopeType::Dynamic));
  EXPECT_TRUE(depends(RopeType::LongRope));
}

// 5.x: longrope's original length stands in rope_parameters, and gives the factor where there is none.
TEST(Rope, parametersOfVersion5) {
  Json config = testing::denseConfig();
  std::vector<double> factors(16, 1.0);
  config["max_position_embeddings"] = 4096;
  config["rope_parameters"] = {{"rope_type", "longrope"},
                               {"rope_theta", 5e6},
                               {"short_factor", factors},
                               {"long_factor", factors},
                               {"original_max_position_embeddings", 1024}};
  RopeConfig rope = testing::parsed(config).rope;
  EXPECT_EQ(rope.originalMaxPosition, 1024);
  EXPECT_EQ(rope.factor, 4.0);
  EXPECT_EQ(rope.theta, 5e6);
  config["original_max_position_embeddings"] = 2048;
  EXPECT_EQ(testing::parsed(config).rope.originalMaxPosition, 2048);
}

TEST(Rope, parametersPerLayerTypeMustAgree) {
  Json config = testing::denseConfig();
  Json one = {{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 1e5}};
  config["rope_parameters"] = {{"full_attention", one}, {"sliding_attention", one}};
  EXPECT_EQ(testing::parsed(config).rope.type, RopeType::Linear);
  config["rope_parameters"]["sliding_attention"]["factor"] = 3.0;
  EXPECT_EQ(
      testing::messageOf(parseConfig(config.dump(), "c")),
      "c: expected the same rope_parameters for every layer type, found others for \"sliding_attention\"");
}

} // namespace
} // namespace qwench::hf
