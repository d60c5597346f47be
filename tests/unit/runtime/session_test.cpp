#include "tests/unit/runtime/sessions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

namespace qwench {
namespace {

using fake::logits;
using fake::prompt;
using testing::ElementsAre;
using testing::HasSubstr;

class SessionTest : public testing::Test {
protected:
  std::unique_ptr<Session> open(SessionOptions options, const QwenchProgram &program = qwench_program) {
    Result<ModelFile> model = ModelFile::open(program, file.path());
    EXPECT_TRUE(model) << model.error().message;
    std::unique_ptr<Session> session;
    outcome = Session::open(program, *model, options, session);
    fake::takeRecords();
    return session;
  }

  static int64_t length(const Session &session, int32_t sequence) {
    int64_t length = -1;
    EXPECT_TRUE(session.length(sequence, &length));
    return length;
  }

  fake::TemporaryFile file{fake::modelBytes()};
  Outcome outcome;
};

TEST_F(SessionTest, PrefillInChunksEqualsTheWholePrompt) {
  for (int64_t count : {1, 2, 3, 7, 8, 9, 16, 17, 100}) {
    auto session = open({2});
    ASSERT_TRUE(session) << outcome.message;
    ASSERT_TRUE(session->prefill(0, prompt(count)));
    EXPECT_EQ(logits(*session, 0), fake::expectedLogits(prompt(count))) << count;
    EXPECT_EQ(length(*session, 0), count);
  }
}

TEST_F(SessionTest, ChunksCarryPositionsContextLengthsAndOneOutput) {
  auto session = open({1});
  ASSERT_TRUE(session->prefill(0, prompt(2)));
  fake::takeRecords();
  ASSERT_TRUE(session->prefill(0, prompt(17)));
  auto records = fake::takeRecords();
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].positions.front(), 2);
  EXPECT_EQ(records[0].positions.size(), 8u);
  EXPECT_THAT(records[0].outputRows, ElementsAre());
  EXPECT_EQ(records[1].positions.front(), 10);
  EXPECT_THAT(records[2].positions, ElementsAre(18));
  EXPECT_THAT(records[2].outputRows, ElementsAre(0));
  EXPECT_TRUE(records[2].decode) << "a remainder that fits a decode step takes it";
  for (const fake::Record &record : records)
    for (int32_t known : record.contextLengths)
      EXPECT_EQ(known, 19);
}

TEST_F(SessionTest, PrefillEachGivesEveryPosition) {
  auto session = open({3});
  const auto tokens = prompt(21);
  int64_t seen = 0;
  Outcome each =
      session->prefillEach(0, tokens, [&](int64_t first, int64_t rows, const float *data) -> Status {
        EXPECT_EQ(first, seen);
        for (int64_t row = 0; row < rows; ++row, ++seen) {
          std::vector<float> found(data + row * fake::kStride,
                                   data + row * fake::kStride + fake::kVocabulary);
          EXPECT_EQ(found, fake::expectedLogits({tokens.begin(), tokens.begin() + seen + 1})) << seen;
        }
        return ok();
      });
  EXPECT_TRUE(each) << each.message;
  EXPECT_EQ(seen, 21);
  EXPECT_EQ(logits(*session, 0), fake::expectedLogits(tokens));
}

TEST_F(SessionTest, PrefillEachRollsBackWhenTheConsumerFails) {
  auto session = open({1});
  ASSERT_TRUE(session->prefill(0, prompt(3)));
  Outcome each = session->prefillEach(0, prompt(20), [](int64_t first, int64_t, const float *) -> Status {
    return first > 0 ? Status(userError("disk full")) : ok();
  });
  EXPECT_EQ(each.code, QWENCH_ERROR_SYSTEM);
  EXPECT_EQ(each.message, "disk full");
  EXPECT_EQ(length(*session, 0), 3);
  EXPECT_EQ(logits(*session, 0), fake::expectedLogits(prompt(3)));
}

TEST_F(SessionTest, DecodeEqualsPrefillOfOneMore) {
  auto session = open({2});
  ASSERT_TRUE(session->prefill(0, prompt(5)));
  const int32_t zero = 0;
  for (int32_t i = 5; i < 40; ++i) {
    const int32_t next = prompt(i + 1).back();
    ASSERT_TRUE(session->decode({&zero, 1}, {&next, 1}));
    ASSERT_EQ(logits(*session, 0), fake::expectedLogits(prompt(i + 1)));
    EXPECT_EQ(fake::takeRecords().back().contextLengths.front(), i + 1);
  }
}

TEST_F(SessionTest, BatchEqualsEachAlone) {
  // 1 to 12 rows: a decode step, a prefill step, several of them.
  for (int32_t count : {1, 2, 3, 4, 8, 9, 12}) {
    auto session = open({2, 0, 12});
    std::vector<int32_t> sequences, tokens;
    for (int32_t i = 0; i < count; ++i) {
      sequences.push_back((i * 5) % 12);
      tokens.push_back(i);
      ASSERT_TRUE(session->prefill(sequences.back(), prompt(i + 1, i)));
    }
    ASSERT_TRUE(session->decode(sequences, tokens));
    for (int32_t i = 0; i < count; ++i) {
      auto whole = prompt(i + 1, i);
      whole.push_back(i);
      EXPECT_EQ(logits(*session, sequences[i]), fake::expectedLogits(whole)) << i << " of " << count;
    }
  }
}

TEST_F(SessionTest, LogitsOfASequenceSurviveOtherSequencesSteps) {
  auto session = open({1, 0, 2});
  ASSERT_TRUE(session->prefill(0, prompt(4)));
  ASSERT_TRUE(session->prefill(1, prompt(9)));
  EXPECT_EQ(logits(*session, 0), fake::expectedLogits(prompt(4)));
}

TEST_F(SessionTest, PrefillStopsBetweenStepsWhenAsked) {
  auto session = open({1});
  ASSERT_TRUE(session->prefill(0, prompt(1)));
  fake::takeRecords();
  int asked = 0;
  auto tail = prompt(40);
  auto rest = std::span<const int32_t>(tail).subspan(1);
  ASSERT_TRUE(session->prefill(0, rest, [&] { return ++asked == 2; }));
  EXPECT_EQ(fake::takeRecords().size(), 2u);
  EXPECT_EQ(length(*session, 0), 17);
  const float *none = nullptr;
  EXPECT_EQ(session->logits(0, &none).code, QWENCH_ERROR_ARGUMENT);
  asked = 100;
  ASSERT_TRUE(session->prefill(0, rest.subspan(16), [&] { return asked++ > 101; }));
  EXPECT_EQ(asked, 102) << "not asked after the last step";
  EXPECT_EQ(logits(*session, 0), fake::expectedLogits(prompt(40)));
}

TEST_F(SessionTest, TruncateTakesBackTokens) {
  auto session = open({1});
  ASSERT_TRUE(session->prefill(0, prompt(30)));
  ASSERT_TRUE(session->truncate(0, 10));
  const float *none = nullptr;
  EXPECT_EQ(session->logits(0, &none).code, QWENCH_ERROR_ARGUMENT);
  auto tail = prompt(30);
  ASSERT_TRUE(session->prefill(0, std::span<const int32_t>(tail).subspan(10)));
  EXPECT_EQ(logits(*session, 0), fake::expectedLogits(prompt(30)));
  EXPECT_EQ(session->truncate(0, 31).code, QWENCH_ERROR_ARGUMENT);
  EXPECT_EQ(session->truncate(0, -1).code, QWENCH_ERROR_ARGUMENT);
  EXPECT_EQ(length(*session, 0), 30);
}

TEST_F(SessionTest, SkipCountsPositionsThatNoStepHadBeenThrough) {
  auto session = open({1});
  const int64_t room = session->context();
  ASSERT_TRUE(session->skip(0, room - 2));
  EXPECT_EQ(length(*session, 0), room - 2);
  EXPECT_EQ(session->skip(0, 3).code, QWENCH_ERROR_ARGUMENT);
  EXPECT_EQ(session->skip(0, -1).code, QWENCH_ERROR_ARGUMENT);
  EXPECT_EQ(session->skip(1, 1).code, QWENCH_ERROR_ARGUMENT);
  const float *none = nullptr;
  EXPECT_EQ(session->logits(0, &none).code, QWENCH_ERROR_ARGUMENT);
  EXPECT_EQ(length(*session, 0), room - 2);
}

TEST_F(SessionTest, ErrorsLeaveSequencesAsTheyWere) {
  auto session = open({1, 20, 2});
  ASSERT_TRUE(session->prefill(0, prompt(18)));
  fake::takeRecords();
  Outcome overflow = session->prefill(0, prompt(3));
  EXPECT_EQ(overflow.code, QWENCH_ERROR_CONTEXT);
  EXPECT_EQ(overflow.message, "context overflow: 18 tokens and 3 more exceed the context of 20");
  const int32_t high = fake::kVocabulary, negative = -1, fine = 1, twice[2] = {1, 1}, both[2] = {0, 1};
  EXPECT_THAT(session->prefill(0, {&high, 1}).message, HasSubstr("expected 0 to 49, found 50"));
  EXPECT_EQ(session->prefill(0, {&negative, 1}).code, QWENCH_ERROR_ARGUMENT);
  EXPECT_EQ(session->prefill(2, {&fine, 1}).code, QWENCH_ERROR_ARGUMENT);
  EXPECT_EQ(session->prefill(-1, {&fine, 1}).code, QWENCH_ERROR_ARGUMENT);
  EXPECT_EQ(session->prefill(0, {}).code, QWENCH_ERROR_ARGUMENT);
  EXPECT_EQ(session->decode(twice, both).message, "sequence 1 is given twice");
  EXPECT_TRUE(session->prefill(0, prompt(2)));
  fake::takeRecords();
  EXPECT_EQ(session->decode(both, twice).code, QWENCH_ERROR_CONTEXT);
  EXPECT_TRUE(fake::takeRecords().empty()) << "an erroneous call ran a step";
  EXPECT_EQ(length(*session, 0), 20);
  EXPECT_EQ(length(*session, 1), 0);
  EXPECT_TRUE(session->decode({&twice[0], 1}, {&fine, 1}));
}

TEST_F(SessionTest, OptionsOutsideTheirRangeAreErrors) {
  EXPECT_FALSE(open({-1}));
  EXPECT_EQ(outcome.code, QWENCH_ERROR_ARGUMENT);
  EXPECT_FALSE(open({100000}));
  EXPECT_FALSE(open({1, -5}));
  EXPECT_FALSE(open({1, fake::kContext + 1}));
  EXPECT_EQ(outcome.message, "context: expected at most the model's 100, found 101");
  EXPECT_FALSE(open({1, 0, 0}));
  EXPECT_FALSE(open({1, 0, 1 << 20}));
}

TEST_F(SessionTest, ForeignProgramsAreRefused) {
  QwenchProgram program = qwench_program;
  program.abi_version = 99;
  EXPECT_FALSE(open({1}, program));
  EXPECT_EQ(outcome.code, QWENCH_ERROR_MODEL);
  EXPECT_EQ(outcome.message, "ABI version of the compiled model: expected " + std::to_string(QWENCH_ABI_VERSION) + ", found 99");
  program = qwench_program;
  program.struct_bytes = 16;
  EXPECT_FALSE(open({1}, program));
  program = qwench_program;
  program.logits_stride = 1;
  EXPECT_FALSE(open({1}, program));
  program = qwench_program;
  program.prefill_rows = 0;
  EXPECT_FALSE(open({1}, program));
}

TEST_F(SessionTest, MissingCpuFeaturesAreNamed) {
  QwenchProgram program = qwench_program;
  program.features = "sse2,sse4a,amx-fp16,avxvnniint16";
  program.cpu = "imaginary";
  EXPECT_FALSE(open({1}, program));
  EXPECT_EQ(outcome.code, QWENCH_ERROR_MODEL);
  EXPECT_THAT(outcome.message, HasSubstr("--cpu imaginary"));
  EXPECT_THAT(outcome.message, HasSubstr("this CPU lacks "));
  program.features = "sse2,warp-drive";
  EXPECT_FALSE(open({1}, program));
  EXPECT_EQ(outcome.message, "unknown CPU feature 'warp-drive'");
}

TEST_F(SessionTest, ACacheLargerThanTheAddressSpaceIsAnError) {
  QwenchProgram program = qwench_program;
  program.cache_bytes_per_position = INT64_MAX / 2;
  EXPECT_FALSE(open({1}, program));
  EXPECT_EQ(outcome.code, QWENCH_ERROR_SYSTEM);
  program.cache_bytes_per_position = int64_t(1) << 50;
  EXPECT_FALSE(open({1}, program));
  EXPECT_THAT(outcome.message, HasSubstr("cannot reserve"));
}

TEST_F(SessionTest, EveryThreadCountGivesTheSame) {
  for (int threads : {1, 2, 3, 17}) {
    auto session = open({threads});
    ASSERT_TRUE(session->prefill(0, prompt(50)));
    EXPECT_EQ(logits(*session, 0), fake::expectedLogits(prompt(50)));
  }
}

TEST_F(SessionTest, SamplingIsSeededPerSequenceAndLimited) {
  auto session = open({1, 0, 2});
  session->limitSampling(3);
  const QwenchSampling sampling = {2.0f, 0, 1.0f, 0.0f, 42};
  std::vector<int32_t> draws[2];
  for (int32_t sequence : {0, 1}) {
    ASSERT_TRUE(session->prefill(sequence, prompt(5)));
    for (int i = 0; i < 30; ++i)
      ASSERT_TRUE(session->sample(sequence, sampling, &draws[sequence].emplace_back()));
  }
  EXPECT_EQ(draws[0], draws[1]) << "a sequence's draws depend on others";
  EXPECT_THAT(draws[0], testing::Each(testing::Lt(3)));
  ASSERT_TRUE(session->truncate(0, 0));
  ASSERT_TRUE(session->prefill(0, prompt(5)));
  int32_t again = -1;
  ASSERT_TRUE(session->sample(0, sampling, &again));
  EXPECT_EQ(again, draws[0][0]) << "emptying a sequence resets its generator";
}

TEST_F(SessionTest, GenerateIsTheLoopOfSampleAndDecode) {
  const QwenchSampling sampling = {1.5f, 20, 0.9f, 0.01f, 7};
  auto loop = open({1}), session = open({2, 0, 2});
  std::vector<int32_t> expected, found[2];
  ASSERT_TRUE(loop->prefill(0, prompt(5)));
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(loop->sample(0, sampling, &expected.emplace_back()));
    const int32_t sequence = 0;
    ASSERT_TRUE(loop->decode({&sequence, 1}, {&expected.back(), 1}));
  }
  for (int32_t sequence : {0, 1})
    ASSERT_TRUE(session->prefill(sequence, prompt(5)));
  const int32_t both[] = {1, 0};
  ASSERT_TRUE(session->generate(both, sampling, 6, [&](int32_t sequence, int32_t token) {
    found[sequence].push_back(token);
    return sequence == 0 || found[1].size() < 3;
  }));
  EXPECT_EQ(found[0], expected);
  EXPECT_EQ(found[1], std::vector(expected.begin(), expected.begin() + 3)) << "the sink stopped it";
  EXPECT_EQ(length(*session, 0), 5 + 6 - 1) << "the last token is not appended";
  EXPECT_EQ(length(*session, 1), 5 + 3 - 1);
  for (int32_t sequence : {0, 1}) {
    outcome = session->sample({&sequence, 1}, sampling, {&expected[0], 1});
    EXPECT_THAT(outcome.message, HasSubstr("has no logits"));
  }
}

TEST_F(SessionTest, GenerateEndsWithTheContext) {
  auto session = open({.threads = 1, .context = 12, .sequences = 2});
  ASSERT_TRUE(session->prefill(0, prompt(9)));
  ASSERT_TRUE(session->prefill(1, prompt(6)));
  std::vector<int32_t> found[2];
  const int32_t both[] = {0, 1};
  ASSERT_TRUE(session->generate(both, QWENCH_SAMPLING_GREEDY, 0, [&](int32_t sequence, int32_t token) {
    found[sequence].push_back(token);
    return true;
  }));
  EXPECT_EQ(found[0].size(), 4u) << "the last one is drawn from a full context";
  EXPECT_EQ(found[1].size(), 7u);
  EXPECT_EQ(length(*session, 0), 12);
  EXPECT_EQ(length(*session, 1), 12);
  const int32_t twice[] = {0, 0};
  EXPECT_THAT(session->generate(twice, QWENCH_SAMPLING_GREEDY, 1, {}).message, HasSubstr("given twice"));
}

} // namespace
} // namespace qwench
