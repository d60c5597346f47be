// The executable: depends on libc and libm, is reproducible, finds its weights, notices damage.
#include "tests/e2e/npy.h"
#include "tests/e2e/process.h"
#include "tests/reference/logits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

using namespace qwench::e2e;
using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

namespace {

void compileTo(const std::string &model, const std::string &output, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"compile",        model,           "-o", output,
                                        "--no-tokenizer", "--max-context", "512"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  Outcome outcome = runTool(arguments);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, testing::StartsWith("qwench: wrote '" + output + "'"));
}

/// Logits of the model's 17-token prompt by its executable.
Array<float> logits(const std::string &program, const std::string &model) {
  Scratch scratch;
  std::string ids;
  for (int32_t id : readIds(goldenModel(model) + "/p17.ids.npy").values)
    ids += (ids.empty() ? "" : ",") + std::to_string(id);
  Outcome outcome = run({program, "logits", "--tokens", ids, "-o", scratch / "out.npy"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return outcome.code == 0 ? readFloats(scratch / "out.npy") : Array<float>();
}

void expectGolden(const std::string &program, const std::string &model) {
  Array<float> found = logits(program, model), expected = readFloats(goldenModel(model) + "/p17.logits.npy");
  ASSERT_EQ(found.shape, expected.shape);
  for (int64_t i = 0; i < found.shape[0]; i++)
    ASSERT_LE(qwench::difference(found.row(i), expected.row(i)), 1e-4) << i;
}

std::set<std::string> needed(const std::string &file) {
  std::string text = run({"/usr/bin/llvm-readelf-22", "-d", file}).out;
  std::set<std::string> names;
  for (size_t at = 0; (at = text.find("(NEEDED)", at)) != std::string::npos; at++) {
    size_t open = text.find('[', at), close = text.find(']', open);
    names.insert(text.substr(open + 1, close - open - 1));
  }
  return names;
}

} // namespace

TEST(Executable, ComputesAndNeedsOnlyLibcAndLibm) {
  Scratch scratch;
  for (std::string model : {"dense-base", "moe-f32"}) {
    compileTo(goldenModel(model), scratch / model, {"--dtype", "f32"});
    expectGolden(scratch / model, model);
    for (const std::string &name : needed(scratch / model))
      EXPECT_TRUE(name == "libc.so.6" || name == "libm.so.6" || name == "ld-linux-x86-64.so.2") << name;
  }
}

TEST(Executable, IsReproducibleWithAnyNumberOfThreads) {
  Scratch scratch;
  fs::create_directories(scratch / "a");
  fs::create_directories(scratch / "b");
  compileTo(goldenModel("moe-sharded"), scratch / "a/model", {"-j", "1"});
  compileTo(goldenModel("moe-sharded"), scratch / "b/model", {"-j", "3"});
  EXPECT_TRUE(readFile(scratch / "a/model") == readFile(scratch / "b/model"));
}

TEST(Executable, ExternalWeightsLieBesideItAndMoveWithIt) {
  Scratch scratch;
  compileTo(goldenModel("dense-base"), scratch / "model", {"--dtype", "f32", "--external-weights"});
  EXPECT_EQ(scratch.files(), (std::vector<std::string>{"model", "model.weights"}));
  expectGolden(scratch / "model", "dense-base");
  fs::create_directory(scratch / "moved");
  fs::rename(scratch / "model", scratch / "moved/renamed");
  fs::rename(scratch / "model.weights", scratch / "moved/model.weights");
  expectGolden(scratch / "moved/renamed", "dense-base");
  fs::remove(scratch / "moved/model.weights");
  Outcome outcome = run({scratch / "moved/renamed", "logits", "--tokens", "1", "-o", scratch / "out.npy"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("model.weights"));
}

TEST(Executable, RandomWeightsNeedOnlyAConfiguration) {
  Scratch scratch;
  fs::copy(goldenModel("moe-base") + "/config.json", scratch / "config.json");
  compileTo(scratch / "config.json", scratch / "model", {"--random-weights", "7"});
  Array<float> once = logits(scratch / "model", "moe-base"), again = logits(scratch / "model", "moe-base");
  ASSERT_FALSE(once.values.empty());
  EXPECT_EQ(once.values, again.values);
  double sum = 0;
  for (float value : once.values) {
    ASSERT_TRUE(std::isfinite(value));
    sum += value * value;
  }
  double size = std::sqrt(sum / once.values.size());
  EXPECT_GT(size, 0.1) << "logits of a sensible scale";
  EXPECT_LT(size, 10.0);
  compileTo(scratch / "config.json", scratch / "other", {"--random-weights", "8"});
  EXPECT_NE(logits(scratch / "other", "moe-base").values, once.values);
}

TEST(Object, LinksIntoAProgramOfOnesOwn) {
  Scratch scratch;
  std::string model = goldenModel("dense-base"), kit = QWENCH_BINARY_DIR "/lib/qwench";
  for (auto [rung, name] : {std::pair("obj", "model.o"), std::pair("weights", "model.weights")}) {
    Outcome outcome = runTool({"compile", model, "--emit", rung, "-o", scratch / name});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
  }
  writeFile(scratch / "main.c", R"(
    #include "qwench.h"
    #include <stdio.h>
    int main(int argc, char **argv) {
      QwenchOptions options = QWENCH_OPTIONS_INIT;
      QwenchSession *session;
      int32_t ids[] = {1, 2, 3}, next = -1;
      QwenchSampling greedy = QWENCH_SAMPLING_GREEDY;
      options.bundle = argv[1];
      if (qwench_open(&options, &session) || qwench_prefill(session, 0, ids, 3) ||
          qwench_sample(session, 0, &greedy, &next))
        return fprintf(stderr, "%s\n", qwench_last_error()), 1;
      printf("%d\n", next);
      qwench_close(session);
    })");
  std::vector<std::string> command = {
      "/usr/bin/clang-22", "-fuse-ld=lld", "-I",  kit + "/include", scratch / "main.c", scratch / "model.o",
      kit + "/libqwench_runtime.a", "-lstdc++", "-lm", "-o", scratch / "main"};
#ifdef __SANITIZE_ADDRESS__ // as the archive was built
  command.push_back("-fsanitize=address,undefined");
#endif
  Outcome outcome = run(command);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  outcome = run({scratch / "main", scratch / "model.weights"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  compileTo(model, scratch / "model");
  EXPECT_EQ(outcome.out,
            run({scratch / "model", "generate", "--tokens", "1,2,3", "-n", "1", "--greedy", "--ids"}).out);
}

TEST(Executable, CutShortOrDamagedItSaysSo) {
  Scratch scratch;
  compileTo(goldenModel("dense-base"), scratch / "model");
  std::string whole = readFile(scratch / "model");
  for (size_t bytes : {whole.size() - 1, whole.size() - 100, whole.size() - 5000}) {
    fs::resize_file(scratch / "model", bytes);
    Outcome outcome = run({scratch / "model", "generate", "--tokens", "1", "-n", "2", "--ids"});
    EXPECT_EQ(outcome.code, 1) << outcome.out;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    outcome = runTool({"inspect", scratch / "model"});
    EXPECT_EQ(outcome.code, 1) << outcome.out;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
}

TEST(Executable, ContextOverflowIsOneLine) {
  Scratch scratch;
  Outcome outcome = runTool({"compile", goldenModel("dense-base"), "-o", scratch / "model", "--no-tokenizer",
                            "--max-context", "64"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  std::string ids = "1";
  for (int i = 0; i < 100; i++)
    ids += ",1";
  outcome = run({scratch / "model", "logits", "--tokens", ids, "-o", scratch / "out.npy"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("101"));
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_FALSE(fs::exists(scratch / "out.npy"));
}

TEST(Example, WritesEnglish) {
  Scratch scratch;
  Outcome outcome = runTool({"compile", QWENCH_SOURCE_DIR "/examples/tiny-moe/model", "-o", scratch / "tiny-moe"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  outcome = run({scratch / "tiny-moe", "run", "--raw", "--greedy", "-n", "40", "In the beginning"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr(" the ")) << "the commonest word";
}

TEST(Inspect, TellsOfACompiledModel) {
  Scratch scratch;
  compileTo(goldenModel("moe-base"), scratch / "model");
  Outcome outcome = runTool({"inspect", scratch / "model", "--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  json description = json::parse(outcome.out);
  EXPECT_EQ(description["metadata"]["architecture"], "Qwen3MoeForCausalLM");
  EXPECT_EQ(description["metadata"]["compilation"]["dtype"], "bf16");
  EXPECT_EQ(description["bytes"], fs::file_size(scratch / "model"));
  EXPECT_THAT(runTool({"inspect", scratch / "model"}).out, HasSubstr("moe-base"));
  EXPECT_THAT(runTool({"inspect", goldenModel("moe-base")}).out, HasSubstr("Qwen3MoeForCausalLM"));
}
