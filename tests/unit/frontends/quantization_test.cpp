// quantization_config as tools write it, and what is wrong with it otherwise.
#include "tests/unit/frontends/fixtures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qwench::hf {
namespace {

using testing::denseConfig;
using testing::Json;
using testing::messageOf;
using testing::parsed;

Json quantized(const char *quantization) {
  Json config = denseConfig();
  config["quantization_config"] = Json::parse(quantization);
  return config;
}

TEST(Quantization, isAbsentFromPlainModels) {
  EXPECT_FALSE(parsed(denseConfig()).quantization);
  Json null = denseConfig();
  null["quantization_config"] = nullptr;
  EXPECT_FALSE(parsed(null).quantization);
}

TEST(Quantization, fp8AsQwenReleasesIt) {
  ModelConfig config =
      parsed(quantized(R"({"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
      "modules_to_not_convert": ["lm_head", "model.layers.0.input_layernorm", "model.layers.1.mlp.gate"],
      "weight_block_size": [128, 128]})"));
  ASSERT_TRUE(config.quantization);
  const QuantizationConfig &quantization = *config.quantization;
  EXPECT_TRUE(config.warnings.empty()) << config.warnings.front();
  EXPECT_EQ(quantization.method, QuantMethod::Fp8);
  EXPECT_EQ(quantization.bits, 8);
  EXPECT_EQ(quantization.group, 128);
  EXPECT_EQ(quantization.blockRows, 128);
  EXPECT_TRUE(quantization.converts("model.layers.1.mlp.gate_proj.weight"));
  EXPECT_TRUE(quantization.converts("model.layers.1.mlp.experts.3.up_proj.weight"));
  EXPECT_FALSE(quantization.converts("model.layers.1.mlp.gate.weight"));
  EXPECT_FALSE(quantization.converts("model.layers.0.self_attn.q_norm.weight"));
  EXPECT_FALSE(quantization.converts("lm_head.weight"));
  EXPECT_TRUE(quantization.excludes("lm_head.weight"));
}

TEST(Quantization, partsOfNamesExcludeWholeComponents) {
  QuantizationConfig config;
  config.notConverted = {"model.layers.1", "mlp.gate", "k_proj"};
  EXPECT_TRUE(config.excludes("model.layers.1.self_attn.q_proj.weight"));
  EXPECT_FALSE(config.excludes("model.layers.11.self_attn.q_proj.weight"));
  EXPECT_FALSE(config.excludes("model.layers.2.mlp.gate_proj.weight"));
  EXPECT_TRUE(config.excludes("model.layers.2.self_attn.k_proj.weight"));
}

TEST(Quantization, gptqOfSeveralTools) {
  // GPTQModel, as in the official releases.
  ModelConfig config =
      parsed(quantized(R"({"bits": 8, "checkpoint_format": "gptq", "desc_act": false, "group_size": 128,
      "hyb_act": false, "lm_head": false, "meta": {"damp_percent": 0.01, "quantizer": ["gptqmodel:2.2.0"]},
      "pack_dtype": "int32", "quant_method": "gptq", "sym": true, "dynamic": {"-:.*mlp\\.gate$": {}}})"));
  ASSERT_TRUE(config.quantization);
  EXPECT_TRUE(config.warnings.empty()) << config.warnings.front();
  EXPECT_EQ(config.quantization->method, QuantMethod::Gptq);
  EXPECT_EQ(config.quantization->bits, 8);
  EXPECT_EQ(config.quantization->group, 128);
  EXPECT_EQ(config.quantization->blockRows, 1);
  EXPECT_TRUE(config.quantization->symmetric && config.quantization->zerosMinusOne);
  EXPECT_FALSE(config.quantization->actOrder);
  EXPECT_EQ(config.quantization->storedName("model.layers.0.mlp.up_proj.weight"),
            "model.layers.0.mlp.up_proj.qweight");
  EXPECT_EQ(config.quantization->storedName("model.norm.weight"), "model.norm.weight");
  // AutoGPTQ, with what it leaves out.
  config =
      parsed(quantized(R"({"bits": 4, "group_size": -1, "damp_percent": 0.1, "desc_act": true, "sym": false,
      "static_groups": false, "true_sequential": true, "model_name_or_path": null, "quant_method": "gptq"})"));
  EXPECT_EQ(config.quantization->group, 0);
  EXPECT_TRUE(config.quantization->actOrder && config.quantization->zerosMinusOne);
  EXPECT_FALSE(config.quantization->symmetric);
  // transformers 5.x writes both names of the format.
  config = parsed(quantized(R"({"bits": 4, "group_size": 32, "quant_method": "gptq", "format": "gptq_v2",
      "checkpoint_format": "gptq_v2", "act_group_aware": true})"));
  EXPECT_FALSE(config.quantization->zerosMinusOne);
  EXPECT_TRUE(config.warnings.empty()) << config.warnings.front();
}

TEST(Quantization, awqOfBothReleasesOfTransformers) {
  for (const char *text :
       {R"({"bits": 4, "group_size": 128, "modules_to_not_convert": null, "quant_method": "awq",
                               "version": "GEMM", "zero_point": true})",
        R"({"bits": 4, "group_size": 128, "modules_to_not_convert": ["gate"], "quant_method": "awq",
                               "format": "gemm", "version": "gemm", "zero_point": true, "sym": true, "desc_act": false,
                               "backend": "auto"})"}) {
    ModelConfig config = parsed(quantized(text));
    ASSERT_TRUE(config.quantization);
    EXPECT_TRUE(config.warnings.empty()) << config.warnings.front();
    EXPECT_EQ(config.quantization->method, QuantMethod::Awq);
    EXPECT_EQ(config.quantization->bits, 4);
    EXPECT_FALSE(config.quantization->symmetric || config.quantization->zerosMinusOne);
  }
}

TEST(Quantization, unknownKeysAreWarnings) {
  ModelConfig config = parsed(quantized(R"({"bits": 4, "quant_method": "gptq", "colour": 1})"));
  EXPECT_THAT(config.warnings,
              ::testing::ElementsAre("config.json: unknown key \"quantization_config.colour\" is ignored"));
}

struct Mistake {
  const char *quantization;
  const char *message; ///< after "c: expected "
};

class QuantizationErrors : public ::testing::TestWithParam<Mistake> {};

TEST_P(QuantizationErrors, areOneLine) {
  Json config = quantized(GetParam().quantization);
  EXPECT_EQ(messageOf(parseConfig(config.dump(), "c")), std::string("c: expected ") + GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    All, QuantizationErrors,
    ::testing::Values(
        Mistake{"7", "quantization_config to be an object, found 7"},
        Mistake{"{}", "weights of f32, f16 or bf16, or quant_method \"fp8\", \"gptq\" or \"awq\", found "
                      "quantization_config with quant_method unknown, which is not supported"},
        Mistake{R"({"quant_method": "fp8"})",
                "quantization_config.weight_block_size [128, 128] (nothing else is supported), found null"},
        Mistake{R"({"quant_method": "fp8", "weight_block_size": [64, 128]})",
                "quantization_config.weight_block_size [128, 128] (nothing else is supported), found a list "
                "of 2"},
        Mistake{R"({"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "static"})",
                "quantization_config.activation_scheme \"dynamic\", found \"static\""},
        Mistake{R"({"quant_method": "fp8", "weight_block_size": [128, 128], "fmt": "e5m2"})",
                "quantization_config.fmt \"e4m3\", found \"e5m2\""},
        Mistake{R"({"quant_method": "fp8", "weight_block_size": [128, 128], "expert_dtype": "fp4"})",
                "quantization_config.expert_dtype \"fp8\", found \"fp4\""},
        Mistake{R"({"quant_method": "gptq"})", "quantization_config.bits 4 or 8, found null"},
        Mistake{R"({"quant_method": "gptq", "bits": 3})", "quantization_config.bits 4 or 8, found 3"},
        Mistake{R"({"quant_method": "gptq", "bits": 4, "group_size": 0})",
                "quantization_config.group_size -1 or a multiple of 8, found 0"},
        Mistake{R"({"quant_method": "gptq", "bits": 4, "group_size": 12})",
                "quantization_config.group_size -1 or a multiple of 8, found 12"},
        Mistake{R"({"quant_method": "gptq", "bits": 4, "group_size": -2})",
                "quantization_config.group_size to be an integer from -1 to 1048576, found -2"},
        Mistake{R"({"quant_method": "gptq", "bits": 4, "sym": 1})",
                "quantization_config.sym to be true or false, found 1"},
        Mistake{R"({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"})",
                "quantization_config.checkpoint_format \"gptq\" or \"gptq_v2\", found \"marlin\""},
        Mistake{R"({"quant_method": "gptq", "bits": 4, "checkpoint_format": "gptq", "format": "gptq_v2"})",
                "quantization_config.format what checkpoint_format says, found \"gptq_v2\""},
        Mistake{R"({"quant_method": "gptq", "bits": 4, "is_marlin_format": true})",
                "quantization_config.is_marlin_format false (nothing else is supported), found true"},
        Mistake{R"({"quant_method": "gptq", "bits": 4, "pack_dtype": "int8"})",
                "quantization_config.pack_dtype \"int32\", found \"int8\""},
        Mistake{R"({"quant_method": "gptq", "bits": 4, "rotation": "hadamard"})",
                "quantization_config.rotation null (nothing else is supported), found \"hadamard\""},
        Mistake{R"({"quant_method": "gptq", "bits": 4, "dynamic": {"+:.*down.*": {"bits": 8}}})",
                "quantization_config.dynamic to leave modules out only (\"-:PATTERN\"), found an object"},
        Mistake{R"({"quant_method": "awq", "bits": 8})", "quantization_config.bits 4, found 8"},
        Mistake{R"({"quant_method": "awq", "zero_point": false})",
                "quantization_config.zero_point true (the gemm layout has zero points), found false"},
        Mistake{R"({"quant_method": "awq", "version": "gemv"})",
                "quantization_config.version \"gemm\", found \"gemv\""},
        Mistake{R"({"quant_method": "awq", "backend": "llm-awq"})",
                "quantization_config.backend \"autoawq\" (llm-awq lays tensors out differently), found "
                "\"llm-awq\""},
        Mistake{R"({"quant_method": "awq", "modules_to_not_convert": "lm_head"})",
                "quantization_config.modules_to_not_convert to be a list of module names, found \"lm_head\""},
        Mistake{R"({"quant_method": "awq", "modules_to_not_convert": [""]})",
                "quantization_config.modules_to_not_convert to hold module names, found \"\""}));

} // namespace
} // namespace qwench::hf
