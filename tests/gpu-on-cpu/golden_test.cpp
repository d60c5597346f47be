// The kernels of the GPU backends, run on the CPU thread by thread, compute what transformers computes: whole golden
// models, for subgroups of 32 and of 64 lanes, through prefill and through decode.
#include "passes/Pipelines.h"
#include "runtime/core/random.h"
#include "runtime/core/sampler.h"
#include "tests/differential/all_dialects.h"
#include "tests/gpu-on-cpu/checkpoint_source.h"
#include "tests/gpu-on-cpu/program.h"
#include "tests/reference/logits.h"
#include "tests/reference/model.h"

#include "mlir/Pass/PassManager.h"
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

namespace qwench {
namespace {

struct Case {
  std::string model;
  ElementType type;
  int64_t subgroupSize;
  gpu::MatrixUnit matrix = gpu::MatrixUnit::None;
  gpu::Schedule schedule = gpu::Schedule::Graph;
  bool dependent = false; ///< launches
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.model; }

/// One of each switch that a kernel could trip over.
std::vector<Case> cases() {
  std::vector<Case> list;
  for (const char *name : {"dense-base", "dense-bias", "dense-hd96", "dense-one-layer", "dense-sliding-upper", "dense-wide-gqa",
                           "moe-every-expert", "moe-hd128-one-layer", "moe-many-experts", "moe-mlp-only", "moe-odd-sizes",
                           "moe-top1", "rope-dynamic", "rope-longrope", "rope-yarn"})
    list.push_back({name, ElementType::F32, list.size() % 2 ? 64 : 32});
  using Unit = gpu::MatrixUnit;
  list.push_back({"dense-wide-gqa", ElementType::BF16, 32});
  for (Unit unit : {Unit::MmaSync, Unit::Mfma, Unit::Wmma11, Unit::Wmma12})
    list.push_back({"moe-base", ElementType::BF16, unit == Unit::Mfma ? 64 : 32, unit});
  list.push_back({"moe-odd-sizes", ElementType::BF16, 32, Unit::MmaSync});
  for (const char *name : {"moe-base", "moe-odd-sizes", "dense-hd128", "dense-hd96", "dense-sliding-upper"})
    list.push_back({name, ElementType::BF16, 32, Unit::Wgmma});
  list.push_back({"dense-bias", ElementType::BF16, 64, Unit::Mfma});
  list.push_back({"dense-hd128", ElementType::BF16, 32, Unit::Wmma11});
  for (const char *name : {"dense-base", "dense-sliding-upper", "moe-mlp-only", "moe-odd-sizes"})
    for (int64_t size : {32, 64})
      list.push_back({name, ElementType::F32, size, Unit::None, gpu::Schedule::Persistent});
  list.push_back({"moe-base", ElementType::BF16, 32, Unit::MmaSync, gpu::Schedule::Persistent});
  list.push_back({"moe-base", ElementType::BF16, 64, Unit::Mfma, gpu::Schedule::Persistent});
  for (const char *name : {"dense-base", "dense-sliding-upper", "moe-odd-sizes"})
    list.push_back({name, ElementType::F32, 32, Unit::None, gpu::Schedule::Graph, /*dependent=*/true});
  for (Unit unit : {Unit::MmaSync, Unit::Wgmma})
    list.push_back({"moe-base", ElementType::BF16, 32, unit, gpu::Schedule::Graph, /*dependent=*/true});
  return list;
}

class golden : public testing::TestWithParam<Case> {
protected:
  void SetUp() override {
    context.appendDialectRegistry(test::allDialects());
    auto imported = importGolden(context, GetParam().model, GetParam().type,
                                 isF32() ? CacheFormat::F32 : CacheFormat::BF16);
    ASSERT_TRUE(imported) << imported.error().message;
    module = imported.take();
    mlir::PassManager passes(&context);
    ASSERT_TRUE(buildFusePipeline(passes, {}));
    ASSERT_TRUE(mlir::succeeded(passes.run(*module)));
    Result<hf::Checkpoint> checkpoint = hf::Checkpoint::open(goldenDirectory(GetParam().model));
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    CheckpointSource source(*checkpoint);
    gpu::Device device = gpu_test::deviceOf(GetParam().matrix, GetParam().subgroupSize);
    device.dependentLaunches = GetParam().dependent;
    auto made = gpu_test::Program::create(*module, device, source, 2, 384, GetParam().schedule);
    ASSERT_TRUE(made) << made.error().message;
    program = made.take();
    auto read = goldenPrompts(GetParam().model);
    ASSERT_TRUE(read) << read.error().message;
    prompts = read.take();
  }

  /// Rope types differ behind a boundary of about 128; other long prompts only take long.
  size_t longest() const {
    return GetParam().model.starts_with("rope") ? 140 : 64;
  }

  bool isF32() const { return GetParam().type == ElementType::F32; }

  /// Rows of a prompt from `first` on, with the outputs that transformers' logits are known of.
  static evaluator::BatchRows chunkOf(const Prompt &prompt, size_t first, size_t count, int32_t slot) {
    evaluator::BatchRows rows = rowsOf(prompt.tokens, first, count, slot, prompt.tokens.size());
    for (int32_t position : prompt.positions)
      if (position >= static_cast<int32_t>(first) && position < static_cast<int32_t>(first + count))
        rows.outputRows.push_back(position - static_cast<int32_t>(first));
    return rows;
  }

  /// Logits [positions, V] of a prompt whose last `decoded` rows go through decode one by one.
  std::vector<float> logitsOf(const Prompt &prompt, int32_t slot, size_t decoded) {
    size_t n = prompt.tokens.size();
    std::vector<float> all;
    auto step = [&](size_t first, size_t count, bool decode) {
      evaluator::BatchRows rows = chunkOf(prompt, first, count, slot);
      auto logits = program->forward(rows, decode);
      ASSERT_TRUE(logits) << prompt.name << ": " << logits.error().message;
      all.insert(all.end(), logits->begin(), logits->end());
    };
    if (n > decoded)
      step(0, n - decoded, false);
    for (size_t at = n - std::min(n, decoded); at < n; ++at)
      step(at, 1, true);
    return all;
  }

  void compare(const Prompt &prompt, const std::vector<float> &found) {
    ASSERT_EQ(found.size(), prompt.logits.size()) << prompt.name;
    size_t vocabulary = found.size() / prompt.positions.size();
    for (size_t row = 0; row < prompt.positions.size(); ++row) {
      auto ours = std::span(found).subspan(row * vocabulary, vocabulary);
      auto theirs = std::span(prompt.logits).subspan(row * vocabulary, vocabulary);
      if (isF32())
        EXPECT_LE(difference(ours, theirs), 1e-4) << prompt.name << " position " << prompt.positions[row];
      divergences.push_back(divergence(theirs, ours));
    }
  }

  /// Mean KL of transformers' own bf16 run.
  double bf16Divergence() const {
    std::ifstream stream(QWENCH_SOURCE_DIR "/tests/golden/manifest.json");
    return nlohmann::json::parse(stream)["models"][GetParam().model]["bf16_kl_mean"];
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::unique_ptr<gpu_test::Program> program;
  std::vector<Prompt> prompts;
  std::vector<double> divergences;
};

TEST_P(golden, logits_are_those_of_transformers) {
  int32_t slot = 0;
  for (const Prompt &prompt : prompts) {
    if (prompt.tokens.size() > longest())
      continue;
    compare(prompt, logitsOf(prompt, slot, 0));
    slot = 1 - slot;
    compare(prompt, logitsOf(prompt, slot, 3));
    if (HasFatalFailure())
      return;
  }
  double sum = 0;
  for (double d : divergences)
    sum += d;
  RecordProperty("mean_kl", std::to_string(sum / divergences.size()));
  EXPECT_LE(sum / divergences.size(), isF32() ? 1e-6 : 1.5 * bf16Divergence());
}

class golden_batches : public golden {};

/// The first `count` tokens of a prompt, and what is known of them.
Prompt headOf(Prompt prompt, size_t count) {
  if (prompt.tokens.size() <= count)
    return prompt;
  const size_t vocabulary = prompt.logits.size() / prompt.positions.size();
  prompt.tokens.resize(count);
  std::erase_if(prompt.positions, [&](int32_t position) { return position >= static_cast<int32_t>(count); });
  prompt.logits.resize(prompt.positions.size() * vocabulary);
  return prompt;
}

// Two prompts side by side: the first rows through prefill, then chunks of both in one decode step, of several rows and of one.
TEST_P(golden_batches, are_those_of_transformers) {
  std::vector<Prompt> pair;
  for (const Prompt &prompt : prompts)
    if (prompt.tokens.size() > 8 && pair.size() < 2)
      pair.push_back(headOf(prompt, 50));
  ASSERT_EQ(pair.size(), 2u);
  std::vector<float> found[2];
  size_t done[2] = {};
  auto step = [&](size_t rest, bool decode) { // what then remains of each
    evaluator::BatchRows rows;
    size_t outputs[2];
    for (int i : {0, 1}) {
      size_t count = pair[i].tokens.size() - rest - done[i];
      evaluator::BatchRows chunk = chunkOf(pair[i], done[i], count, i);
      outputs[i] = chunk.outputRows.size();
      append(rows, chunk);
      done[i] += count;
    }
    auto logits = program->forward(rows, decode);
    ASSERT_TRUE(logits) << logits.error().message;
    size_t all = outputs[0] + outputs[1], first = all ? logits->size() / all * outputs[0] : 0;
    found[0].insert(found[0].end(), logits->begin(), logits->begin() + first);
    found[1].insert(found[1].end(), logits->begin() + first, logits->end());
  };
  for (size_t rest : {5, 2, 1, 0})
    step(rest, /*decode=*/rest < 5);
  for (int i : {0, 1})
    compare(pair[i], found[i]);
}

class golden_tokens : public golden {};

TEST_P(golden_tokens, are_those_of_transformers_and_of_the_runtime) {
  const QwenchSampling sampling = {0.8f, 20, 0.95f, 0.02f, 0};
  Random random(7);
  std::vector<Candidate> scratch;
  size_t compared = 0;
  for (const Prompt &prompt : prompts) {
    if (prompt.tokens.size() > 32)
      continue;
    std::vector<int32_t> tokens = prompt.tokens;
    for (size_t step = 0, done = 0; step < prompt.greedy.size() && prompt.greedyGap[step] >= 1e-3; ++step) {
      evaluator::BatchRows rows = rowsOf(tokens, done, tokens.size() - done, 0, tokens.size());
      rows.outputRows = {static_cast<int32_t>(rows.rows()) - 1};
      auto logits = program->forward(rows, /*decode=*/done > 0);
      ASSERT_TRUE(logits) << logits.error().message;
      const auto vocabulary = static_cast<int64_t>(logits->size());
      const double uniform = random.uniform();
      auto drawn = program->sample({{0, static_cast<double>(vocabulary), 0, 0, 0, 1, 0},
                                    {0, static_cast<double>(vocabulary), uniform, sampling.temperature,
                                     static_cast<double>(sampling.top_k), sampling.top_p, sampling.min_p}},
                                   *logits, vocabulary);
      ASSERT_TRUE(drawn) << drawn.error().message;
      EXPECT_EQ((*drawn)[0], prompt.greedy[step]) << prompt.name << " step " << step;
      EXPECT_EQ((*drawn)[1], drawToken(logits->data(), vocabulary, sampling, uniform, scratch)) << prompt.name << " step " << step;
      done = tokens.size();
      tokens.push_back(prompt.greedy[step]);
      ++compared;
    }
  }
  EXPECT_GT(compared, 10u);
}

std::string nameOf(const testing::TestParamInfo<Case> &info) {
  std::string name = info.param.model + (info.param.type == ElementType::F32 ? "_f32_" : "_bf16_") +
                     std::to_string(info.param.subgroupSize) + gpu_test::suffixOf(info.param.matrix) +
                     (info.param.schedule == gpu::Schedule::Persistent ? "_persistent" : "") + (info.param.dependent ? "_dependent" : "");
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(model, golden, testing::ValuesIn(cases()), nameOf);
INSTANTIATE_TEST_SUITE_P(model, golden_batches,
                         testing::Values(Case{"dense-sliding-upper", ElementType::F32, 32, gpu::MatrixUnit::None, gpu::Schedule::Persistent},
                                         Case{"moe-odd-sizes", ElementType::F32, 64, gpu::MatrixUnit::None, gpu::Schedule::Persistent},
                                         Case{"moe-base", ElementType::F32, 32}),
                         nameOf);
INSTANTIATE_TEST_SUITE_P(model, golden_tokens,
                         testing::Values(Case{"dense-base", ElementType::F32, 32}, Case{"moe-odd-sizes", ElementType::F32, 64}), nameOf);

} // namespace
} // namespace qwench
