// Every kind of bad config.json, with the whole line that the user gets.
#include "frontends/huggingface/config.h"
#include "tests/unit/frontends/fixtures.h"

#include <gtest/gtest.h>

namespace qwench::hf {
namespace {

using testing::denseConfig;
using testing::Json;
using testing::messageOf;
using testing::moeConfig;
using testing::TemporaryDirectory;

/// A change to a good configuration, as JSON, and what it leads to.
struct BadConfig {
  const char *name;
  bool moe;
  const char *change;
  const char *message;
};

constexpr BadConfig kBad[] = {
    {"architecture", false, R"({"architectures": ["LlamaForCausalLM"]})",
     "c: expected architecture Qwen3ForCausalLM or Qwen3MoeForCausalLM, found \"LlamaForCausalLM\""},
    {"classifier", false, R"({"architectures": ["Qwen3ForSequenceClassification"]})",
     "c: expected architecture Qwen3ForCausalLM or Qwen3MoeForCausalLM, found "
     "\"Qwen3ForSequenceClassification\""},
    {"two_architectures", false, R"({"architectures": ["Qwen3ForCausalLM", "Qwen3MoeForCausalLM"]})",
     "c: expected architecture Qwen3ForCausalLM or Qwen3MoeForCausalLM, found a list of 2"},
    {"model_type", false, R"({"architectures": null, "model_type": "gpt2"})",
     "c: expected architecture Qwen3ForCausalLM or Qwen3MoeForCausalLM, found model_type \"gpt2\""},
    {"no_architecture", false, R"({"architectures": null, "model_type": null})",
     "c: expected architecture Qwen3ForCausalLM or Qwen3MoeForCausalLM, found no architectures and no "
     "model_type"},
    {"contradiction", false, R"({"model_type": "qwen3_moe"})",
     "c: expected model_type to fit architectures, found \"qwen3_moe\""},
    {"activation", false, R"({"hidden_act": "gelu"})", "c: expected hidden_act \"silu\", found \"gelu\""},
    {"kv_heads", false, R"({"num_key_value_heads": 3})",
     "c: expected num_key_value_heads to divide num_attention_heads 4, found 3"},
    {"no_kv_heads", false, R"({"num_key_value_heads": 0})",
     "c: expected num_key_value_heads to be an integer from 1 to 16384, found 0"},
    {"moe_kv_heads_null", true, R"({"num_key_value_heads": null})",
     "c: expected num_key_value_heads to be an integer from 1 to 16384, found null"},
    {"head_dim", false, R"({"head_dim": 80})", "c: expected head_dim to be a multiple of 32, found 80"},
    {"inferred_head_dim", true, R"({"head_dim": null})",
     "c: expected head_dim to be an integer from 1 to 4096, found null"},
    {"hidden_negative", false, R"({"hidden_size": -16})",
     "c: expected hidden_size to be an integer from 1 to 1048576, found -16"},
    {"hidden_absurd", false, R"({"hidden_size": 18446744073709551615})",
     "c: expected hidden_size to be an integer from 1 to 1048576, found 18446744073709551615"},
    {"hidden_fraction", false, R"({"hidden_size": 16.5})",
     "c: expected hidden_size to be an integer from 1 to 1048576, found 16.5"},
    {"hidden_text", false, R"({"hidden_size": "16"})",
     "c: expected hidden_size to be an integer from 1 to 1048576, found \"16\""},
    {"layers_absurd", false, R"({"num_hidden_layers": 1000000})",
     "c: expected num_hidden_layers to be an integer from 1 to 4096, found 1000000"},
    {"vocab", false, R"({"vocab_size": 0})",
     "c: expected vocab_size to be an integer from 1 to 16777216, found 0"},
    {"parameters_absurd", false,
     R"({"hidden_size": 1048576, "intermediate_size": 16777216, "num_hidden_layers": 4096})",
     "c: expected at most 70368744177664 parameters, found sizes that make 216174440014413824"},
    {"experts_absurd", true, R"({"num_hidden_layers": 4096, "num_experts": 65536, "mlp_only_layers": []})",
     "c: expected at most 1048576 experts in all layers, found 268435456"},
    {"top_k", true, R"({"num_experts_per_tok": 5})",
     "c: expected num_experts_per_tok to be at most num_experts 4, found 5"},
    {"experts_disagree", true, R"({"num_local_experts": 8})",
     "c: expected num_experts and num_local_experts to agree, found 4 and 8"},
    {"sparse_step", true, R"({"decoder_sparse_step": 0})",
     "c: expected decoder_sparse_step to be an integer from 1 to 4096, found 0"},
    {"mlp_only_layer", true, R"({"mlp_only_layers": [2]})",
     "c: expected mlp_only_layers to hold layer numbers below 2, found 2"},
    {"mlp_only_layers", true, R"({"mlp_only_layers": 1})",
     "c: expected mlp_only_layers to be a list of layer numbers, found 1"},
    {"norm_topk_prob", true, R"({"norm_topk_prob": 1})",
     "c: expected norm_topk_prob to be true or false, found 1"},
    {"shared_expert", true, R"({"shared_expert_intermediate_size": 512})",
     "c: expected shared_expert_intermediate_size 0 (nothing else is supported), found 512"},
    {"qkv_bias", true, R"({"qkv_bias": true})",
     "c: expected qkv_bias false (nothing else is supported), found true"},
    {"qk_norm", true, R"({"use_qk_norm": false})",
     "c: expected use_qk_norm true (nothing else is supported), found false"},
    {"dual_chunk", false, R"({"dual_chunk_attention_config": {"chunk_size": 262144}})",
     "c: expected dual_chunk_attention_config null (nothing else is supported), found an object"},
    {"quantized", false, R"({"quantization_config": {"quant_method": "bitsandbytes"}})",
     "c: expected weights of f32, f16 or bf16, or quant_method \"fp8\", \"gptq\" or \"awq\", found "
     "quantization_config with quant_method \"bitsandbytes\", which is not supported"},
    {"dtype", false, R"({"torch_dtype": "int8"})",
     "c: expected torch_dtype \"bfloat16\", \"float16\" or \"float32\", found \"int8\""},
    {"eps", false, R"({"rms_norm_eps": 0})",
     "c: expected rms_norm_eps to be a number above 0.0 and at most 1.0, found 0"},
    {"eos", false, R"({"eos_token_id": "</s>"})",
     "c: expected eos_token_id to be a token id or a list of token ids, found \"</s>\""},
    {"window", false, R"({"use_sliding_window": true, "sliding_window": 0})",
     "c: expected sliding_window to be an integer from 1 to 2147483647, found 0"},
    {"layer_types_count", false, R"({"layer_types": ["full_attention"]})",
     "c: expected layer_types to be a list of 2, found a list of 1"},
    {"layer_types_kind", false, R"({"layer_types": ["full_attention", "chunked_attention"]})",
     "c: expected layer_types[1] \"full_attention\" or \"sliding_attention\", found \"chunked_attention\""},
    {"layer_types_windowless", false, R"({"layer_types": ["full_attention", "sliding_attention"]})",
     "c: expected layer_types[1] \"full_attention\" without use_sliding_window and sliding_window, found "
     "\"sliding_attention\""},
    {"layer_types_moe", true, R"({"layer_types": ["full_attention", "sliding_attention"]})",
     "c: expected layer_types[1] to fit use_sliding_window (Qwen3MoeForCausalLM has one kind for all "
     "layers), found "
     "\"sliding_attention\""},
    {"theta", false, R"({"rope_theta": 1})",
     "c: expected rope_theta to be a number above 1.0 and at most 1e+15, found 1"},
    {"thetas_disagree", false, R"({"rope_theta": 1e6, "rope_parameters": {"rope_theta": 1e7}})",
     "c: expected rope_parameters.rope_theta and rope_theta to agree, found 10000000.0 and 1000000.0"},
    {"rope_both", false,
     R"({"rope_scaling": {"rope_type": "default"}, "rope_parameters": {"rope_theta": 1e7}})",
     "c: expected either rope_scaling or rope_parameters, found both"},
    {"rope_type", false, R"({"rope_scaling": {"rope_type": "su", "factor": 2.0}})",
     "c: expected rope type default, linear, dynamic, yarn, longrope or llama3, found \"su\""},
    {"rope_types_disagree", false,
     R"({"rope_scaling": {"rope_type": "yarn", "type": "linear", "factor": 2.0}})",
     "c: expected rope_scaling.rope_type and rope_scaling.type to agree, found \"yarn\" and \"linear\""},
    {"rope_typeless", false, R"({"rope_scaling": {"factor": 2.0}})",
     "c: expected rope_scaling.rope_type to be a string, found null"},
    {"rope_list", false, R"({"rope_scaling": [2.0]})",
     "c: expected rope_scaling to be an object, found a list of 1"},
    {"rope_factor", false, R"({"rope_scaling": {"rope_type": "linear"}})",
     "c: expected rope_scaling.factor to be a number from 1 to 1000000, found null"},
    {"rope_factor_small", false, R"({"rope_scaling": {"rope_type": "yarn", "factor": 0.5}})",
     "c: expected rope_scaling.factor to be a number from 1 to 1000000, found 0.5"},
    {"yarn_beta", false, R"({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "beta_fast": -1}})",
     "c: expected rope_scaling.beta_fast to be a number from 0 to 1000000, found -1"},
    {"longrope_count", false,
     R"({"rope_scaling": {"rope_type": "longrope", "factor": 2.0, "short_factor": [1.0], "long_factor": [1.0]}})",
     "c: expected rope_scaling.short_factor to be a list of 16 positive numbers (head_dim / 2), found a list "
     "of 1"},
    {"llama3_factors", false,
     R"({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0,
                          "original_max_position_embeddings": 64}})",
     "c: expected rope_scaling.high_freq_factor above low_freq_factor 4.0, found 4.0"},
    {"llama3_missing", false,
     R"({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "high_freq_factor": 4.0}})",
     "c: expected rope_scaling.low_freq_factor to be a number, found null"},
    {"mrope", false, R"({"rope_scaling": {"rope_type": "default", "mrope_section": [1, 2]}})",
     "c: expected no rope_scaling.mrope_section (multimodal rope is not supported)"},
    {"partial_rotary", false, R"({"partial_rotary_factor": 0.5})",
     "c: expected partial_rotary_factor 1.0 (nothing else is supported), found 0.5"},
    {"partial_rotary_inner", false, R"({"rope_parameters": {"partial_rotary_factor": 0.5}})",
     "c: expected rope_parameters.partial_rotary_factor 1.0 (nothing else is supported), found 0.5"},
};

void PrintTo(const BadConfig &bad, std::ostream *out) { *out << bad.name; }

class BadConfigs : public ::testing::TestWithParam<BadConfig> {};

TEST_P(BadConfigs, giveOneClearLine) {
  Json config = GetParam().moe ? moeConfig() : denseConfig();
  config.update(Json::parse(GetParam().change));
  EXPECT_EQ(messageOf(parseConfig(config.dump(), "c")), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(All, BadConfigs, ::testing::ValuesIn(kBad),
                         [](const auto &info) { return std::string(info.param.name); });

TEST(MalformedJson, isAnErrorWithItsPlace) {
  EXPECT_EQ(messageOf(parseConfig("{\n  \"a\": 1,\n  x}", "c")), "c: malformed JSON at line 3, column 3");
  EXPECT_EQ(messageOf(parseConfig("{\"a\": [1", "c")),
            "c: malformed JSON: unexpected end at line 1, column 9");
  EXPECT_EQ(messageOf(parseConfig("", "c")), "c: malformed JSON: unexpected end at line 1, column 1");
  EXPECT_EQ(messageOf(parseConfig("{\"a\": NaN}", "c")), "c: malformed JSON at line 1, column 7");
  EXPECT_EQ(messageOf(parseConfig("{\"a\": 1e999}", "c")), "c: malformed JSON: a number is out of range");
  EXPECT_EQ(messageOf(parseConfig("[1, 2]", "c")), "c: expected a JSON object, found a list of 2");
  EXPECT_EQ(messageOf(parseConfig("{\"a\": 1, \"a\": 2}", "c")), "c: key \"a\" is given twice");
  std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  EXPECT_EQ(messageOf(parseConfig(deep, "c")), "c: expected JSON nested at most 64 deep");
}

TEST(ConfigFile, thatCannotBeReadIsAnErrorOfTheUser) {
  TemporaryDirectory directory;
  Result<ModelConfig> missing = readConfig(directory.path());
  EXPECT_EQ(messageOf(missing),
            "cannot open " + directory.path("config.json") + ": No such file or directory");
  EXPECT_EQ(missing.error().fault, Error::Fault::User);
  std::filesystem::create_directory(directory.path("config.json"));
  EXPECT_EQ(messageOf(readConfig(directory.path())),
            "expected a file, found something else at " + directory.path("config.json"));
}

TEST(ConfigFile, isFoundInItsDirectoryAndByItself) {
  TemporaryDirectory directory;
  directory.write("config.json", denseConfig().dump());
  EXPECT_TRUE(readConfig(directory.path()));
  EXPECT_TRUE(readConfig(directory.path("config.json")));
}

} // namespace
} // namespace qwench::hf
