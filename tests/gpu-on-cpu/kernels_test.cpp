// Every tile program against the reference evaluator, on shapes that nothing divides, for subgroups of 32 and of 64 lanes:
// with all fusions and with none the programs of the list are all there. Steps mix prefills, chunks and decodes of two
// sequences.
#include "compiler/target/gpu/kernels.h"
#include "dialects/evaluator/Evaluator.h"
#include "dialects/tensor_names.h"
#include "frontends/huggingface/import/import.h"
#include "passes/Pipelines.h"
#include "tests/differential/all_dialects.h"
#include "tests/gpu-on-cpu/program.h"
#include "tests/gpu-on-cpu/router_gaps.h"
#include "tests/reference/model.h"

#include "mlir/Pass/PassManager.h"
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

namespace qwench {
namespace {

constexpr const char *kOddMixture = R"({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 36,
  "head_dim": 96, "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 52, "moe_intermediate_size": 20,
  "num_experts": 5, "num_experts_per_tok": 3, "mlp_only_layers": [0], "decoder_sparse_step": 1, "num_hidden_layers": 3,
  "vocab_size": 101, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "max_position_embeddings": 256, "norm_topk_prob": true,
  "tie_word_embeddings": false, "attention_bias": true, "hidden_act": "silu"})";

// More query heads than pass over the keys together, the longest heads, a window that cuts.
constexpr const char *kWideHeads = R"({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 24,
  "head_dim": 256, "num_attention_heads": 11, "num_key_value_heads": 1, "intermediate_size": 29, "num_hidden_layers": 2,
  "vocab_size": 67, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "max_position_embeddings": 256, "tie_word_embeddings": true,
  "use_sliding_window": true, "sliding_window": 5, "max_window_layers": 1, "attention_bias": false, "hidden_act": "silu"})";

// Rows of whole pieces that steps of 32 inputs do not divide: what is behind them comes as zeros.
constexpr const char *kOddPieces = R"({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 40,
  "head_dim": 32, "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 88, "moe_intermediate_size": 24,
  "num_experts": 5, "num_experts_per_tok": 3, "mlp_only_layers": [0], "decoder_sparse_step": 1, "num_hidden_layers": 2,
  "vocab_size": 101, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "max_position_embeddings": 256, "norm_topk_prob": true,
  "tie_word_embeddings": false, "attention_bias": true, "hidden_act": "silu"})";

// As many experts and choices as Qwen3-30B-A3B has, or, with more `experts`, too many for a block to choose for several rows at once.
std::string manyExperts(int64_t experts) {
  return R"({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 36, "head_dim": 32,
    "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 24, "moe_intermediate_size": 8, "mlp_only_layers": [],
    "num_experts_per_tok": 8, "decoder_sparse_step": 1, "num_hidden_layers": 2, "vocab_size": 101, "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0, "max_position_embeddings": 256, "norm_topk_prob": false, "tie_word_embeddings": false,
    "attention_bias": false, "hidden_act": "silu", "num_experts": )" + std::to_string(experts) + "}";
}

// Attention and little else: a layer whose keys a window cuts, in the midst of a block and behind whole ones, and one that sees all.
std::string attentionConfig(int64_t headDim, int64_t heads, int64_t kvHeads) {
  return R"({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 24, "intermediate_size": 16,
    "num_hidden_layers": 2, "vocab_size": 67, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "max_position_embeddings": 256,
    "tie_word_embeddings": true, "use_sliding_window": true, "sliding_window": 70, "max_window_layers": 1,
    "attention_bias": false, "hidden_act": "silu", "head_dim": )" +
         std::to_string(headDim) + R"(, "num_attention_heads": )" + std::to_string(heads) + R"(, "num_key_value_heads": )" +
         std::to_string(kvHeads) + "}";
}

struct Case {
  std::string name;
  std::string config;
  bool fused;
  int64_t subgroupSize;
  int32_t longest = 20; ///< tokens of a sequence: 90 rows of 3 experts are a dispatch of many pairs
  ElementType type = ElementType::F32;
  gpu::MatrixUnit matrix = gpu::MatrixUnit::None;
  const char *format = "";                            ///< of the weights, if they are quantized
  std::optional<CacheFormat> cache = std::nullopt; ///< if it is not the type's
  gpu::Schedule schedule = gpu::Schedule::Graph;
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

/// The evaluator's random weights as tensors of a checkpoint.
class RandomSource : public pack::TensorSource {
public:
  RandomSource(mlir::ModuleOp module, evaluator::WeightProvider &weights) {
    for (auto weight : module.getOps<qwen::WeightOp>()) {
      auto type = mlir::cast<mlir::RankedTensorType>(weight.getType());
      bool stack = type.getRank() == 3;
      int64_t experts = stack ? type.getDimSize(0) : 1, each = type.getNumElements() / experts;
      std::vector<int64_t> shape(type.getShape().drop_front(stack));
      for (int64_t i = 0; i < static_cast<int64_t>(weight.getInstances()); ++i) {
        std::vector<float> all = *weights.load(weight, i);
        for (int64_t e = 0; e < experts; ++e)
          tensors[qwen::tensorName(weight, i, stack ? e : -1)] = {
              shape, std::vector<float>(all.begin() + e * each, all.begin() + (e + 1) * each)};
      }
    }
  }
  Result<hf::TensorView> find(std::string_view name) const override {
    auto found = tensors.find(std::string(name));
    if (found == tensors.end())
      return userError("expected a weight named " + std::string(name));
    const auto &[shape, values] = found->second;
    return hf::TensorView{found->first, hf::DType::F32, shape, reinterpret_cast<const std::byte *>(values.data()),
                          values.size() * 4};
  }

private:
  std::map<std::string, std::pair<std::vector<int64_t>, std::vector<float>>> tensors;
};

std::unique_ptr<mlir::MLIRContext> makeContext() {
  return std::make_unique<mlir::MLIRContext>(test::allDialects());
}

mlir::OwningOpRef<mlir::ModuleOp> import(mlir::MLIRContext &context, const Case &c) {
  auto config = hf::parseConfig(c.config, c.name);
  EXPECT_TRUE(config) << config.error().message;
  auto module = importModel(context, *config, {c.name, c.type, c.cache.value_or(c.type == ElementType::F32 ? CacheFormat::F32 : CacheFormat::BF16), 256});
  EXPECT_TRUE(module) << module.error().message;
  return module.take();
}

void fuse(mlir::ModuleOp module, bool all, const char *format = "") {
  std::vector<std::string> disabled;
  for (llvm::StringRef name : fusionNames())
    if (!all)
      disabled.push_back(name.str());
  mlir::PassManager passes(module.getContext());
  ASSERT_TRUE(buildFusePipeline(passes, disabled, {format, "", 0}));
  ASSERT_TRUE(mlir::succeeded(passes.run(module)));
}

class kernels : public testing::TestWithParam<Case> {
protected:
  std::unique_ptr<mlir::MLIRContext> context = makeContext();
};

TEST_P(kernels, compute_what_the_evaluator_computes) {
  gpu::Device device = gpu_test::deviceOf(GetParam().matrix, GetParam().subgroupSize);
  if (std::string missing = gpu_test::missingFor(device); !missing.empty())
    GTEST_SKIP() << missing;
  auto module = import(*context, GetParam());
  evaluator::RandomWeights weights(11);
  RandomSource source(*module, weights);
  bool quantized = *GetParam().format;
  mlir::OwningOpRef<mlir::ModuleOp> kept(module->clone());
  fuse(*module, GetParam().fused, GetParam().format);
  if (quantized) // the evaluator is to see the formats
    kept = mlir::OwningOpRef<mlir::ModuleOp>(module->clone());
  auto create = [&](const gpu::Device &device) {
    mlir::OwningOpRef<mlir::ModuleOp> own(module->clone());
    return gpu_test::Program::create(*own, device, source, 3, 200, GetParam().schedule);
  };
  auto program = create(device);
  ASSERT_TRUE(program) << program.error().message;
  // Four subgroups together multiply what they multiply by themselves.
  std::unique_ptr<gpu_test::Program> apart;
  if (GetParam().matrix == gpu::MatrixUnit::Wgmma && gpu_test::sumsKeepTheirOrder()) {
    auto made = create(gpu_test::deviceOf(gpu::MatrixUnit::MmaSync, 32));
    ASSERT_TRUE(made) << made.error().message;
    apart = made.take();
  }

  const std::vector<int32_t> first = {3, 41, 59, 26, 53, 58, 17, 33, 23, 64, 62, 5, 31},
                             second = {27, 18, 28, 18, 28, 45, 60, 45, 2, 8, 11, 44};
  std::vector<int32_t> third; // rows enough for several tiles, and for a dispatch of many pairs
  const int32_t fullStep = 16;
  for (int32_t i = 0; i <= GetParam().longest + fullStep; ++i)
    third.push_back(i * i % 61);
  std::vector<std::pair<evaluator::BatchRows, bool>> steps; // whether through decode
  steps.push_back({rowsOf(first, 0, 9, 0, 9), false});
  steps.push_back({rowsOf(second, 0, 4, 1, 9), false});
  steps.push_back({rowsOf(first, 9, 1, 0, 10), false});
  append(steps.back().first, rowsOf(second, 4, 3, 1, 9));
  steps.push_back({rowsOf(second, 7, 1, 1, 9), true});
  append(steps.back().first, rowsOf(first, 10, 1, 0, 11));
  steps.push_back({rowsOf(second, 8, 1, 1, 9), true});
  int32_t most = GetParam().longest - 1;
  steps.push_back({rowsOf(third, 0, most, 2, most), false});
  steps.push_back({rowsOf(third, most, 1, 2, most + 1), true});
  // A batch with a chunk of several rows through decode, a chunk through prefill behind it, and decode again.
  steps.push_back({rowsOf(first, 11, 1, 0, 12), true});
  append(steps.back().first, rowsOf(second, 9, 2, 1, 11));
  append(steps.back().first, rowsOf(third, most + 1, 1, 2, most + 2));
  steps.push_back({rowsOf(second, 11, 1, 1, 12), false});
  append(steps.back().first, rowsOf(first, 12, 1, 0, 13));
  // As many rows as decode takes.
  steps.push_back({rowsOf(third, most + 2, fullStep, 2, most + 2 + fullStep), true});
  evaluator::NamedWeights rounded([&](const std::string &name) -> Result<std::vector<float>> {
    Result<hf::TensorView> found = source.find(name);
    if (!found)
      return found.takeError();
    auto *values = reinterpret_cast<const float *>(found->data);
    return std::vector<float>(values, values + found->bytes / 4);
  });
  evaluator::WeightProvider &provider = quantized ? static_cast<evaluator::WeightProvider &>(rounded) : weights;
  evaluator::Evaluator evaluator(*kept, provider);
  RouterGaps gaps(evaluator);
  // Activations meet quantized weights in bf16. A code of a cache may round the other way.
  bool isF32 = GetParam().type == ElementType::F32, bf16 = !isF32, codes = quantized || GetParam().cache;
  double allowed = bf16 && codes ? 4e-2 : bf16 || quantized ? 1e-2 : GetParam().cache ? 1e-2 : 2e-5;
  // What rounding moves the distance of two experts by: where they are nearer, kernels may choose either. With bf16 and matrix
  // units one row of 45 takes the other one, 0.0095 away, and is 0.067 of the range from the evaluator; 0.003 from one that is made
  // to choose as the kernels did.
  double undecided = bf16 && codes ? 5e-2 : bf16 || quantized ? 2e-2 : 0;
  for (auto [number, step] : llvm::enumerate(steps)) {
    auto &[rows, decode] = step;
    for (int32_t row = static_cast<int32_t>(rows.rows()) - 1; row >= 0; row -= 2)
      rows.outputRows.push_back(row);
    gaps.clear();
    auto expected = evaluator.forward(rows);
    ASSERT_TRUE(expected) << expected.error().message;
    auto found = (*program)->forward(rows, decode);
    ASSERT_TRUE(found) << found.error().message;
    ASSERT_EQ(found->size(), expected->size());
    if (apart) {
      auto same = apart->forward(rows, decode);
      ASSERT_TRUE(same) << same.error().message;
      EXPECT_EQ(*found, *same) << "step " << number << ": subgroups by themselves";
    }
    auto [low, high] = std::minmax_element(expected->begin(), expected->end());
    size_t outputs = rows.outputRows.size(), width = outputs ? expected->size() / outputs : 0;
    for (size_t row = 0; row < outputs; ++row) {
      double most = 0, gap = gaps.of(rows.outputRows[row]);
      for (size_t i = row * width; i < (row + 1) * width; ++i) {
        double d = std::abs(static_cast<double>((*found)[i]) - (*expected)[i]);
        most = std::isfinite(d) ? std::max(most, d) : INFINITY;
      }
      EXPECT_LE(most / (static_cast<double>(*high) - *low), gap < undecided ? 0.25 : allowed)
          << "step " << number << " row " << rows.outputRows[row] << ", whose experts are " << gap << " apart";
    }
  }
}

/// The same with decode steps that are one kernel.
Case persistent(Case c) {
  c.schedule = gpu::Schedule::Persistent;
  return c;
}

using Unit = gpu::MatrixUnit;

/// Four subgroups together: heads of every length that they take, and formats of the cache, over three blocks of keys.
std::vector<Case> attentionCases() {
  struct Heads {
    int64_t length, count, kv; // a tile's rows are 21, 64, 12 and 8
  };
  const Heads h32{32, 6, 2}, h64{64, 2, 2}, h96{96, 5, 1}, h128{128, 8, 1};
  std::vector<Case> cases;
  auto add = [&](Heads heads, const char *format, std::optional<CacheFormat> cache = std::nullopt) {
    cases.push_back({"attention_" + std::to_string(heads.length) + "_" + format,
                     attentionConfig(heads.length, heads.count, heads.kv), true, 32, 135, ElementType::BF16, Unit::Wgmma, "", cache});
  };
  for (Heads heads : {h64, h128})
    add(heads, "bf16");
  for (Heads heads : {h32, h128})
    add(heads, "fp8", CacheFormat::FP8);
  for (Heads heads : {h32, h96})
    add(heads, "int8", CacheFormat::Int8);
  for (Heads heads : {h64, h96})
    add(heads, "int4", CacheFormat::Int4);
  return cases;
}
INSTANTIATE_TEST_SUITE_P(together, kernels, testing::ValuesIn(attentionCases()),
                         [](const auto &info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    on, kernels,
    testing::Values(Case{"odd_mixture_fused_32", kOddMixture, true, 32, 90}, Case{"odd_mixture_fused_64", kOddMixture, true, 64},
                    Case{"odd_mixture_unfused_32", kOddMixture, false, 32},
                    Case{"odd_mixture_unfused_64", kOddMixture, false, 64},
                    Case{"odd_mixture_bf16_32", kOddMixture, true, 32, 90, ElementType::BF16, Unit::MmaSync},
                    Case{"odd_mixture_bf16_64", kOddMixture, true, 64, 20, ElementType::BF16},
                    Case{"wide_heads_fused_32", kWideHeads, true, 32}, Case{"wide_heads_unfused_64", kWideHeads, false, 64},
                    Case{"wide_heads_mma_sync", kWideHeads, true, 32, 20, ElementType::BF16, Unit::MmaSync},
                    Case{"wide_heads_mfma", kWideHeads, true, 64, 20, ElementType::BF16, Unit::Mfma},
                    Case{"odd_pieces_mma_sync", kOddPieces, true, 32, 90, ElementType::BF16, Unit::MmaSync},
                    Case{"odd_pieces_mfma", kOddPieces, true, 64, 90, ElementType::BF16, Unit::Mfma},
                    Case{"odd_pieces_wgmma", kOddPieces, true, 32, 90, ElementType::BF16, Unit::Wgmma},
                    Case{"odd_pieces_unfused_wgmma", kOddPieces, false, 32, 90, ElementType::BF16, Unit::Wgmma},
                    Case{"odd_mixture_wgmma", kOddMixture, true, 32, 90, ElementType::BF16, Unit::Wgmma},
                    Case{"odd_mixture_int4_wgmma", kOddMixture, true, 32, 90, ElementType::BF16, Unit::Wgmma, "int4:32"},
                    Case{"odd_pieces_wmma11", kOddPieces, true, 32, 90, ElementType::BF16, Unit::Wmma11},
                    Case{"odd_mixture_int8_32", kOddMixture, true, 32, 20, ElementType::F32, Unit::None, "int8"},
                    Case{"odd_mixture_int4_mma_sync", kOddMixture, true, 32, 90, ElementType::BF16, Unit::MmaSync, "int4:32"},
                    Case{"odd_mixture_int4z_unfused_64", kOddMixture, false, 64, 20, ElementType::F32, Unit::None, "int4z:32"},
                    Case{"odd_mixture_mxfp4_64", kOddMixture, true, 64, 20, ElementType::F32, Unit::None, "mxfp4"},
                    Case{"odd_mixture_nvfp4_mfma", kOddMixture, true, 64, 90, ElementType::BF16, Unit::Mfma, "nvfp4"},
                    Case{"wide_heads_fp8_32", kWideHeads, true, 32, 20, ElementType::F32, Unit::None, "fp8"},
                    Case{"wide_heads_int4_64", kWideHeads, true, 64, 20, ElementType::F32, Unit::None, "int4"},
                    Case{"odd_mixture_int8_cache_32", kOddMixture, true, 32, 20, ElementType::F32, Unit::None, "", CacheFormat::Int8},
                    Case{"odd_mixture_fp8_cache_64", kOddMixture, true, 64, 20, ElementType::F32, Unit::None, "", CacheFormat::FP8},
                    Case{"odd_mixture_int4_cache_32", kOddMixture, true, 32, 20, ElementType::F32, Unit::None, "", CacheFormat::Int4},
                    Case{"wide_heads_int4_cache_unfused_64", kWideHeads, false, 64, 20, ElementType::F32, Unit::None, "", CacheFormat::Int4},
                    Case{"odd_mixture_int4_cache_mma_sync", kOddMixture, true, 32, 90, ElementType::BF16, Unit::MmaSync, "", CacheFormat::Int4},
                    Case{"odd_mixture_fp8_cache_mfma", kOddMixture, true, 64, 90, ElementType::BF16, Unit::Mfma, "", CacheFormat::FP8},
                    Case{"many_experts_32", manyExperts(128), true, 32}, Case{"many_experts_64", manyExperts(520), true, 64},
                    Case{"many_experts_bf16_mma_sync", manyExperts(128), true, 32, 20, ElementType::BF16, Unit::MmaSync},
                    persistent({"many_experts_persistent_32", manyExperts(128), true, 32}),
                    persistent({"odd_mixture_persistent_32", kOddMixture, true, 32}),
                    persistent({"odd_mixture_unfused_persistent_64", kOddMixture, false, 64}),
                    persistent({"wide_heads_persistent_64", kWideHeads, true, 64}),
                    persistent({"odd_pieces_persistent_mma_sync", kOddPieces, true, 32, 20, ElementType::BF16, Unit::MmaSync}),
                    persistent({"odd_mixture_int4_persistent_32", kOddMixture, true, 32, 20, ElementType::F32, Unit::None, "int4:32"}),
                    persistent({"odd_mixture_fp8_cache_persistent_64", kOddMixture, true, 64, 20, ElementType::F32, Unit::None, "",
                                CacheFormat::FP8})),
    [](const auto &info) { return info.param.name; });

// The list and the tests do not drift apart: each program is in a module that is compared above.
TEST(tile_programs, are_all_compared) {
  auto context = makeContext();
  std::set<std::string> found;
  for (bool all : {true, false}) {
    auto module = import(*context, {"mixture", kOddMixture, all, 32});
    fuse(*module, all);
    module->walk([&](mlir::Operation *op) { found.insert(op->getName().getStringRef().str()); });
  }
  found.insert("qwen.attention_combine"); // planning makes it of attention, in decode
  found.insert("qwen.router_dispatch");   // and this of router and dispatch
  found.insert("qwen.sample");            // planning adds it; sample_test.cpp compares it
  for (const gpu::TileProgram &program : gpu::tilePrograms())
    EXPECT_TRUE(found.contains(program.op.str())) << program.op.str();
}

} // namespace
} // namespace qwench
