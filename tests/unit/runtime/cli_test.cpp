// The command line of a compiled model: the fake model's program with its bundle appended, run as users run
// it.
#include "tests/unit/runtime/cli_fixture.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>

namespace qwench {
namespace {

using fake::CliTest;
using fake::greedy;
using fake::joined;
using fake::Ran;
using fake::readFile;
using testing::HasSubstr;
using testing::StartsWith;

TEST_F(CliTest, GenerateContinuesTokenIds) {
  Ran run = shell("MODEL generate --tokens 1,2,3 -n 20 --greedy --ids --ignore-eos");
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.out, joined(greedy({1, 2, 3}, 20)) + "\n");
  EXPECT_EQ(run.err, "");
  EXPECT_EQ(shell("echo ' 1, 2\n3 ' | MODEL generate --tokens-file - -n 20 --ids --ignore-eos -t 3").out,
            run.out);
}

TEST_F(CliTest, WeightsCanBeCopiedOrMapped) {
  for (const char *mode : {"auto", "copy", "map"})
    EXPECT_EQ(shell(std::string("MODEL generate --tokens 1 -n 9 --ids --ignore-eos --weights ") + mode).out,
              joined(greedy({1}, 9)) + "\n");
  expectError("MODEL generate --tokens 1 --ids --weights steal", "--weights");
}

TEST_F(CliTest, GenerateRunsABatchOfPrompts) {
  Ran run = shell(
      "MODEL generate --tokens 1,2,3 --tokens 4 --tokens 5,6 --tokens 7 -n 9 --greedy --ids --ignore-eos");
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.out, joined(greedy({1, 2, 3}, 9)) + "\n" + joined(greedy({4}, 9)) + "\n" +
                         joined(greedy({5, 6}, 9)) + "\n" + joined(greedy({7}, 9)) + "\n");
}

TEST_F(CliTest, GenerateStopsAfterAnEndToken) {
  std::vector<int32_t> prompt = {0};
  std::vector<int32_t> whole;
  for (; whole.empty() || std::find(whole.begin(), whole.end(), 49) == whole.end(); ++prompt[0]) {
    ASSERT_LT(prompt[0], 49) << "no prompt leads to token 49";
    whole = greedy(prompt, 60);
  }
  --prompt[0];
  whole.erase(std::find(whole.begin(), whole.end(), 49) + 1, whole.end());
  EXPECT_EQ(shell("MODEL generate --tokens " + joined(prompt) + " -n 60 --greedy --ids").out,
            joined(whole) + "\n");
}

TEST_F(CliTest, SamplingIsReproducibleBySeed) {
  const std::string command =
      "MODEL generate --tokens 5 -n 40 --ids --ignore-eos --temp 3 --top-k 40 --seed ";
  EXPECT_EQ(shell(command + "1").out, shell(command + "1 -t 2").out);
  EXPECT_NE(shell(command + "1").out, shell(command + "2").out);
}

TEST_F(CliTest, LogitsWritesAnNpyFile) {
  for (const char *how : {"", " --prefill 0", " --prefill 7", " --prefill 12 -t 3"}) {
    Ran run = shell(std::string("MODEL logits --tokens 9,8,7,6,5,4,3,2,1,0,9,8 -o x.npy") + how);
    ASSERT_EQ(run.code, 0) << run.err;
    EXPECT_EQ(run.out, "");
    const std::string bytes = readFile(directory + "/x.npy");
    ASSERT_THAT(bytes, StartsWith(std::string("\x93NUMPY\x01\x00", 8)));
    const size_t header = 10 + static_cast<uint8_t>(bytes[8]) + 256 * static_cast<uint8_t>(bytes[9]);
    EXPECT_EQ(header % 64, 0u);
    EXPECT_EQ(bytes[header - 1], '\n');
    EXPECT_THAT(bytes.substr(10),
                StartsWith("{'descr': '<f4', 'fortran_order': False, 'shape': (12, 50), }"));
    ASSERT_EQ(bytes.size(), header + 12 * 50 * 4);
    std::vector<int32_t> tokens;
    for (int i = 0; i < 12; ++i) {
      tokens.push_back((19 - i) % 10);
      auto expected = fake::expectedLogits(tokens);
      EXPECT_EQ(memcmp(bytes.data() + header + i * 200, expected.data(), 200), 0) << i << how;
    }
  }
}

TEST_F(CliTest, LogitsLeavesNothingHalfWritten) {
  expectError("MODEL logits --tokens 1,2 -o nowhere/x.npy",
              "cannot write 'nowhere/x.npy': No such file or directory");
  expectError("MODEL logits --tokens 1,2 -o .", "it is a directory");
  expectError("MODEL logits --tokens 1,2,3 -o /dev/full",
              "cannot write '/dev/full': No space left on device");
  expectError("bash -o pipefail -c \"(ulimit -f 0; trap '' XFSZ; MODEL logits --tokens 1,2 -o x.npy) 2>&1 | "
              "cat >&2\"",
              "cannot write 'x.npy': File too large");
  EXPECT_THAT(filesThere(), testing::IsEmpty());
}

TEST_F(CliTest, HostileTokenListsAreErrors) {
  expectError("MODEL generate --tokens 1,x --ids",
              "--tokens: expected token ids from 0 to 49, found 'x' at character 3");
  expectError("MODEL generate --tokens 50 --ids", "found '50'");
  expectError("MODEL generate --tokens=-1 --ids", "found '-1'");
  expectError("MODEL generate --tokens 1.5 --ids", "found '1.5'");
  expectError("MODEL generate --tokens 99999999999999999999999999 --ids",
              "found '99999999999999999999999999'");
  expectError("MODEL generate --tokens , --ids", "expected at least one token id, found none");
  expectError("MODEL generate --ids", "expected either --tokens or --tokens-file, found neither");
  expectError("MODEL logits --tokens 1 --tokens-file f -o x", "found both");
  expectError("MODEL logits --tokens-file nofile -o x", "cannot open 'nofile': No such file or directory");
}

TEST_F(CliTest, WrongCommandLinesAreErrors) {
  expectError("MODEL dance", "");
  expectError("MODEL generate --tokens 1 --nonsense", "--nonsense");
  expectError("MODEL generate --tokens 1 -n x", "");
  expectError("MODEL generate --tokens 1 -n 0 --ids", "-n: expected at least 1, found 0");
  expectError("MODEL generate --tokens 1 -n 101 --ids", "context overflow: 1 tokens and 100 more exceed");
  expectError("MODEL generate --tokens 1 -n 9223372036854775807 --ids", "context overflow");
  expectError("MODEL generate --tokens 1,2,3 --context 2 -n 1 --ids", "context overflow");
  expectError("MODEL generate --tokens 1 -n 2 --context 101 --ids", "at most the model's 100, found 101");
  expectError("MODEL generate --tokens 1 -n 2 --context -4 --ids", "");
  expectError("MODEL generate --tokens 1 -n 2 -t 100000 --ids", "threads: expected 0 to 1024, found 100000");
  expectError("MODEL generate --tokens 1 -n 2 --temp -1 --ids", "temperature");
  expectError("MODEL generate --tokens 1 -n 2 --greedy --temp 1 --ids", "found both");
  expectError("MODEL logits --tokens 1", "--output");
  expectError("MODEL logits --tokens 1,2 --prefill 3 -o x", "--prefill: expected 0 to 2, found 3");
  expectError("MODEL bench -p 0 -n 0", "-p or -n above it");
  expectError("MODEL bench -p 101", "context overflow");
  expectError("MODEL bench -b 0", "-b and -r");
  expectError("MODEL bench -d 5 --empty-depth", "--empty-depth: expected a program for a GPU, found one for");
}

TEST_F(CliTest, TextSubcommandsSayThatThereIsNoTokenizer) {
  const std::string message = "the model was compiled without a tokenizer";
  expectError("echo hi | MODEL", message);
  expectError("MODEL run hi", message);
  expectError("MODEL generate --tokens 1", message);
  expectError("echo hi | MODEL tokenize", message);
  expectError("MODEL template --messages -", message);
  expectError("echo hi | MODEL perplexity -", message);
}

TEST_F(CliTest, BenchReportsEveryFigure) {
  Ran run = shell("MODEL bench -p 20 -n 10 -d 5 -b 2 -r 2 -t 2 --json");
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.err, "");
  auto report = nlohmann::json::parse(run.out);
  for (const char *key : {"prefill_tokens_per_second", "decode_tokens_per_second", "weight_bytes_per_token",
                          "gigabytes_per_second", "gigaflops", "first_token_seconds", "peak_rss_bytes"})
    EXPECT_GT(report.at(key).get<double>(), 0) << key;
  EXPECT_EQ(report.at("weight_bytes_per_token"), fake::kWeightBytes);
  EXPECT_EQ(report.at("threads"), 2);
  EXPECT_THAT(shell("MODEL bench -p 20 -n 0 -r 1").out, testing::Not(HasSubstr("decode_tokens")));
  EXPECT_THAT(shell("MODEL bench -p 0 -n 20 -r 1").out, HasSubstr("decode_tokens_per_second"));
}

TEST_F(CliTest, InfoDescribesTheModel) {
  auto info = nlohmann::json::parse(shell("MODEL info --json").out);
  EXPECT_EQ(info.at("name"), "fake");
  EXPECT_EQ(info.at("architecture"), "Fake");
  EXPECT_EQ(info.at("sections").size(), 2u);
  EXPECT_EQ(info.at("plan_hash"), "1234567890abcdef");
  EXPECT_EQ(info.at("runs_here"), true);
  EXPECT_THAT(shell("MODEL info").out, HasSubstr("vocab_size                50\n"));
}

TEST_F(CliTest, HelpHasExamplesAndGoesToStdout) {
  for (const char *command :
       {"", "run", "generate", "logits", "tokenize", "template", "perplexity", "bench", "info"}) {
    Ran run = shell(std::string("MODEL ") + command + " --help");
    EXPECT_EQ(run.code, 0);
    EXPECT_EQ(run.err, "");
    EXPECT_THAT(run.out, HasSubstr("Usage:"));
    EXPECT_THAT(run.out, testing::Not(HasSubstr("NAME "))) << command;
  }
  EXPECT_THAT(shell("MODEL --help").out, HasSubstr("model run -n 64"));
}

TEST_F(CliTest, DamagedProgramsSaySo) {
  const std::string whole = readFile(program);
  write(program, whole.substr(0, whole.size() - 10));
  expectError("MODEL info", "/model' has no model data at its end");
  std::string foreign = whole;
  foreign[foreign.size() - sizeof(QwenchBundleTrailer)] ^= 1;
  write(program, foreign);
  expectError("MODEL generate --tokens 1 --ids", "expected plan hash 1234567890abcdef");
}

TEST_F(CliTest, BundleOptionReplacesTheOwnData) {
  write(directory + "/data", fake::modelBytes());
  write(program, readFile(FAKE_MODEL));
  expectError("MODEL generate --tokens 1 -n 3 --ids", "has no model data at its end");
  EXPECT_EQ(shell("MODEL generate --tokens 1 -n 3 --ids --ignore-eos --bundle data").out,
            joined(greedy({1}, 3)) + "\n");
}

TEST_F(CliTest, ExternalWeightsAreFoundBesideTheProgram) {
  const uint64_t hash = qwench_program.plan_hash;
  write(program, fake::bundleBytes({{QWENCH_SECTION_METADATA, R"({"external_weights": "model.weights"})"}},
                                   hash, readFile(FAKE_MODEL)));
  expectError("MODEL generate --tokens 1 -n 3 --ids", "model.weights': No such file or directory");
  write(directory + "/model.weights", fake::bundleBytes({{QWENCH_SECTION_WEIGHTS, fake::weights()}}, hash));
  EXPECT_EQ(shell("mkdir elsewhere; cd elsewhere; MODEL generate --tokens 1 -n 3 --ids").out,
            joined(greedy({1}, 3)) + "\n");
}

TEST_F(CliTest, RandomWeightsNeedNoFile) {
  const std::string metadata = R"({"random_weights": {"seed": 5, "tensors": [
      {"name": "w", "offset": 0, "bytes": 5000, "dtype": "bf16", "init": "normal", "std": 0.1}]}})";
  write(program, fake::bundleBytes({{QWENCH_SECTION_METADATA, metadata}}, qwench_program.plan_hash,
                                   readFile(FAKE_MODEL)));
  Ran run = shell("MODEL generate --tokens 1 -n 30 --ids -t 1");
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.out, shell("MODEL generate --tokens 1 -n 30 --ids -t 4").out);
  EXPECT_NE(run.out, joined(greedy({1}, 30)) + "\n");
}

TEST_F(CliTest, ABrokenOutputIsAnError) {
  expectError("MODEL generate --tokens 1 -n 3 --ids > /dev/full",
              "cannot write to standard output: No space left");
  Ran pipe = shell("MODEL generate --tokens 1 -n 90 --ids --ignore-eos | head -c 1");
  EXPECT_EQ(pipe.code, 0);
  EXPECT_EQ(pipe.err, "");
}

} // namespace
} // namespace qwench
