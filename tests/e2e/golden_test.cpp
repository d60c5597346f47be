// Compiled models compute what transformers computes (tests/golden/README.md says what is asked), and the
// ways to the same position agree: prefill and decode, whole and in chunks, alone and in a batch, with 1, 2
// and 3 threads.
#include "tests/e2e/golden.h"
#include "tests/e2e/machine.h"
#include "tests/e2e/npy.h"
#include "tests/e2e/process.h"
#include "tests/e2e/shared_model.h"
#include "tests/reference/logits.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>

using namespace qwench;
using namespace qwench::e2e;
using nlohmann::json;

namespace {

struct Case {
  std::string model, dtype;
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.model << " " << c.dtype; }

/// Every model in f32, and those with bfloat16 checkpoints in bf16, too.
std::vector<Case> cases() {
  std::vector<Case> result;
  for (const auto &[name, entry] : manifest()["models"].items()) {
    result.push_back({name, "f32"});
    if (entry["dtype"] == "bfloat16")
      result.push_back({name, "bf16"});
  }
  return result;
}

/// Of all rows.
double largestDifference(const Logits &found, const Logits &expected) {
  if (found.values.size() != expected.values.size())
    return INFINITY;
  double most = 0;
  for (int64_t i = 0; i < expected.rows(); i++)
    most = std::max(most, difference(found.row(i), expected.row(i)));
  return most;
}

struct Prompt {
  std::string name;
  std::vector<int32_t> ids;
  Array<float> logits;
  std::vector<int64_t> positions;
  std::vector<int32_t> greedy;
  std::vector<double> gaps;
  std::vector<double> routerGaps; // per greedy step; empty where no expert is ever left out

  /// Whether rounding decides step i of the greedy run: between tokens or, in bf16, between experts.
  bool undecided(size_t i, bool f32, double spread) const {
    return gaps[i] <= (f32 ? 1e-4 * spread : 0.15) || (!f32 && !routerGaps.empty() && routerGaps[i] < 0.1);
  }
};

std::vector<Prompt> prompts(const std::string &model) {
  std::vector<Prompt> result;
  json golden = readJson(goldenModel(model) + "/golden.json");
  for (const auto &[name, entry] : golden.items()) {
    std::string stem = goldenModel(model) + "/" + name;
    result.push_back({name, readIds(stem + ".ids.npy").values, readFloats(stem + ".logits.npy"),
                      entry["positions"], entry["greedy"], entry["greedy_gap"],
                      entry.value("greedy_router_gap", std::vector<double>())});
  }
  return result;
}

const Prompt &longest(const std::vector<Prompt> &prompts) {
  return *std::max_element(prompts.begin(), prompts.end(),
                           [](const Prompt &a, const Prompt &b) { return a.ids.size() < b.ids.size(); });
}

} // namespace

class Golden : public testing::TestWithParam<Case> {
protected:
  void SetUp() override {
    if (!machine().missing.empty())
      GTEST_SKIP() << machine().missing;
    std::vector<std::string> arguments = {"compile", goldenModel(GetParam().model), "-o", scratch / "model.so", "--emit",
                                          "shared", "--no-tokenizer", "--max-context", "512", "-j", "1", "--dtype",
                                          GetParam().dtype, "--kv-dtype", GetParam().dtype};
    arguments.insert(arguments.end(), machine().options.begin(), machine().options.end());
    Outcome outcome = runTool(arguments);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    object = std::make_unique<SharedObject>(scratch / "model.so");
    f32 = GetParam().dtype == "f32";
    // What a prompt's length does to the frequencies is decided when it is given, so ways to a position
    // differ.
    std::string config = readFile(goldenModel(GetParam().model) + "/config.json");
    lengthMatters =
        config.find("\"dynamic\"") != std::string::npos || config.find("\"longrope\"") != std::string::npos;
    golden = prompts(GetParam().model);
    ASSERT_FALSE(golden.empty());
  }

  void compareLogits();
  void compareGreedy();
  void compareWays();
  void compareThreads();
  void compareBatch();
  /// Differences that the order of additions makes: in bf16 a rounding of an activation may fall the other
  /// way.
  double noise() const { return f32 ? 2e-5 : 5e-2; }

  Scratch scratch;
  std::unique_ptr<SharedObject> object;
  std::vector<Prompt> golden;
  bool f32 = true, lengthMatters = false;
};

void Golden::compareLogits() {
  ModelSession session(*object, 2);
  double sum = 0;
  int64_t rows = 0;
  for (const Prompt &prompt : golden) {
    session.empty(0);
    Logits found = session.prefill(0, prompt.ids);
    for (size_t i = 0; i < prompt.positions.size(); i++) {
      std::span<const float> expected = prompt.logits.row(i);
      std::span<const float> row = found.row(prompt.positions[i]);
      if (f32)
        ASSERT_LE(difference(row, expected), 1e-4) << prompt.name << " at position " << prompt.positions[i];
      sum += divergence(expected, row);
      rows++;
    }
  }
  double allowed = manifest()["models"][GetParam().model]["bf16_kl_mean"];
  RecordProperty("mean_kl", std::to_string(sum / rows));
  EXPECT_LE(sum / rows, f32 ? 1e-6 : 1.5 * allowed) << "transformers' own bf16 run: " << allowed;
}

void Golden::compareGreedy() {
  ModelSession session(*object, 2);
  for (const Prompt &prompt : golden) {
    session.empty(0);
    Logits logits = session.prefill(0, prompt.ids);
    double spread = range(logits.row(logits.rows() - 1));
    for (size_t i = 0; i < prompt.greedy.size(); i++) {
      if (prompt.undecided(i, f32, spread))
        break;
      int32_t token = session.likeliest(0);
      ASSERT_EQ(token, prompt.greedy[i])
          << prompt.name << " step " << i << " with a gap of " << prompt.gaps[i];
      spread = range(session.decode(0, token).row(0));
    }
  }
}

/// Prefill at once, in chunks, and token by token.
void Golden::compareWays() {
  if (lengthMatters)
    return;
  const Prompt &prompt = longest(golden);
  std::span<const int32_t> ids(prompt.ids);
  ModelSession session(*object, 2, 2);
  Logits whole = session.prefill(0, ids);
  Logits chunks;
  chunks.vocab = whole.vocab;
  for (size_t at = 0, chunk = 1; at < ids.size(); at += chunk, chunk = 2 * chunk + 1) {
    Logits part = session.prefill(1, ids.subspan(at, std::min(chunk, ids.size() - at)));
    chunks.values.insert(chunks.values.end(), part.values.begin(), part.values.end());
  }
  EXPECT_LE(largestDifference(chunks, whole), noise()) << "in chunks";
  session.empty(1);
  size_t start = ids.size() > 24 ? ids.size() - 24 : 1;
  session.prefill(1, ids.first(start));
  for (size_t at = start; at < ids.size(); at++)
    ASSERT_LE(difference(session.decode(1, ids[at]).row(0), whole.row(at)), noise()) << "decode at " << at;
}

void Golden::compareThreads() {
  const Prompt &prompt = longest(golden);
  std::vector<Logits> found;
  for (int threads : {1, 2, 3}) {
    ModelSession session(*object, threads);
    Logits logits = session.prefill(0, prompt.ids);
    for (int i = 0; i < 4; i++) {
      Logits more = session.decode(0, i);
      logits.values.insert(logits.values.end(), more.values.begin(), more.values.end());
    }
    found.push_back(std::move(logits));
  }
  EXPECT_LE(largestDifference(found[1], found[0]), noise()) << "1 and 2 threads";
  EXPECT_LE(largestDifference(found[2], found[0]), noise()) << "1 and 3 threads";
}

void Golden::compareBatch() {
  if (lengthMatters)
    return;
  constexpr int steps = 5;
  int count = static_cast<int>(golden.size());
  std::vector<std::vector<Logits>> alone(count);
  for (int i = 0; i < count; i++) {
    ModelSession session(*object, 2);
    session.prefill(0, golden[i].ids);
    for (int step = 0; step < steps; step++)
      alone[i].push_back(session.decode(0, golden[i].greedy[step]));
  }
  ModelSession session(*object, 2, count);
  std::vector<int32_t> sequences, tokens(count);
  for (int i = 0; i < count; i++) {
    session.prefill(i, golden[i].ids);
    sequences.push_back(count - 1 - i);
  }
  for (int step = 0; step < steps; step++) {
    for (int i = 0; i < count; i++)
      tokens[i] = golden[sequences[i]].greedy[step];
    Logits found = session.decodeBatch(sequences, tokens);
    for (int i = 0; i < count; i++)
      ASSERT_LE(difference(found.row(i), alone[sequences[i]][step].row(0)), noise())
          << golden[sequences[i]].name << " step " << step;
  }
}

TEST_P(Golden, ComputesWhatTransformersComputes) {
  compareLogits();
  compareGreedy();
  compareWays();
  compareThreads();
  compareBatch();
}

INSTANTIATE_TEST_SUITE_P(Models, Golden, testing::ValuesIn(cases()), [](const auto &info) {
  std::string name = info.param.model + "_" + info.param.dtype;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});
