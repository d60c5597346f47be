// The imported model, evaluated, is what transformers computes in fp32, and so is the fused one.
#include "passes/Pipelines.h"
#include "tests/reference/logits.h"
#include "tests/reference/model.h"

#include "mlir/Pass/PassManager.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace qwench {
namespace {

class reference : public testing::TestWithParam<std::string> {
protected:
  void SetUp() override {
    Result<hf::Checkpoint> checkpoint = openGolden(GetParam());
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    weights.emplace(checkpointWeights(*checkpoint));
    auto imported = importGolden(context, GetParam(), ElementType::F32, CacheFormat::F32);
    ASSERT_TRUE(imported) << imported.error().message;
    module = imported.take();
    auto read = goldenPrompts(GetParam());
    ASSERT_TRUE(read) << read.error().message;
    prompts = read.take();
    ASSERT_FALSE(prompts.empty());
  }

  evaluator::Evaluator evaluator() { return {*module, *weights}; }

  /// Every kept position of a prompt, evaluated in one go, agrees with transformers.
  void expectLogits(const Prompt &prompt) {
    evaluator::BatchRows rows = rowsOf(prompt.tokens, 0, prompt.tokens.size(), 0, prompt.tokens.size());
    rows.outputRows = prompt.positions;
    auto logits = evaluator().forward(rows);
    ASSERT_TRUE(logits) << logits.error().message;
    ASSERT_EQ(logits->size(), prompt.logits.size());
    size_t vocabulary = logits->size() / prompt.positions.size();
    for (size_t row = 0; row < prompt.positions.size(); ++row)
      EXPECT_LE(difference(std::span(*logits).subspan(row * vocabulary, vocabulary),
                           std::span(prompt.logits).subspan(row * vocabulary, vocabulary)),
                1e-4)
          << prompt.name << " position " << prompt.positions[row];
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::optional<evaluator::NamedWeights> weights;
  std::vector<Prompt> prompts;
};

TEST_P(reference, logits_are_within_1e_4_of_the_rows_range) {
  for (const Prompt &prompt : prompts)
    expectLogits(prompt);
}

TEST_P(reference, logits_of_the_fused_module_are_too) {
  mlir::PassManager passes(&context);
  ASSERT_TRUE(buildFusePipeline(passes, {}));
  ASSERT_TRUE(mlir::succeeded(passes.run(*module)));
  for (const Prompt &prompt : prompts)
    if (prompt.tokens.size() < 300)
      expectLogits(prompt);
}

TEST_P(reference, greedy_continuation_with_the_cache_is_the_same) {
  for (const Prompt &prompt : prompts) {
    if (prompt.tokens.size() > 32)
      continue;
    evaluator::Evaluator decoder = evaluator();
    std::vector<int32_t> tokens = prompt.tokens;
    size_t done = 0;
    for (size_t step = 0; step < prompt.greedy.size(); ++step) {
      evaluator::BatchRows rows = rowsOf(tokens, done, tokens.size() - done, 0, tokens.size());
      done = tokens.size();
      rows.outputRows = {static_cast<int32_t>(rows.rows()) - 1};
      auto logits = decoder.forward(rows);
      ASSERT_TRUE(logits) << logits.error().message;
      auto best = std::max_element(logits->begin(), logits->end());
      if (prompt.greedyGap[step] < 1e-3)
        break;
      ASSERT_EQ(best - logits->begin(), prompt.greedy[step]) << prompt.name << " step " << step;
      tokens.push_back(prompt.greedy[step]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(golden, reference, testing::ValuesIn(goldenModels()), [](const auto &info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

} // namespace
} // namespace qwench
