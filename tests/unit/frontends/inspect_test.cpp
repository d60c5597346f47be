#include "frontends/huggingface/checkpoint.h"
#include "frontends/huggingface/inspect.h"
#include "tests/unit/frontends/fixtures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qwench::hf {
namespace {

using ::testing::HasSubstr;
using testing::Json;
using testing::messageOf;
using testing::TemporaryDirectory;

TemporaryDirectory writeModel(const Json &json) {
  TemporaryDirectory directory;
  directory.write("config.json", json.dump());
  std::vector<testing::FileTensor> tensors;
  for (const ExpectedTensor &tensor : expectedTensors(testing::parsed(json))) {
    size_t bytes = 2;
    for (int64_t size : tensor.shape)
      bytes *= static_cast<size_t>(size);
    tensors.push_back({tensor.name, "BF16", tensor.shape, bytes});
  }
  directory.write("model.safetensors", testing::safetensorsFile(tensors));
  return directory;
}

TEST(Inspect, saysHowACheckpointIsQuantized) {
  TemporaryDirectory directory;
  Json config = testing::denseConfig();
  auto text = [&](const char *quantization) {
    config["quantization_config"] = Json::parse(quantization);
    directory.write("config.json", config.dump());
    Result<Description> description = describeModel(directory.path("config.json"));
    return description ? description->text : messageOf(description);
  };
  EXPECT_THAT(text(R"({"quant_method": "fp8", "weight_block_size": [128, 128]})"),
              HasSubstr("quantization:       fp8, 8 bits, blocks of 128 x 128\n"));
  EXPECT_THAT(text(R"({"quant_method": "gptq", "bits": 4, "group_size": -1, "sym": false, "desc_act": true})"),
              HasSubstr("quantization:       gptq, 4 bits, whole rows, zero points, act-order\n"));
  EXPECT_THAT(text(R"({"quant_method": "awq", "group_size": 64})"),
              HasSubstr("quantization:       awq, 4 bits, groups of 64, zero points\n"));
}

TEST(Inspect, describesAModelInBothForms) {
  Json config = testing::moeConfig();
  config["use_sliding_window"] = true;
  config["sliding_window"] = 9;
  config["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32}};
  TemporaryDirectory directory = writeModel(config);
  directory.write("tokenizer.json", "{}");
  Result<Description> description = describeModel(directory.path());
  ASSERT_TRUE(description) << messageOf(description);
  EXPECT_THAT(description->text, HasSubstr("architecture:       Qwen3MoeForCausalLM\n"));
  EXPECT_THAT(description->text, HasSubstr("layers:             2, 1 with experts\n"));
  EXPECT_THAT(description->text,
              HasSubstr("experts:            4, 2 per token, 8 wide, weights renormalised\n"));
  EXPECT_THAT(description->text, HasSubstr("sliding window:     9 tokens in 2 layers\n"));
  EXPECT_THAT(
      description->text,
      HasSubstr("rope:               yarn, theta 10000, factor 4 over 32, attention scaling 1.138629436\n"));
  EXPECT_THAT(description->text, HasSubstr("cache in bf16:      0.5 KiB per token\n"));
  Json json = Json::parse(description->json);
  EXPECT_EQ(json["architecture"], "Qwen3MoeForCausalLM");
  EXPECT_EQ(json["cache_bytes_per_token_bf16"], 2 * 2 * 2 * 2 * 32);
  EXPECT_EQ(json["sliding_window"], (Json{{"window", 9}, {"layers", 2}}));
  EXPECT_EQ(json["tensors"]["BF16"]["bytes"], 2 * json["parameters"].get<int64_t>());
  EXPECT_EQ(json["parameters"].get<int64_t>() - json["active_parameters"].get<int64_t>(), 2 * 3 * 16 * 8);
  EXPECT_EQ(json["files"].size(), 1u);
  EXPECT_TRUE(json["warnings"].empty()) << json["warnings"];
}

TEST(Inspect, describesABareConfiguration) {
  TemporaryDirectory directory;
  directory.write("shape.json", testing::denseConfig().dump());
  Result<Description> description = describeModel(directory.path("shape.json"));
  ASSERT_TRUE(description) << messageOf(description);
  EXPECT_EQ(Json::parse(description->json)["architecture"], "Qwen3ForCausalLM");
}

TEST(Inspect, warnsOfMissingPartsAndFailsOnWrongOnes) {
  TemporaryDirectory directory;
  directory.write("config.json", testing::denseConfig().dump());
  Result<Description> description = describeModel(directory.path());
  ASSERT_TRUE(description) << messageOf(description);
  EXPECT_THAT(description->text, HasSubstr(": no tokenizer.json\n"));
  EXPECT_THAT(description->text,
              HasSubstr(": no weights (model.safetensors or model.safetensors.index.json)\n"));
  directory.write("model.safetensors", "short");
  EXPECT_EQ(messageOf(describeModel(directory.path())),
            directory.path("model.safetensors") +
                ": expected at least 8 bytes of a safetensors file, found 5");
}

} // namespace
} // namespace qwench::hf
