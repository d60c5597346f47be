// What tests of sessions on the fake model share.
#pragma once

#include "runtime/core/session.h"
#include "tests/unit/runtime/fake_program.h"

#include <gtest/gtest.h>

namespace qwench::fake {

/// Tokens `first`, first + 7, first + 14, ... within the vocabulary.
inline std::vector<int32_t> prompt(int64_t count, int32_t first = 1) {
  std::vector<int32_t> tokens(count);
  for (int64_t i = 0; i < count; ++i)
    tokens[i] = static_cast<int32_t>((first + i * 7) % kVocabulary);
  return tokens;
}

/// The logits behind a sequence; the test fails if there are none.
inline std::vector<float> logits(Session &session, int32_t sequence) {
  const float *data = nullptr;
  Outcome outcome = session.logits(sequence, &data);
  EXPECT_TRUE(outcome) << outcome.message;
  return outcome ? std::vector<float>(data, data + kVocabulary) : std::vector<float>();
}

} // namespace qwench::fake
