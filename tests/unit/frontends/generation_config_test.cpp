#include "frontends/huggingface/generation_config.h"
#include "tests/unit/frontends/fixtures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qwench::hf {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::messageOf;
using testing::TemporaryDirectory;

ModelConfig model() {
  testing::Json json = testing::denseConfig();
  json["eos_token_id"] = 7;
  json["bos_token_id"] = 6;
  return testing::parsed(json);
}

Result<GenerationConfig> parse(const char *json) { return parseGenerationConfig(json, "g", model()); }

TEST(GenerationConfig, readsWhatQwenShips) {
  Result<GenerationConfig> generation = parse(R"({
    "bos_token_id": 3, "do_sample": true, "eos_token_id": [5, 3], "pad_token_id": 3, "temperature": 0.6, "top_k": 20,
    "top_p": 0.95, "min_p": 0, "transformers_version": "4.51.0"})");
  ASSERT_TRUE(generation) << messageOf(generation);
  EXPECT_TRUE(generation->doSample);
  EXPECT_EQ(generation->temperature, 0.6);
  EXPECT_EQ(generation->topK, 20);
  EXPECT_EQ(generation->topP, 0.95);
  EXPECT_EQ(generation->minP, 0.0);
  EXPECT_THAT(generation->eosIds, ElementsAre(5, 3));
  EXPECT_EQ(generation->padId, 3);
  EXPECT_EQ(generation->bosId, 3);
  EXPECT_THAT(generation->warnings, IsEmpty());
}

TEST(GenerationConfig, fallsBackToTheModelsIds) {
  TemporaryDirectory directory;
  Result<GenerationConfig> absent = readGenerationConfig(directory.path(), model());
  ASSERT_TRUE(absent);
  EXPECT_FALSE(absent->doSample);
  EXPECT_THAT(absent->eosIds, ElementsAre(7));
  EXPECT_EQ(absent->bosId, 6);
  directory.write("generation_config.json", R"({"do_sample": true, "eos_token_id": null})");
  Result<GenerationConfig> present = readGenerationConfig(directory.path(), model());
  ASSERT_TRUE(present);
  EXPECT_TRUE(present->doSample);
  EXPECT_EQ(present->topK, 50);
  EXPECT_THAT(present->eosIds, ElementsAre(7));
}

TEST(GenerationConfig, warnsOfSettingsItDoesNotHave) {
  Result<GenerationConfig> generation =
      parse(R"({"repetition_penalty": 1.05, "num_beams": 1, "eos_token_id": 40})");
  ASSERT_TRUE(generation);
  EXPECT_THAT(generation->warnings,
              ElementsAre("g: eos_token_id 40 is outside the vocabulary of 40 and ignored",
                          "g: repetition_penalty 1.05 is not supported and ignored"));
  EXPECT_THAT(generation->eosIds, ElementsAre(7));
}

TEST(GenerationConfig, greedyMayCarryTemperatureZero) {
  EXPECT_EQ(messageOf(parse(R"({"do_sample": false, "temperature": 0})")), "no error");
  EXPECT_EQ(messageOf(parse(R"({"do_sample": true, "temperature": 0})")),
            "g: expected temperature to be a number above 0.0 and at most 1000.0, found 0");
}

TEST(GenerationConfig, valuesOutOfRangeAreErrors) {
  EXPECT_EQ(messageOf(parse(R"({"top_p": 1.5})")),
            "g: expected top_p to be a number above 0.0 and at most 1.0, found 1.5");
  EXPECT_EQ(messageOf(parse(R"({"top_k": -1})")),
            "g: expected top_k to be an integer from 0 to 2147483647, found -1");
  EXPECT_EQ(messageOf(parse(R"({"min_p": -0.5})")),
            "g: expected min_p to be a number above 0.0 and at most 1.0, found -0.5");
  EXPECT_EQ(messageOf(parse(R"({"do_sample": "yes"})")),
            "g: expected do_sample to be true or false, found \"yes\"");
  EXPECT_EQ(messageOf(parse("{")), "g: malformed JSON: unexpected end at line 1, column 2");
}

} // namespace
} // namespace qwench::hf
