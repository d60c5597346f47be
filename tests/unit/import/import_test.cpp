// Configurations become the model stage that transformers' modeling code describes.
#include "frontends/huggingface/import/import.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"

#include "llvm/Support/raw_ostream.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

using namespace qwench;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

namespace {

/// A config.json with the given keys over a small dense or MoE base.
std::string configText(bool moe, const std::string &more) {
  std::string base =
      moe ? R"("architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "num_experts": 6,
                              "num_experts_per_tok": 2, "moe_intermediate_size": 24, 
                              "decoder_sparse_step": 1,)"
          : R"("architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3",)";
  return "{" + base +
         R"("hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
                         "intermediate_size": 96, "vocab_size": 331, "rms_norm_eps": 1e-06, "hidden_act": "silu",
                         "max_position_embeddings": 256)" +
         more + "}";
}

std::string print(mlir::ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream);
  return text;
}

std::string import(bool moe, const std::string &more,
                   ImportOptions options = {"test", ElementType::BF16, CacheFormat::BF16, 256}) {
  Result<hf::ModelConfig> config = hf::parseConfig(configText(moe, more), "config.json");
  if (!config)
    return "config: " + config.error().message;
  mlir::MLIRContext context;
  Result<mlir::OwningOpRef<mlir::ModuleOp>> module = importModel(context, *config, options);
  if (!module)
    return "error: " + module.error().message;
  std::string text = print(**module);
  mlir::OwningOpRef<mlir::ModuleOp> again = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  EXPECT_TRUE(again && print(*again) == text) << "what was printed does not read back";
  return text;
}

size_t count(const std::string &text, const std::string &what) {
  size_t result = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1))
    result++;
  return result;
}

} // namespace

TEST(Import, QuantizedMatricesKeepTheirFormats) {
  std::vector<std::string> warnings;
  ImportOptions options = {"test", ElementType::BF16, CacheFormat::BF16, 256};
  options.warnings = &warnings;
  options.stored = [](const std::string &tensor) -> std::optional<hf::StoredFormat> {
    hf::StoredFormat format{hf::StoredFormat::Codes::U4, 32, 1, hf::DType::F16, true, false};
    if (tensor.find("v_proj") != std::string::npos)
      format = {hf::StoredFormat::Codes::E4M3, 128, 128, hf::DType::BF16, false, false};
    format.scattered = tensor.find("k_proj") != std::string::npos;
    bool plain = tensor == "model.layers.1.self_attn.o_proj.weight" || tensor.find("experts.3.down") != std::string::npos;
    return plain ? std::nullopt : std::optional(format);
  };
  std::string text = import(true, R"(, "num_hidden_layers": 3)", options);
  const char *int4 = "!qwen.quant<i4, group = 32, scale = f16, zero_points = true>";
  EXPECT_THAT(text, HasSubstr("qwen.weight @moe.q_proj : tensor<128x64x" + std::string(int4) +
                              "> instances 2 layers [0, 2]"));
  EXPECT_THAT(text, HasSubstr("qwen.weight @moe_2.q_proj : tensor<128x64x" + std::string(int4) +
                              "> instances 1 layers [1]"));
  EXPECT_THAT(text, HasSubstr("@moe.k_proj : tensor<64x64xbf16>"));
  EXPECT_THAT(text, HasSubstr("@moe.v_proj : tensor<64x64x!qwen.quant<f8E4M3FN, group = 128, scale = f32, "
                              "group_rows = 128>>"));
  EXPECT_THAT(text, HasSubstr("@moe_2.o_proj : tensor<64x128xbf16>"));
  EXPECT_THAT(text, HasSubstr("@moe.router : tensor<6x64xbf16>"));
  EXPECT_THAT(text, HasSubstr("@moe.up_proj : tensor<6x24x64x" + std::string(int4)));
  EXPECT_THAT(text, HasSubstr("@moe.down_proj : tensor<6x64x24xbf16>"));
  EXPECT_THAT(text, HasSubstr("through [@moe, @moe_2, @moe]"));
  EXPECT_THAT(warnings,
              testing::ElementsAre("model.layers.0.self_attn.k_proj.weight and 2 more are dequantized to bf16: the "
                                   "columns of their groups are scattered (act-order)",
                                   "model.layers.0.mlp.experts.0.down_proj.weight and 14 more are dequantized to bf16: "
                                   "experts of a layer are stored differently"));
}

TEST(Import, CodesThatTheTargetCannotMultiplyBecomeFloats) {
  std::vector<std::string> warnings;
  ImportOptions options = {"test", ElementType::BF16, CacheFormat::BF16, 256};
  options.warnings = &warnings;
  options.stored = [](const std::string &tensor) -> std::optional<hf::StoredFormat> {
    if (tensor.find("_proj") == std::string::npos)
      return std::nullopt;
    hf::StoredFormat format{hf::StoredFormat::Codes::U4, 32, 1, hf::DType::F16, true, false};
    if (tensor.find("v_proj") != std::string::npos)
      format = {hf::StoredFormat::Codes::E4M3, 128, 128, hf::DType::BF16, false, false};
    return format;
  };
  options.products = [](qwen::QuantType type) { return type.isInteger(); };
  std::string text = import(false, R"(, "num_hidden_layers": 2)", options);
  EXPECT_THAT(text, HasSubstr("@dense.q_proj : tensor<128x64x!qwen.quant<i4"));
  EXPECT_THAT(text, HasSubstr("@dense.v_proj : tensor<64x64xbf16>"));
  EXPECT_THAT(warnings, testing::ElementsAre(HasSubstr("v_proj.weight and 1 more are dequantized to bf16: the target has "
                                                       "no products with fp8 weights")));
}

TEST(Import, DenseLayersShareOneFunction) {
  std::string text = import(false, R"(, "num_hidden_layers": 3, "tie_word_embeddings": true)");
  EXPECT_THAT(
      text,
      HasSubstr(
          R"(qwen.model = {architecture = "Qwen3ForCausalLM", dtype = "bf16", kv_dtype = "bf16", max_context = 256 : i64, name = "test"})"));
  EXPECT_THAT(text,
              HasSubstr("qwen.weight @dense.q_proj : tensor<128x64xbf16> instances 3 layers [0, 1, 2] source "
                        "\"model.layers.{layer}.self_attn.q_proj.weight\""));
  EXPECT_THAT(text, HasSubstr("qwen.weight @dense.input_layernorm : tensor<64xf32> instances 3"));
  EXPECT_THAT(text, HasSubstr("through [@dense, @dense, @dense]"));
  EXPECT_EQ(count(text, "func.func"), 2u);
  EXPECT_THAT(text, Not(HasSubstr("window")));
  EXPECT_THAT(text, Not(HasSubstr("bias")));
  // The scale is 32^-0.5, the table is also the head.
  EXPECT_THAT(text, HasSubstr("scale = 0.176776692 : f32"));
  EXPECT_THAT(text, Not(HasSubstr("lm_head")));
  EXPECT_EQ(count(text, "= qwen.param @embed_tokens"), 2u);
}

TEST(Import, OpsStandInTheOrderOfTransformers) {
  std::string text = import(false, R"(, "num_hidden_layers": 1)");
  size_t at = text.find("func.func @dense(");
  for (const char *op : {"qwen.param @dense.input_layernorm",
                         "qwen.rms_norm",
                         "qwen.linear",
                         "qwen.split_heads",
                         "qwen.linear",
                         "qwen.split_heads",
                         "qwen.linear",
                         "qwen.split_heads",
                         "qwen.rms_norm",
                         "qwen.rope(",
                         "qwen.rms_norm",
                         "qwen.rope(",
                         "qwen.cache_write",
                         "qwen.attention",
                         "qwen.merge_heads",
                         "qwen.linear",
                         "qwen.add",
                         "qwen.param @dense.post_attention_layernorm",
                         "qwen.rms_norm",
                         "qwen.linear",
                         "qwen.linear",
                         "qwen.swiglu",
                         "qwen.linear",
                         "qwen.add",
                         "return",
                         "func.func @forward(",
                         "qwen.embedding",
                         "qwen.rope_table",
                         "qwen.layers",
                         "qwen.output_rows",
                         "qwen.rms_norm",
                         "qwen.linear",
                         "return"}) {
    at = text.find(op, at);
    ASSERT_NE(at, std::string::npos) << "expected " << op << " in\n" << text;
    at += std::strlen(op);
  }
}

TEST(Import, SparseAndDenseLayersOfOneModelAreTwoKinds) {
  std::string text =
      import(true, R"(, "num_hidden_layers": 4, "mlp_only_layers": [2], "norm_topk_prob": false)");
  EXPECT_THAT(text, HasSubstr("through [@moe, @moe, @dense, @moe]"));
  EXPECT_THAT(
      text, HasSubstr("qwen.weight @moe.gate_proj : tensor<6x24x64xbf16> instances 3 layers [0, 1, 3] source "
                      "\"model.layers.{layer}.mlp.experts.{expert}.gate_proj.weight\""));
  EXPECT_THAT(text, HasSubstr("qwen.weight @moe.router : tensor<6x64xbf16> instances 3"));
  EXPECT_THAT(text, HasSubstr("qwen.weight @dense.up_proj : tensor<96x64xbf16> instances 1 layers [2]"));
  EXPECT_THAT(text, HasSubstr("normalize = false, top_k = 2"));
  EXPECT_EQ(count(text, "qwen.experts("), 1u);
}

TEST(Import, SlidingLayersAreAKindOfTheirOwn) {
  std::string text =
      import(false, R"(, "num_hidden_layers": 3, "use_sliding_window": true, "sliding_window": 40,
                                       "max_window_layers": 1)");
  EXPECT_THAT(text, HasSubstr("through [@dense, @dense_window, @dense_window]"));
  EXPECT_EQ(count(text, "window = 40 : i64"), 1u);
  text = import(true, R"(, "num_hidden_layers": 2, "use_sliding_window": true, "sliding_window": 40)");
  EXPECT_THAT(text, HasSubstr("through [@moe_window, @moe_window]"));
}

TEST(Import, BiasesAndAnUntiedHeadAreOperands) {
  std::string text =
      import(false, R"(, "num_hidden_layers": 2, "attention_bias": true, "tie_word_embeddings": false)");
  for (const char *weight : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
    EXPECT_THAT(text, HasSubstr("self_attn." + std::string(weight) + ".bias\""));
    EXPECT_EQ(count(text, "qwen.param @dense." + std::string(weight) + "_bias"), 1u);
  }
  EXPECT_THAT(text, HasSubstr("qwen.weight @dense.k_proj_bias : tensor<64xf32> instances 2"));
  EXPECT_THAT(
      text,
      HasSubstr(
          "qwen.weight @lm_head : tensor<331x64xbf16> instances 1 layers [] source \"lm_head.weight\""));
  EXPECT_EQ(count(text, "= qwen.param @embed_tokens"), 1u);
}

TEST(Import, FormatsOfWeightsAndCacheAreFree) {
  std::string text =
      import(false, R"(, "num_hidden_layers": 1)", {"test", ElementType::F32, CacheFormat::BF16, 256});
  EXPECT_THAT(text, HasSubstr("@dense.q_proj : tensor<128x64xf32>"));
  EXPECT_THAT(text, HasSubstr("!qwen.cache<layers = 1, heads = 2, dim = 32, bf16>"));
  text = import(false, R"(, "num_hidden_layers": 1)", {"test", ElementType::BF16, CacheFormat::F32, 256});
  EXPECT_THAT(text, HasSubstr("!qwen.cache<layers = 1, heads = 2, dim = 32, f32>"));
}

TEST(Import, RopeTypesKnowWhatDependsOnTheLength) {
  std::string layers = R"(, "num_hidden_layers": 1, "rope_scaling": )";
  std::string factors = "[1.0";
  for (int i = 1; i < 16; i++)
    factors += ", " + std::to_string(1.0 + i / 16.0);
  factors += "]";
  EXPECT_THAT(import(false, layers + "null"), HasSubstr("qwen.rotary @rope fixed scaling 1.000000e+00"));
  EXPECT_THAT(import(false, layers + R"({"rope_type": "linear", "factor": 2.0})"),
              HasSubstr("fixed scaling 1.000000e+00 {inv_freq = array<f32: 5.000000e-01"));
  EXPECT_THAT(
      import(false,
             layers + R"({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64})"),
      HasSubstr("fixed scaling 1.138629"));
  EXPECT_THAT(import(false, layers + R"({"rope_type": "dynamic", "factor": 4.0})"),
              AllOf(HasSubstr("@rope dynamic"), HasSubstr("factor = 4.000000e+00 : f64"),
                    HasSubstr("original_context = 256"), HasSubstr("theta = 1.000000e+04 : f64")));
  EXPECT_THAT(import(false, layers + R"({"rope_type": "longrope", "factor": 2.0, "short_factor": )" +
                                factors + R"(, "long_factor": )" + factors + "}"),
              AllOf(HasSubstr("@rope longrope"), HasSubstr("long_inv_freq = array<f32: ")));
}

TEST(Import, EveryGoldenConfigurationImports) {
  int found = 0;
  for (auto &entry : std::filesystem::directory_iterator(QWENCH_SOURCE_DIR "/tests/golden/models")) {
    Result<hf::ModelConfig> config = hf::readConfig(entry.path().string());
    ASSERT_TRUE(config) << config.error().message;
    mlir::MLIRContext context;
    auto module = importModel(context, *config, {"golden", ElementType::F32, CacheFormat::F32, 512});
    EXPECT_TRUE(module) << entry.path() << ": " << module.error().message;
    found++;
  }
  EXPECT_GE(found, 30);
}

TEST(Import, AnEmptyContextIsAUserError) {
  EXPECT_EQ(import(false, R"(, "num_hidden_layers": 1)", {"test", ElementType::F32, CacheFormat::F32, 0}),
            "error: expected a context of at least 1 token, found 0");
}
