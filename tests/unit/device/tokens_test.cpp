// Tokens on a GPU: drawn there, and given to the next step there.
#include "tests/unit/device/sessions_on_device.h"

namespace qwench {
namespace {

using fake::logits;
using fake::prompt;
using testing::HasSubstr;

class TokensTest : public DeviceTest {};

TEST_P(TokensTest, TokensAreDrawnThereAndTheirIdsComeBack) {
  auto session = open({.threads = 1, .sequences = 3});
  ASSERT_TRUE(session) << outcome.message;
  session->limitSampling(fake::kVocabulary - 1);
  for (int32_t sequence : {0, 1, 2})
    ASSERT_TRUE(session->prefill(sequence, prompt(5 + sequence)));
  takeLog();
  const QwenchSampling sampling = {1.5f, 9, 0.9f, 0.1f, 42};
  const int32_t sequences[] = {2, 0};
  int32_t tokens[] = {-1, -1};
  ASSERT_TRUE(session->sample(sequences, sampling, tokens));
  EXPECT_EQ(takeLog(), "upload 256\nlaunch draw_tokens blocks=2 threads=512 shared=0 layer=0 instance=0 tiles=2\ndownload 8\n");
  std::vector<Candidate> scratch;
  for (int i : {0, 1}) {
    Random random(42);
    const auto row = fake::expectedLogits(prompt(5 + sequences[i]));
    EXPECT_EQ(tokens[i], drawToken(row.data(), fake::kVocabulary - 1, sampling, random.uniform(), scratch));
  }
}

TEST_P(TokensTest, DrawnTokensGoToTheNextStepThere) {
  auto session = open({.threads = 1, .sequences = 2});
  ASSERT_TRUE(session) << outcome.message;
  for (int32_t sequence : {0, 1})
    ASSERT_TRUE(session->prefill(sequence, prompt(5 + sequence)));
  takeLog();
  const QwenchSampling sampling = {1.5f, 9, 0.9f, 0.1f, 42};
  const int32_t both[] = {0, 1};
  std::vector<int32_t> found[2];
  std::string log;
  ASSERT_TRUE(session->generate(both, sampling, 6, [&](int32_t sequence, int32_t token) {
    if (sequence == 0)
      log += "tokens\n" + takeLog();
    found[sequence].push_back(token);
    return sequence == 0 || found[1].size() < 3;
  }));
  std::vector<Candidate> scratch;
  for (int32_t sequence : both) {
    Random random(42);
    auto all = prompt(5 + sequence);
    ASSERT_EQ(found[sequence].size(), sequence == 0 ? 6u : 3u);
    for (int32_t token : found[sequence]) {
      const auto row = fake::expectedLogits(all);
      EXPECT_EQ(token, drawToken(row.data(), fake::kVocabulary, sampling, random.uniform(), scratch));
      all.push_back(token);
    }
    int64_t length = 0;
    ASSERT_TRUE(session->length(sequence, &length));
    EXPECT_EQ(length, 5 + sequence + static_cast<int64_t>(found[sequence].size()) - 1) << "the last token is not appended";
  }
  // What went up and down: draws and their two tokens, then a step whose tokens come from where they were drawn.
  EXPECT_THAT(log, HasSubstr("download 8\n"));
  EXPECT_THAT(log, HasSubstr("upload 512\ncopy 8\n"));
  EXPECT_THAT(log, HasSubstr("upload 512\ncopy 4\n")) << "one sequence goes on";
  // A sequence that was stopped goes on as if the step begun for it had never been.
  ASSERT_TRUE(session->prefill(1, std::span(found[1]).last(1)));
  auto all = prompt(6);
  all.insert(all.end(), found[1].begin(), found[1].end());
  EXPECT_EQ(logits(*session, 1), fake::expectedLogits(all));
  Random random(42);
  for (size_t i = 0; i < found[1].size(); ++i)
    random.uniform();
  int32_t next = -1;
  ASSERT_TRUE(session->sample(1, sampling, &next));
  EXPECT_EQ(next, drawToken(fake::expectedLogits(all).data(), fake::kVocabulary, sampling, random.uniform(), scratch))
      << "no random number was spent on it";
}

TEST_P(TokensTest, TheNextStepBeginsBeforeTheHostHasTheTokens) {
  auto session = open({.threads = 1});
  ASSERT_TRUE(session) << outcome.message;
  ASSERT_TRUE(session->prefill(0, prompt(5)));
  takeLog();
  const int32_t first = 0;
  std::string log;
  // The fake stream runs all that it holds when somebody waits: what the sink sees was enqueued before.
  ASSERT_TRUE(session->generate({&first, 1}, QWENCH_SAMPLING_GREEDY, 2, [&](int32_t, int32_t) {
    log += takeLog() + "token\n";
    return true;
  }));
  EXPECT_EQ(log, "capture\n"
                 "upload 192\nlaunch draw_tokens blocks=1 threads=512 shared=0 layer=0 instance=0 tiles=1\ndownload 4\n"
                 "upload 512\ncopy 4\ngraph\n"
                 "launch write_cache blocks=1 threads=64 shared=0 layer=0 instance=0 tiles=1\n"
                 "launch compute_logits blocks=1 threads=128 shared=65536 layer=7 instance=5 tiles=1\n"
                 "token\n"
                 "upload 192\nlaunch draw_tokens blocks=1 threads=512 shared=0 layer=0 instance=0 tiles=1\ndownload 4\n"
                 "token\n");
}

TEST_P(TokensTest, AStepWhoseTokensCannotBeDrawnIsTakenBack) {
  auto session = open({.threads = 1});
  ASSERT_TRUE(session) << outcome.message;
  ASSERT_TRUE(session->prefill(0, prompt(5)));
  symbol<decltype(&fake_gpu_kernel)>("fake_gpu_kernel")(
      "draw_tokens", [](const QwenchStep *step, int64_t, int64_t, int64_t, int64_t i) { step->drawn[i] = -1; });
  const int32_t first = 0;
  outcome = session->generate({&first, 1}, QWENCH_SAMPLING_GREEDY, 0, [](int32_t, int32_t) { return true; });
  EXPECT_EQ(outcome.message, "the model's logits are not numbers");
  int64_t length = 0;
  ASSERT_TRUE(session->length(0, &length));
  EXPECT_EQ(length, 5);
}

TEST_P(TokensTest, AProgramThatDrawsNoTokensLeavesThatToTheRuntime) {
  program.sample = nullptr;
  auto session = open({.threads = 1});
  ASSERT_TRUE(session) << outcome.message;
  ASSERT_TRUE(session->prefill(0, prompt(5)));
  takeLog();
  int32_t token = -1;
  ASSERT_TRUE(session->sample(0, QWENCH_SAMPLING_GREEDY, &token));
  EXPECT_EQ(token, likeliestToken(fake::expectedLogits(prompt(5)).data(), fake::kVocabulary));
  EXPECT_EQ(takeLog(), "download 256\n");
}

INSTANTIATE_TEST_SUITE_P(Driver, TokensTest, testing::ValuesIn(kVendors), [](const auto &vendor) { return vendor.param.name; });

} // namespace
} // namespace qwench
