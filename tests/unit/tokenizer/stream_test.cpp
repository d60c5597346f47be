#include "tests/unit/tokenizer/small_tokenizer.h"

#include <random>

namespace qwench {
namespace {

TEST(StreamDecoder, HoldsBackAnUnfinishedCharacter) {
  const OwnedTokenizer t = smallTokenizer();
  StreamDecoder decoder(t.tokenizer);
  EXPECT_EQ(decoder.push(0xF0), "");
  EXPECT_EQ(decoder.push(0x9F), "");
  EXPECT_EQ(decoder.push(0x98), "");
  EXPECT_EQ(decoder.push(0x80), "😀");
  EXPECT_EQ(decoder.push(0xE2), "");
  EXPECT_EQ(decoder.push('a'), "\uFFFDa");
  EXPECT_EQ(decoder.push(0xC3), "");
  EXPECT_EQ(decoder.finish(), "\uFFFD");
  EXPECT_EQ(decoder.finish(), "");
}

TEST(StreamDecoder, LeavesOutSpecialTokensIfAsked) {
  const OwnedTokenizer t = smallTokenizer();
  StreamDecoder decoder(t.tokenizer, true);
  EXPECT_EQ(decoder.push(0xC3) + decoder.push(261) + decoder.push(0xA9), "é");
  EXPECT_EQ(decoder.push(262), "<think>");
}

TEST(StreamDecoder, EqualsDecodingAllIdsAtOnce) {
  const OwnedTokenizer t = smallTokenizer();
  std::mt19937 random(7);
  // Leads, continuation bytes and a letter: every kind of broken UTF-8.
  const int32_t ids[] = {0xC3, 0xA9, 0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x98,
                         0x80, 0xED, 0xA0, 0xF4, 0x90, 0xFF, 'a',  261};
  for (int round = 0; round < 3000; ++round) {
    std::vector<int32_t> list(random() % 12);
    for (int32_t &id : list)
      id = ids[random() % std::size(ids)];
    StreamDecoder decoder(t.tokenizer);
    std::string text;
    for (const int32_t id : list) {
      text += decoder.push(id);
      ASSERT_EQ(validUtf8Prefix(text), text.size());
    }
    ASSERT_EQ(text + decoder.finish(), t.tokenizer.decode(list));
  }
}

} // namespace
} // namespace qwench
