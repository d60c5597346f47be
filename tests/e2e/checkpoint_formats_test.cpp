// Compiled models that keep the codes of a quantized checkpoint: weights are then exactly those that transformers' fp32 run
// of the golden set had, and only activations are rounded. (golden_test.cpp compiles the same checkpoints to f32 and bf16.)
#include "tests/e2e/golden.h"
#include "tests/e2e/npy.h"
#include "tests/e2e/process.h"
#include "tests/e2e/shared_model.h"
#include "tests/reference/logits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>

using namespace qwench;
using namespace qwench::e2e;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

namespace {

std::vector<std::string> quantizedModels() {
  std::vector<std::string> names;
  for (const auto &[name, entry] : manifest()["models"].items())
    if (entry.contains("quantized"))
      names.push_back(name);
  return names;
}

/// Mean KL from the goldens over all kept positions.
double meanDivergence(const SharedObject &object, const std::string &model) {
  ModelSession session(object, 2);
  double sum = 0;
  int64_t rows = 0;
  json golden = readJson(goldenModel(model) + "/golden.json");
  for (const auto &[name, entry] : golden.items()) {
    std::string stem = goldenModel(model) + "/" + name;
    Array<float> logits = readFloats(stem + ".logits.npy");
    session.empty(0);
    Logits found = session.prefill(0, readIds(stem + ".ids.npy").values);
    std::vector<int64_t> positions = entry["positions"];
    for (size_t i = 0; i < positions.size(); i++, rows++)
      sum += divergence(logits.row(i), found.row(positions[i]));
  }
  return sum / static_cast<double>(rows);
}

class CheckpointFormats : public testing::TestWithParam<std::string> {
protected:
  void compile() { ASSERT_NO_FATAL_FAILURE(compile(GetParam(), {})); }
  void compile(const std::string &model, const std::vector<std::string> &more) {
    std::vector<std::string> arguments{"compile", goldenModel(model), "-o", scratch / "model.so", "--emit", "shared",
                                       "--no-tokenizer", "--max-context", "512", "-j", "1", "--kv-dtype", "f32"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    Outcome outcome = runTool(arguments);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    warnings = outcome.err;
  }

  Scratch scratch;
  std::string warnings;
};

TEST_P(CheckpointFormats, OnlyActivationsAreRounded) {
  ASSERT_NO_FATAL_FAILURE(compile());
  double kl = meanDivergence(SharedObject(scratch / "model.so"), GetParam());
  RecordProperty("mean_kl", std::to_string(kl));
  // fp8 meets bf16 activations: the error of a bf16 model. Integers meet activations of 8 bits with a scale for each group: a step
  // is 2^-7 of the group's largest where that of bf16 is 2^-8 of each number, which a mean over numbers makes less than
  // twice; divergence goes with the square of errors, and half of them, those of storing between ops, fall away.
  double bf16 = manifest()["models"][GetParam()]["bf16_kl_mean"];
  bool fp8 = manifest()["models"][GetParam()]["quantized"] == "fp8";
  EXPECT_LE(kl, (fp8 ? 1.5 : 3) * bf16) << "transformers' own bf16 run: " << bf16;
  bool declines = GetParam().find("act-order") != std::string::npos || GetParam() == "awq-moe";
  if (declines)
    EXPECT_THAT(warnings, HasSubstr("dequantized to bf16"));
  else
    EXPECT_THAT(warnings, Not(HasSubstr("dequantized")));
}

/// docs/command-line.md: of the small formats int8 is the one that keeps an act-order checkpoint what it is.
TEST_F(CheckpointFormats, ActOrderBecomesInt8AtLittleCost) {
  const std::string model = "gptq-act-order";
  std::map<std::string, double> kl;
  for (const char *format : {"int8", "int4z:16"}) {
    ASSERT_NO_FATAL_FAILURE(compile(model, {"--dtype", format}));
    kl[format] = meanDivergence(SharedObject(scratch / "model.so"), model);
    RecordProperty(format, std::to_string(kl[format]));
    std::cout << format << " " << kl[format] << "\n";
  }
  EXPECT_THAT(warnings, Not(HasSubstr("dequantized")));
  EXPECT_LE(kl["int8"], 10 * manifest()["models"][model]["bf16_kl_mean"].get<double>());
  EXPECT_LE(5 * kl["int8"], kl["int4z:16"]);
}

INSTANTIATE_TEST_SUITE_P(Models, CheckpointFormats, testing::ValuesIn(quantizedModels()), [](const auto &info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

} // namespace
