#include "runtime/abi/tokenizer_format.h"
#include "tests/unit/tokenizer/small_tokenizer.h"

#include <gmock/gmock.h>

#include <cstring>

namespace qwench {
namespace {

using testing::HasSubstr;
using Header = QwenchTokenizerHeader;

std::string failure(std::span<const uint8_t> blob) {
  Result<Tokenizer> tokenizer = Tokenizer::open(blob);
  return tokenizer ? "accepted" : tokenizer.error().message;
}

// What opening says after a change to the header.
template <typename F> std::string failureAfter(F &&change) {
  std::vector<uint8_t> blob = smallTokenizer().blob;
  change(*reinterpret_cast<Header *>(blob.data()), blob);
  return failure(blob);
}

TEST(TokenizerSection, SaysWhatIsWrongWithTheHeader) {
  using Blob = std::vector<uint8_t>;
  EXPECT_THAT(failureAfter([](Header &h, Blob &) { h.magic[0] = 'X'; }),
              HasSubstr("expected the magic bytes QWNCHTOK"));
  EXPECT_THAT(failureAfter([](Header &h, Blob &) { h.version = 9; }),
              HasSubstr("expected version 1, found 9"));
  EXPECT_THAT(failureAfter([](Header &h, Blob &) { h.flags = 2; }),
              HasSubstr("expected no flags but NFC, found 2"));
  EXPECT_THAT(failureAfter([](Header &, Blob &b) { b.pop_back(); }), HasSubstr("bytes, found"));
  EXPECT_THAT(failureAfter([](Header &h, Blob &) { h.token_count = 0; }), HasSubstr("tokens, found 0"));
  EXPECT_THAT(failureAfter([](Header &h, Blob &) { h.token_count = 1u << 30; }),
              HasSubstr("tokens, found 1073741824"));
  EXPECT_THAT(failureAfter([](Header &h, Blob &) { h.merge_slots = 3; }),
              HasSubstr("expected powers of two"));
  EXPECT_THAT(failureAfter([](Header &h, Blob &) { h.word_slots = 0; }), HasSubstr("expected powers of two"));
  EXPECT_THAT(failureAfter([](Header &h, Blob &) { h.pattern_bytes = 1 << 20; }),
              HasSubstr("expected a pattern of"));
  EXPECT_THAT(failureAfter([](Header &h, Blob &) { h.merges_offset = UINT64_MAX - 7; }),
              HasSubstr("merges: expected"));
  EXPECT_THAT(failureAfter([](Header &h, Blob &) { h.piece_bytes = UINT64_MAX; }),
              HasSubstr("piece bytes: expected"));
  EXPECT_THAT(failureAfter([](Header &h, Blob &) { h.words_offset = 0; }), HasSubstr("words: expected"));
  EXPECT_THAT(failureAfter([](Header &h, Blob &) { h.added_offset += 4; }),
              HasSubstr("added tokens: expected"));
  EXPECT_EQ(failure({}), "tokenizer section: expected at least 128 bytes, found 0");
}

TEST(TokenizerSection, ChecksEveryIndexInTheTables) {
  const auto at = [](std::vector<uint8_t> &blob, uint64_t offset) {
    return reinterpret_cast<uint32_t *>(&blob[offset]);
  };
  using Blob = std::vector<uint8_t>;
  EXPECT_THAT(failureAfter([&](Header &h, Blob &b) { at(b, h.byte_tokens_offset)[7] = 263; }),
              HasSubstr("byte tokens: expected an id below 263, found 263"));
  EXPECT_THAT(failureAfter([&](Header &h, Blob &b) { at(b, h.pieces_offset)[0] = 1; }),
              HasSubstr("expected starts from 0"));
  EXPECT_THAT(failureAfter([&](Header &h, Blob &b) { at(b, h.pieces_offset)[9] = 0; }),
              HasSubstr("expected ascending starts"));
  EXPECT_THAT(failureAfter([&](Header &h, Blob &b) { at(b, h.pieces_offset)[h.token_count] = 1u << 30; }),
              HasSubstr("expected starts from 0"));
  const auto mergeId = [&](int field) {
    return failureAfter([&](Header &h, Blob &b) {
      for (uint32_t slot = 0; slot < h.merge_slots; ++slot)
        if (uint32_t *merge = at(b, h.merges_offset) + 4 * slot; merge[0] != QWENCH_TOKENIZER_NONE)
          merge[field] = 300;
    });
  };
  for (const int field : {0, 1, 3})
    EXPECT_THAT(mergeId(field), HasSubstr("merges: expected ids below 263, found 300"));
  EXPECT_THAT(failureAfter([&](Header &h, Blob &b) {
                for (uint32_t slot = 0; slot < h.merge_slots; ++slot)
                  at(b, h.merges_offset)[4 * slot] = 0;
              }),
              HasSubstr("merges: expected a free slot, found none"));
  EXPECT_THAT(failureAfter([&](Header &h, Blob &b) { at(b, h.words_offset)[0] = 263; }),
              HasSubstr("words: expected ids"));
  EXPECT_THAT(failureAfter([&](Header &h, Blob &b) {
                for (uint32_t slot = 0; slot < h.word_slots; ++slot)
                  at(b, h.words_offset)[2 * slot] = 0;
              }),
              HasSubstr("words: expected a free slot, found none"));
  EXPECT_THAT(failureAfter([&](Header &h, Blob &b) { at(b, h.added_offset)[0] = 263; }),
              HasSubstr("added token 0: expected an id"));
  EXPECT_THAT(failureAfter([&](Header &h, Blob &b) { at(b, h.added_offset)[2] = 99999; }),
              HasSubstr("text out of range"));
  EXPECT_THAT(failureAfter([&](Header &h, Blob &b) { at(b, h.added_offset)[3] = 0; }),
              HasSubstr("text out of range"));
  EXPECT_THAT(failureAfter([&](Header &h, Blob &b) { at(b, h.added_offset)[1] |= QWENCH_ADDED_NORMALIZED; }),
              HasSubstr("added token 1: out of order"));
  EXPECT_THAT(failureAfter([&](Header &h, Blob &b) { b[h.pattern_offset] = ')'; }),
              HasSubstr("split pattern: "));
}

// A flipped byte may give other ids, but no crash and no access outside (run with the sanitizers).
TEST(TokenizerSection, SurvivesAnyFlippedByte) {
  const std::vector<uint8_t> good = smallTokenizer().blob;
  for (size_t i = 0; i < good.size(); i += i < 600 ? 1 : 13) {
    std::vector<uint8_t> blob = good;
    blob[i] ^= static_cast<uint8_t>(1 + i % 255);
    Result<Tokenizer> tokenizer = Tokenizer::open(blob);
    if (!tokenizer)
      continue;
    const auto ids = tokenizer->encode("hello he'll 12 <|end|> <think>");
    tokenizer->decode(ids, true);
  }
}

TEST(TokenizerSection, SurvivesAnyTruncation) {
  const std::vector<uint8_t> good = smallTokenizer().blob;
  for (size_t bytes = 0; bytes < good.size(); bytes += bytes < 300 ? 1 : 97) {
    std::vector<uint8_t> blob(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(bytes));
    EXPECT_FALSE(Tokenizer::open(blob));
    if (blob.size() >= sizeof(Header)) {
      reinterpret_cast<Header *>(blob.data())->bytes = blob.size();
      EXPECT_FALSE(Tokenizer::open(blob)) << bytes;
    }
  }
}

} // namespace
} // namespace qwench
