// However a model is compiled, it is the same model: without each fusion and without all of them, and for CPUs without
// products of bf16 and without AVX-512.
#include "tests/e2e/golden.h"
#include "tests/e2e/npy.h"
#include "tests/e2e/process.h"
#include "tests/reference/logits.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <ostream>

using namespace qwench;
using namespace qwench::e2e;
using nlohmann::json;

namespace {

struct Variant {
  std::string model, dtype;
  std::vector<std::string> options;
};

const char *const fusions[] = {"fuse-qkv",            "fuse-rope-cache", "fuse-swiglu", "fuse-router",
                               "fuse-grouped-swiglu", "fuse-combine",    "fuse-norm",   "fuse-residual"};

std::vector<Variant> variants() {
  std::vector<Variant> result;
  for (std::string model : {"moe-base", "dense-bias"}) {
    std::string all;
    for (std::string fusion : fusions) {
      all += (all.empty() ? "" : ",") + fusion;
      result.push_back({model, "f32", {"--disable-fusion", fusion}});
    }
    for (std::string dtype : {"f32", "bf16"}) {
      result.push_back({model, dtype, {"--disable-fusion", all}});
      result.push_back({model, dtype, {"--cpu", "x86-64-v4"}});
      result.push_back({model, dtype, {"--cpu", "x86-64-v3"}});
      result.push_back({model, dtype, {"--cpu", "x86-64-v3", "--disable-fusion", all}});
    }
  }
  return result;
}

void PrintTo(const Variant &v, std::ostream *out) { *out << v.model << " " << v.dtype; }

} // namespace

class Variants : public testing::TestWithParam<Variant> {};

TEST_P(Variants, ComputeWhatTransformersComputes) {
  const Variant &v = GetParam();
  Scratch scratch;
  std::vector<std::string> command = {"compile", goldenModel(v.model), "-o", scratch / "model", "--no-tokenizer",
                                      "--max-context", "1024", "-j", "1", "--dtype", v.dtype, "--kv-dtype", v.dtype};
  command.insert(command.end(), v.options.begin(), v.options.end());
  Outcome compiled = runTool(command);
  ASSERT_EQ(compiled.code, 0) << compiled.err;
  json golden = readJson(goldenModel(v.model) + "/golden.json");
  double sum = 0;
  int64_t rows = 0;
  for (const auto &[name, entry] : golden.items()) {
    std::string stem = goldenModel(v.model) + "/" + name, tokens;
    for (int32_t id : readIds(stem + ".ids.npy").values)
      tokens += (tokens.empty() ? "" : ",") + std::to_string(id);
    Outcome ran = run({scratch / "model", "logits", "--tokens", tokens, "-o", scratch / "out.npy"});
    if (ran.code == 1 && ran.err.find("CPU") != std::string::npos)
      GTEST_SKIP() << ran.err;
    ASSERT_EQ(ran.code, 0) << ran.err;
    Array<float> found = readFloats(scratch / "out.npy"), expected = readFloats(stem + ".logits.npy");
    int64_t vocab = expected.shape[1];
    ASSERT_EQ(found.shape[1], vocab);
    for (size_t i = 0; i < entry["positions"].size(); i++, rows++) {
      std::span<const float> row = found.row(entry["positions"][i]);
      if (v.dtype == "f32")
        ASSERT_LE(difference(row, expected.row(i)), 1e-4) << name << " row " << i;
      sum += divergence(expected.row(i), row);
    }
  }
  ASSERT_GT(rows, 0);
  if (v.dtype == "bf16")
    EXPECT_LE(sum / rows, 1.5 * manifest()["models"][v.model]["bf16_kl_mean"].get<double>());
}

INSTANTIATE_TEST_SUITE_P(Models, Variants, testing::ValuesIn(variants()), [](const auto &info) {
  std::string name = info.param.model + "_" + info.param.dtype;
  for (const std::string &option : info.param.options)
    if (std::count(option.begin(), option.end(), ',') > 2)
      name += "_all";
    else if (option != "--cpu" && option != "--disable-fusion")
      name += (option.starts_with("fuse-") ? "_without_" : "_") + option;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});
