// Whatever fusions run, a model computes the same: every fusion alone, all, all but one, and none, on the
// configurations of golden models with pseudo-random weights.
#include "dialects/tensor_names.h"
#include "passes/Pipelines.h"
#include "tests/reference/logits.h"
#include "tests/reference/model.h"

#include "mlir/Pass/PassManager.h"
#include "llvm/Support/raw_ostream.h"
#include <gtest/gtest.h>

#include <algorithm>

namespace qwench {
namespace {

/// Pseudo-random weights, each made once.
class Weights : public evaluator::WeightProvider {
public:
  Result<std::vector<float>> load(qwen::WeightOp weight, int64_t instance) override {
    auto [entry, fresh] = known.try_emplace(qwen::tensorName(weight, instance, -1));
    if (fresh)
      entry->second = *random.load(weight, instance);
    return entry->second;
  }

private:
  evaluator::RandomWeights random{7};
  std::map<std::string, std::vector<float>> known;
};

/// Logits of steps that mix a prefill in one go, a prefill in chunks, and decodes, of two sequences in two
/// slots. The second one's context is long, so that dynamic and longrope scaling take part.
Result<std::vector<float>> logitsOf(mlir::ModuleOp module, evaluator::WeightProvider &weights) {
  const std::vector<int32_t> first = {3, 141, 59, 26, 53, 58, 97, 93, 23, 84, 62},
                             second = {27, 18, 28, 18, 28, 45, 90, 45, 2};
  constexpr int32_t longContext = 1000;
  std::vector<evaluator::BatchRows> steps;
  steps.push_back(rowsOf(first, 0, 9, 0, 9));
  steps.push_back(rowsOf(second, 0, 4, 1, longContext));
  steps.push_back(rowsOf(first, 9, 1, 0, 10));
  append(steps.back(), rowsOf(second, 4, 3, 1, longContext));
  for (size_t i : {0u, 1u}) {
    steps.push_back(rowsOf(second, 7 + i, 1, 1, longContext));
    if (i == 0)
      append(steps.back(), rowsOf(first, 10, 1, 0, 11));
  }
  evaluator::Evaluator evaluator(module, weights);
  std::vector<float> all;
  for (evaluator::BatchRows &step : steps) {
    for (int32_t row = static_cast<int32_t>(step.rows()) - 1; row >= 0; row -= 2)
      step.outputRows.push_back(row);
    auto logits = evaluator.forward(step);
    if (!logits)
      return logits.takeError();
    all.insert(all.end(), logits->begin(), logits->end());
  }
  return all;
}

std::string print(mlir::ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream(text) << module;
  return text;
}

class fusion : public testing::TestWithParam<std::string> {
protected:
  void SetUp() override {
    auto imported = importGolden(context, GetParam(), ElementType::BF16, CacheFormat::F32);
    ASSERT_TRUE(imported) << imported.error().message;
    module = imported.take();
    auto logits = logitsOf(*module, weights);
    ASSERT_TRUE(logits) << logits.error().message;
    expected = logits.take();
  }

  /// Runs all fusions but `disabled`, compares, and returns the fused module's text.
  std::string check(const std::vector<std::string> &disabled) {
    mlir::OwningOpRef<mlir::ModuleOp> fused = module->clone();
    mlir::PassManager passes(&context);
    EXPECT_TRUE(buildFusePipeline(passes, disabled));
    EXPECT_TRUE(mlir::succeeded(passes.run(*fused)));
    auto found = logitsOf(*fused, weights);
    EXPECT_TRUE(found) << found.error().message;
    if (!found)
      return "no logits";
    EXPECT_LE(difference(*found, expected), 1e-5) << "without " << llvm::join(disabled, ", ");
    return print(*fused);
  }

  std::vector<std::string> namesBut(llvm::StringRef spared) {
    std::vector<std::string> names;
    for (llvm::StringRef name : fusionNames())
      if (name != spared)
        names.push_back(name.str());
    return names;
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  Weights weights;
  std::vector<float> expected;
};

class every_subset : public fusion {};

TEST_P(fusion, all_together_and_none_agree_with_the_model) {
  std::string all = check({}), none = check(namesBut(""));
  for (const char *op : {"qwen.qk_norm_rope_cache", "qwen.fused_linear"}) {
    EXPECT_NE(all.find(op), std::string::npos) << op;
    EXPECT_EQ(none.find(op), std::string::npos) << op;
  }
  for (const char *op :
       {"qwen.cache_write", "tensor.extract_slice", "qwen.add", "qwen.swiglu", "qwen.router", "qwen.combine"})
    EXPECT_EQ(all.find(op), std::string::npos) << op;
}

TEST_P(fusion, each_alone_agrees_with_the_model) {
  std::string none = check(namesBut("")), text = print(*module);
  bool dense = text.find("@dense") != std::string::npos, moe = text.find("@moe") != std::string::npos;
  for (llvm::StringRef name : fusionNames()) {
    bool applies = name == "fuse-rope-cache" ? false // needs fuse-qkv
                   : name == "fuse-swiglu"   ? dense
                   : name == "fuse-router" || name == "fuse-grouped-swiglu" || name == "fuse-combine" ? moe
                                                                                                      : true;
    EXPECT_EQ(check(namesBut(name)) != none, applies) << name.str();
  }
}

TEST_P(fusion, all_but_one_agree_with_the_model) {
  for (llvm::StringRef name : fusionNames())
    check({name.str()});
}

// The one model with every kind of layer goes through every subset.
TEST_P(every_subset, agrees_with_the_model) {
  for (unsigned bits = 0; bits < 1u << fusionNames().size(); ++bits) {
    std::vector<std::string> disabled;
    for (auto [i, name] : llvm::enumerate(fusionNames()))
      if (bits >> i & 1)
        disabled.push_back(name.str());
    check(disabled);
  }
}
INSTANTIATE_TEST_SUITE_P(fusion, every_subset, testing::Values("moe-mlp-only"));

// One of each switch that a fusion could trip over.
INSTANTIATE_TEST_SUITE_P(model, fusion,
                         testing::Values("dense-base", "dense-bias", "dense-hd96", "dense-sliding-upper",
                                         "dense-tied", "dense-wide-gqa", "moe-base", "moe-bias-hd64",
                                         "moe-every-expert", "moe-mlp-only", "moe-odd-sizes", "moe-sliding",
                                         "moe-sparse-step", "moe-top1", "rope-dynamic", "rope-longrope",
                                         "rope-yarn"),
                         [](const auto &info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

} // namespace
} // namespace qwench
