#include "frontends/huggingface/config.h"
#include "tests/unit/frontends/fixtures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qwench::hf {
namespace {

using testing::denseConfig;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::Json;
using testing::moeConfig;
using testing::parsed;

/// A released model: its published config.json's sizes, and its parameters in units of 1e6, rounded.
struct Release {
  const char *name;
  int64_t hidden, layers, heads, kvHeads, intermediate, moeIntermediate, experts;
  bool tied;
  double theta;
  int64_t maxPosition;
  int64_t totalMillions, activeMillions;
};
constexpr Release kReleases[] = {
    {"0_6B", 1024, 28, 16, 8, 3072, 0, 0, true, 1e6, 40960, 596, 596},
    {"1_7B", 2048, 28, 16, 8, 6144, 0, 0, true, 1e6, 40960, 1721, 1721},
    {"4B", 2560, 36, 32, 8, 9728, 0, 0, true, 1e6, 40960, 4022, 4022},
    {"4B_2507", 2560, 36, 32, 8, 9728, 0, 0, true, 5e6, 262144, 4022, 4022},
    {"8B", 4096, 36, 32, 8, 12288, 0, 0, false, 1e6, 40960, 8191, 7568},
    {"14B", 5120, 40, 40, 8, 17408, 0, 0, false, 1e6, 40960, 14768, 13990},
    {"32B", 5120, 64, 64, 8, 25600, 0, 0, false, 1e6, 40960, 32762, 31984},
    {"30B_A3B", 2048, 48, 32, 4, 6144, 768, 128, false, 1e6, 40960, 30532, 3042},
    {"235B_A22B", 4096, 94, 64, 4, 12288, 1536, 128, false, 1e6, 40960, 235094, 21568},
    {"Coder_480B_A35B", 6144, 62, 96, 8, 8192, 2560, 160, false, 1e7, 262144, 480155, 34541},
};

/// config.json as published.
Json published(const Release &release) {
  Json json = {{"architectures", {release.experts ? "Qwen3MoeForCausalLM" : "Qwen3ForCausalLM"}},
               {"model_type", release.experts ? "qwen3_moe" : "qwen3"},
               {"attention_bias", false},
               {"attention_dropout", 0.0},
               {"bos_token_id", 151643},
               {"eos_token_id", 151645},
               {"head_dim", 128},
               {"hidden_act", "silu"},
               {"hidden_size", release.hidden},
               {"initializer_range", 0.02},
               {"intermediate_size", release.intermediate},
               {"max_position_embeddings", release.maxPosition},
               {"max_window_layers", release.layers},
               {"num_attention_heads", release.heads},
               {"num_hidden_layers", release.layers},
               {"num_key_value_heads", release.kvHeads},
               {"rms_norm_eps", 1e-6},
               {"rope_scaling", nullptr},
               {"rope_theta", release.theta},
               {"sliding_window", nullptr},
               {"tie_word_embeddings", release.tied},
               {"torch_dtype", "bfloat16"},
               {"transformers_version", "4.51.0"},
               {"use_cache", true},
               {"use_sliding_window", false},
               {"vocab_size", 151936}};
  if (release.experts)
    json.update({{"decoder_sparse_step", 1},
                 {"mlp_only_layers", Json::array()},
                 {"moe_intermediate_size", release.moeIntermediate},
                 {"norm_topk_prob", true},
                 {"num_experts", release.experts},
                 {"num_experts_per_tok", 8},
                 {"output_router_logits", false},
                 {"router_aux_loss_coef", 0.001}});
  return json;
}

void PrintTo(const Release &release, std::ostream *out) { *out << release.name; }

class ReleasedModel : public ::testing::TestWithParam<Release> {};

TEST_P(ReleasedModel, parsesWithoutWarningAndCountsItsParameters) {
  const Release &release = GetParam();
  ModelConfig config = parsed(published(release));
  EXPECT_THAT(config.warnings, IsEmpty());
  EXPECT_EQ(config.hidden, release.hidden);
  EXPECT_EQ(config.layerCount(), release.layers);
  EXPECT_EQ(config.sparseLayerCount(), release.experts ? release.layers : 0);
  EXPECT_EQ(config.headDim, 128);
  EXPECT_EQ(config.rope.theta, release.theta);
  EXPECT_EQ(config.dtype, DType::BF16);
  EXPECT_THAT(config.eosIds, ElementsAre(151645));
  EXPECT_EQ(config.bosId, 151643);
  ParameterCount count = countParameters(config);
  EXPECT_EQ((count.total + 500'000) / 1'000'000, release.totalMillions);
  EXPECT_EQ((count.active + 500'000) / 1'000'000, release.activeMillions);
}

INSTANTIATE_TEST_SUITE_P(All, ReleasedModel, ::testing::ValuesIn(kReleases),
                         [](const auto &info) { return std::string(info.param.name); });

TEST(Config, denseDefaultsAreThoseOfQwen3Config) {
  ModelConfig config = parsed({{"model_type", "qwen3"}});
  EXPECT_EQ(config.hidden, 4096);
  EXPECT_EQ(config.intermediate, 22016);
  EXPECT_EQ(config.layerCount(), 32);
  EXPECT_EQ(config.heads, 32);
  EXPECT_EQ(config.kvHeads, 32);
  EXPECT_EQ(config.headDim, 128);
  EXPECT_EQ(config.vocab, 151936);
  EXPECT_EQ(config.maxPositionEmbeddings, 32768);
  EXPECT_EQ(config.rope.theta, 10000.0);
  EXPECT_FALSE(config.tieEmbeddings);
  EXPECT_THAT(config.eosIds, IsEmpty());
}

TEST(Config, moeDefaultsAreThoseOfQwen3MoeConfig) {
  ModelConfig config = parsed({{"model_type", "qwen3_moe"}});
  EXPECT_EQ(config.hidden, 2048);
  EXPECT_EQ(config.layerCount(), 24);
  EXPECT_EQ(config.kvHeads, 4);
  EXPECT_EQ(config.headDim, 64) << "hidden / heads: Qwen3MoeConfig has no head_dim of its own";
  EXPECT_EQ(config.experts, 128);
  EXPECT_EQ(config.topK, 8);
  EXPECT_EQ(config.moeIntermediate, 768);
  EXPECT_FALSE(config.normTopKProb);
  EXPECT_EQ(config.intermediate, 0) << "no layer is dense";
}

TEST(Config, nullKeyValueHeadsMeansAsManyAsHeads) {
  Json json = denseConfig();
  json["num_key_value_heads"] = nullptr;
  EXPECT_EQ(parsed(json).kvHeads, 4);
}

TEST(Config, readsWhatVersion5Writes) {
  Json json = moeConfig();
  json.erase("num_experts");
  json["num_local_experts"] = 4;
  json["dtype"] = "bfloat16";
  json["rope_parameters"] = {{"rope_theta", 5e6}, {"rope_type", "default"}};
  json["layer_types"] = {"full_attention", "full_attention"};
  json["eos_token_id"] = {3, 4};
  ModelConfig config = parsed(json);
  EXPECT_THAT(config.warnings, IsEmpty());
  EXPECT_EQ(config.experts, 4);
  EXPECT_EQ(config.dtype, DType::BF16);
  EXPECT_EQ(config.rope.theta, 5e6);
  EXPECT_THAT(config.eosIds, ElementsAre(3, 4));
}

std::vector<bool> sparseLayers(const ModelConfig &config) {
  std::vector<bool> sparse;
  for (const LayerConfig &layer : config.layers)
    sparse.push_back(layer.sparse);
  return sparse;
}

TEST(Config, sparseStepAndMlpOnlyLayersBothCount) {
  Json json = moeConfig();
  json["num_hidden_layers"] = 6;
  json["decoder_sparse_step"] = 2;
  json["mlp_only_layers"] = {3};
  EXPECT_THAT(sparseLayers(parsed(json)), ElementsAre(false, true, false, false, false, true));
  json["mlp_only_layers"] = nullptr;
  EXPECT_THAT(sparseLayers(parsed(json)), ElementsAre(false, true, false, true, false, true));
}

TEST(Config, noExpertsMeansNoSparseLayer) {
  Json json = moeConfig();
  json["num_experts"] = 0;
  ModelConfig config = parsed(json);
  EXPECT_THAT(sparseLayers(config), ElementsAre(false, false));
  EXPECT_EQ(config.topK, 0);
  EXPECT_EQ(config.intermediate, 24);
}

std::vector<int64_t> windows(const Json &json) {
  std::vector<int64_t> windows;
  for (const LayerConfig &layer : parsed(json).layers)
    windows.push_back(layer.window.value_or(0));
  return windows;
}

TEST(Config, denseLayersFromMaxWindowLayersOnSlide) {
  Json json = denseConfig();
  json.update({{"num_hidden_layers", 4}, {"use_sliding_window", true}, {"sliding_window", 7}});
  EXPECT_THAT(windows(json), ElementsAre(0, 0, 0, 0)) << "max_window_layers is 28 unless given";
  json["max_window_layers"] = 2;
  EXPECT_THAT(windows(json), ElementsAre(0, 0, 7, 7));
  json.erase("sliding_window");
  EXPECT_THAT(windows(json), ElementsAre(0, 0, 4096, 4096));
  json["sliding_window"] = nullptr;
  EXPECT_THAT(windows(json), ElementsAre(0, 0, 0, 0));
  json.update({{"use_sliding_window", false}, {"sliding_window", 7}});
  EXPECT_THAT(windows(json), ElementsAre(0, 0, 0, 0));
}

TEST(Config, denseLayerTypesWinOverMaxWindowLayers) {
  Json json = denseConfig();
  json.update({{"use_sliding_window", true}, {"sliding_window", 7}, {"max_window_layers", 0}});
  json["layer_types"] = {"sliding_attention", "full_attention"};
  EXPECT_THAT(windows(json), ElementsAre(7, 0));
}

TEST(Config, allMoeLayersSlideOrNone) {
  Json json = moeConfig();
  json.update({{"use_sliding_window", true}, {"sliding_window", 7}, {"max_window_layers", 1}});
  EXPECT_THAT(windows(json), ElementsAre(7, 7));
  EXPECT_THAT(parsed(json).warnings,
              ElementsAre("config.json: max_window_layers has no effect in Qwen3MoeForCausalLM"));
}

TEST(Config, warnsOfWhatItDoesNotKnow) {
  Json json = denseConfig();
  json["frobnication"] = true;
  json["eos_token_id"] = 151645;
  json["rope_scaling"] = {{"rope_type", "default"}, {"factor", 2.0}};
  EXPECT_THAT(parsed(json).warnings,
              ElementsAre("config.json: rope_scaling.factor has no effect with rope type default",
                          "config.json: eos_token_id 151645 is outside the vocabulary of 40 and ignored",
                          "config.json: unknown key \"frobnication\" is ignored"));
}

TEST(Config, acceptsNeutralValuesOfRelatives) {
  Json json = moeConfig();
  json.update({{"shared_expert_intermediate_size", 0}, {"qkv_bias", false}, {"use_qk_norm", true}});
  EXPECT_THAT(parsed(json).warnings, IsEmpty());
}

} // namespace
} // namespace qwench::hf
