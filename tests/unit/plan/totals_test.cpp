// The totals that a planned program carries, for the shapes of published models: parameters that a token streams are
// attention, router, active experts, norms and the output matrix; the row of the embedding is ignored.
#include "compiler/target/target.h"
#include "frontends/huggingface/import/import.h"
#include "passes/Pipelines.h"
#include "passes/plan/plan.h"

#include "mlir/Pass/PassManager.h"

#include <gtest/gtest.h>

using namespace qwench;

namespace {

struct Totals {
  int64_t bytesPerToken = 0, flopsPerToken = 0, flopsPerOutput = 0, attentionFlopsPerPair = 0, cacheBytes = 0;
};

Totals totalsOf(const std::string &config, std::vector<std::string> disabled = {},
                CacheFormat cache = CacheFormat::BF16) {
  Totals totals;
  Result<hf::ModelConfig> parsed = hf::parseConfig(config, "config.json");
  EXPECT_TRUE(parsed) << parsed.error().message;
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  auto module = importModel(context, *parsed, {"model", ElementType::BF16, cache, 4096});
  auto target = createTarget("x86-64", {.cpu = "znver4", .gpus = {}});
  EXPECT_TRUE(module && target);
  TargetProperties properties = (*target)->properties();
  mlir::PassManager passes(&context);
  EXPECT_TRUE(buildFusePipeline(passes, disabled));
  buildPlanPipeline(passes, properties, {"model", 4096});
  EXPECT_TRUE(mlir::succeeded(passes.run(**module)));
  auto program = (**module)->getAttrOfType<mlir::DictionaryAttr>("qwen.program");
  auto plan = (**module)->getAttrOfType<qwen::PlanAttr>("qwen.plan");
  if (!program || !plan)
    return totals;
  auto number = [&](const char *name) { return program.getAs<mlir::IntegerAttr>(name).getInt(); };
  return {number("weight_bytes_per_token"), number("flops_per_token"), number("flops_per_output"),
          number("attention_flops_per_pair"), plan.getCacheBytesPerPosition()};
}

const char *dense06B = R"({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 1024,
  "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
  "intermediate_size": 3072, "vocab_size": 151936, "rms_norm_eps": 1e-06, "hidden_act": "silu",
  "tie_word_embeddings": true, "rope_theta": 1000000, "max_position_embeddings": 40960})";

const char *moe30B = R"({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 2048,
  "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
  "intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8,
  "norm_topk_prob": true, "decoder_sparse_step": 1, "mlp_only_layers": [], "vocab_size": 151936, "rms_norm_eps": 1e-06,
  "hidden_act": "silu", "tie_word_embeddings": false, "rope_theta": 1000000, "max_position_embeddings": 40960})";

} // namespace

TEST(Totals, OfADenseModel) {
  int64_t layer = 2048 * 1024 + 2 * 1024 * 1024 + 1024 * 2048 + 3 * 3072 * 1024, head = int64_t(151936) * 1024;
  int64_t norms = 28 * (2 * 1024 + 2 * 128) + 1024;
  ASSERT_NEAR(double(28 * layer + head + norms), 0.596e9, 0.0005e9); // the published number of parameters
  Totals totals = totalsOf(dense06B);
  EXPECT_EQ(totals.bytesPerToken, 2 * (28 * layer + head) + 4 * norms); // norms are kept in f32
  EXPECT_EQ(totals.flopsPerToken, 2 * 28 * layer);
  EXPECT_EQ(totals.flopsPerOutput, 2 * head);
  EXPECT_EQ(totals.attentionFlopsPerPair, 28 * 4 * 16 * 128);
  EXPECT_EQ(totals.cacheBytes, 112 << 10);
}

TEST(Totals, OfACacheCountScalesAndZeroPoints) {
  int64_t vectors = 2 * 28 * 8;
  EXPECT_EQ(totalsOf(dense06B, {}, CacheFormat::Int8).cacheBytes, vectors * (128 + 4));
  EXPECT_EQ(totalsOf(dense06B, {}, CacheFormat::FP8).cacheBytes, vectors * (128 + 4));
  int64_t int4 = totalsOf(dense06B, {}, CacheFormat::Int4).cacheBytes;
  EXPECT_EQ(int4, vectors * (64 + 4 * (2 + 1)));
  EXPECT_LE(int4, 0.33 * vectors * 256) << "saves at least 67 % of bf16's bytes";
}

TEST(Totals, OfAMixtureOfExpertsCountTheActiveOnes) {
  int64_t attention = 2 * 4096 * 2048 + 2 * 512 * 2048, experts = 8 * 3 * 768 * 2048, router = 128 * 2048;
  int64_t layer = attention + experts + router, head = int64_t(151936) * 2048;
  int64_t norms = 48 * (2 * 2048 + 2 * 128) + 2048;
  ASSERT_NEAR(double(48 * layer + head + norms), 3.042e9, 0.0005e9);
  Totals totals = totalsOf(moe30B);
  EXPECT_EQ(totals.bytesPerToken, 2 * (48 * layer + head) + 4 * norms);
  EXPECT_EQ(totals.flopsPerToken, 2 * 48 * layer);
  EXPECT_EQ(totals.flopsPerOutput, 2 * head);
  EXPECT_EQ(totals.cacheBytes, 96 << 10);
}

TEST(Totals, DoNotDependOnFusion) {
  std::vector<std::string> all;
  for (llvm::StringRef name : fusionNames())
    all.push_back(name.str());
  Totals fused = totalsOf(moe30B), unfused = totalsOf(moe30B, all);
  EXPECT_EQ(fused.bytesPerToken, unfused.bytesPerToken);
  EXPECT_EQ(fused.flopsPerToken, unfused.flopsPerToken);
}
