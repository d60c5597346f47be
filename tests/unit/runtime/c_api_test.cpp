#include "runtime/abi/qwench.h"
#include "tests/unit/runtime/fake_program.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

namespace {

using namespace qwench;

class CApiTest : public testing::Test {
protected:
  void SetUp() override {
    QwenchOptions options = QWENCH_OPTIONS_INIT;
    options.threads = 2;
    options.sequences = 2;
    options.bundle = file.path().c_str();
    ASSERT_EQ(qwench_open(&options, &session), QWENCH_OK) << qwench_last_error();
  }
  void TearDown() override { qwench_close(session); }

  fake::TemporaryFile file{fake::modelBytes()};
  QwenchSession *session = nullptr;
};

TEST_F(CApiTest, ThePublicHeadersExampleWorks) {
  const int32_t ids[] = {3, 1, 4};
  ASSERT_EQ(qwench_prefill(session, 0, ids, 3), 0);
  const QwenchSampling greedy = QWENCH_SAMPLING_GREEDY;
  std::vector<int32_t> all(ids, ids + 3);
  for (int i = 0; i < 5; ++i) {
    int32_t next = -1;
    ASSERT_EQ(qwench_sample(session, 0, &greedy, &next), 0);
    auto logits = fake::expectedLogits(all);
    EXPECT_EQ(next, std::max_element(logits.begin(), logits.end()) - logits.begin());
    ASSERT_EQ(qwench_decode(session, 0, next), 0);
    all.push_back(next);
  }
  int64_t length = 0;
  EXPECT_EQ(qwench_length(session, 0, &length), 0);
  EXPECT_EQ(length, 8);
}

struct Drawn {
  std::vector<int32_t> tokens[2];
  int32_t end = -1;
};

int take(void *user, int32_t sequence, int32_t token) {
  auto &drawn = *static_cast<Drawn *>(user);
  drawn.tokens[sequence].push_back(token);
  return token != drawn.end;
}

TEST_F(CApiTest, GenerateHandsTokensToItsSink) {
  const int32_t ids[] = {3, 1, 4}, both[] = {0, 1};
  const QwenchSampling greedy = QWENCH_SAMPLING_GREEDY;
  Drawn drawn;
  for (int32_t sequence : both)
    ASSERT_EQ(qwench_prefill(session, sequence, ids, 3 - sequence), 0);
  ASSERT_EQ(qwench_generate(session, both, 2, &greedy, 5, take, &drawn), 0) << qwench_last_error();
  for (int32_t sequence : both) {
    std::vector<int32_t> all(ids, ids + 3 - sequence);
    ASSERT_EQ(drawn.tokens[sequence].size(), 5u);
    for (int32_t token : drawn.tokens[sequence]) {
      auto logits = fake::expectedLogits(all);
      EXPECT_EQ(token, std::max_element(logits.begin(), logits.end()) - logits.begin());
      all.push_back(token);
    }
  }
  EXPECT_EQ(qwench_generate(session, both, 2, &greedy, 5, take, &drawn), QWENCH_ERROR_ARGUMENT);
  EXPECT_STREQ(qwench_last_error(), "sequence 0 has no logits: expected a prefill or decode before");
  EXPECT_EQ(qwench_generate(session, both, 2, &greedy, -1, take, &drawn), QWENCH_ERROR_ARGUMENT);
  EXPECT_EQ(qwench_generate(session, both, 0, &greedy, 5, take, &drawn), QWENCH_ERROR_ARGUMENT);
  EXPECT_EQ(qwench_generate(session, both, 2, &greedy, 5, nullptr, &drawn), QWENCH_ERROR_ARGUMENT);
}

TEST_F(CApiTest, PrefillLogitsArePacked) {
  const int32_t ids[] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3};
  std::vector<float> out(10 * fake::kVocabulary);
  ASSERT_EQ(qwench_prefill_logits(session, 1, ids, 10, out.data()), 0);
  for (int i = 0; i < 10; ++i) {
    auto expected = fake::expectedLogits({ids, ids + i + 1});
    EXPECT_EQ(memcmp(out.data() + i * fake::kVocabulary, expected.data(), expected.size() * 4), 0) << i;
  }
}

TEST_F(CApiTest, InfoDescribesTheProgram) {
  QwenchModelInfo info = {};
  ASSERT_EQ(qwench_info(session, &info), 0);
  EXPECT_EQ(info.vocab_size, fake::kVocabulary);
  EXPECT_EQ(info.max_context, fake::kContext);
  EXPECT_EQ(info.threads, 2);
}

TEST_F(CApiTest, ErrorsHaveACodeAndALine) {
  const int32_t bad[] = {50};
  EXPECT_EQ(qwench_prefill(session, 0, bad, 1), QWENCH_ERROR_ARGUMENT);
  EXPECT_STREQ(qwench_last_error(), "token id: expected 0 to 49, found 50");
  EXPECT_EQ(qwench_prefill(session, 0, bad, 0), QWENCH_ERROR_ARGUMENT);
  EXPECT_EQ(qwench_prefill(session, 0, nullptr, 5), QWENCH_ERROR_ARGUMENT);
  EXPECT_EQ(qwench_prefill(nullptr, 0, bad, 1), QWENCH_ERROR_ARGUMENT);
  EXPECT_EQ(qwench_logits(session, 0, nullptr), QWENCH_ERROR_ARGUMENT);
  std::vector<int32_t> many(fake::kContext + 1, 1);
  EXPECT_EQ(qwench_prefill(session, 0, many.data(), many.size()), QWENCH_ERROR_CONTEXT);
  QwenchSampling cold = {-1, 0, 1, 0, 0};
  int32_t next = 0;
  ASSERT_EQ(qwench_prefill(session, 0, many.data(), 1), 0);
  EXPECT_EQ(qwench_sample(session, 0, &cold, &next), QWENCH_ERROR_ARGUMENT);
  EXPECT_EQ(qwench_truncate(session, 0, 5), QWENCH_ERROR_ARGUMENT);
  EXPECT_EQ(qwench_truncate(session, 0, 0), QWENCH_OK);
  EXPECT_STREQ(qwench_last_error(), "");
}

TEST(CApi, OpeningWhatIsNoModelIsAnError) {
  QwenchSession *session = nullptr;
  QwenchOptions options = QWENCH_OPTIONS_INIT;
  options.bundle = "/nowhere/model";
  EXPECT_EQ(qwench_open(&options, &session), QWENCH_ERROR_SYSTEM);
  EXPECT_STREQ(qwench_last_error(), "cannot open '/nowhere/model': No such file or directory");
  fake::TemporaryFile text("not a model");
  options.bundle = text.path().c_str();
  EXPECT_EQ(qwench_open(&options, &session), QWENCH_ERROR_MODEL);
  options.api_version = 7;
  EXPECT_EQ(qwench_open(&options, &session), QWENCH_ERROR_ARGUMENT);
  EXPECT_EQ(qwench_open(nullptr, &session), QWENCH_ERROR_MODEL)
      << "this test program has no bundle at its end";
  EXPECT_EQ(session, nullptr);
  EXPECT_EQ(qwench_open(&options, nullptr), QWENCH_ERROR_ARGUMENT);
  qwench_close(nullptr);
}

} // namespace
