#include "tests/unit/tokenizer/small_tokenizer.h"

#include <gmock/gmock.h>

namespace qwench {
namespace {

using testing::ElementsAre;
using Ids = std::vector<int32_t>;

TEST(Tokenizer, MergesTheLowestRankFirstAndTheLeftmostAmongEquals) {
  const OwnedTokenizer t = smallTokenizer();
  EXPECT_THAT(t.tokenizer.encode("hello"), ElementsAre(259));
  EXPECT_THAT(t.tokenizer.encode("hel"), ElementsAre(256, 'l'));
  EXPECT_THAT(t.tokenizer.encode("lll"), ElementsAre(257, 'l'));
  EXPECT_THAT(t.tokenizer.encode("hello w"), ElementsAre(259, 260));
}

TEST(Tokenizer, SplitsAtAddedTokensAndGivesTheirIds) {
  const OwnedTokenizer t = smallTokenizer();
  EXPECT_THAT(t.tokenizer.encode("he<|end|>he<think>"), ElementsAre(256, 261, 256, 262));
}

TEST(Tokenizer, LeavesSpecialTokensAsTextOnlyIfAsked) {
  const OwnedTokenizer t = smallTokenizer();
  EXPECT_THAT(t.tokenizer.encode("<|end|>", false), ElementsAre('<', '|', 'e', 'n', 'd', '|', '>'));
  EXPECT_THAT(t.tokenizer.encode("<think>", false), ElementsAre(262)) << "not a special token";
}

TEST(Tokenizer, NormalizesTextButNotAcrossAddedTokens) {
  const OwnedTokenizer t = smallTokenizer();
  EXPECT_THAT(t.tokenizer.encode("e\u0301"), ElementsAre(0xC3, 0xA9));
  EXPECT_THAT(t.tokenizer.encode("e<|end|>\u0301"), ElementsAre('e', 261, 0xCC, 0x81));
}

TEST(Tokenizer, ReplacesInvalidUtf8) {
  const OwnedTokenizer t = smallTokenizer();
  EXPECT_EQ(t.tokenizer.encode("a\xFFz"), t.tokenizer.encode("a\uFFFDz"));
  EXPECT_EQ(t.tokenizer.encode("\xE2\x82"), t.tokenizer.encode("\uFFFD"));
}

TEST(Tokenizer, GivesTheSameIdsForLongPiecesAsForShortOnes) {
  const OwnedTokenizer t = smallTokenizer();
  std::string text;
  Ids expected;
  for (int i = 0; i < 500; ++i) { // one piece: letters only
    text += "hello";
    expected.push_back(259);
    text += "hel";
    expected.insert(expected.end(), {256, 'l'});
  }
  EXPECT_EQ(t.tokenizer.encode(text), expected);
}

TEST(Tokenizer, RemembersPiecesWithoutMixingThemUp) {
  const OwnedTokenizer t = smallTokenizer();
  std::vector<std::string> texts;
  for (int i = 0; i < 30000; ++i) {
    std::string text;
    for (int n = i; n > 0; n /= 26)
      text += static_cast<char>('a' + n % 26);
    texts.push_back(text + "q");
  }
  for (int round = 0; round < 2; ++round)
    for (const std::string &text : texts)
      ASSERT_EQ(t.tokenizer.decode(t.tokenizer.encode(text)), text);
}

TEST(Tokenizer, DecodesUnknownIdsToNothing) {
  const OwnedTokenizer t = smallTokenizer();
  EXPECT_EQ(t.tokenizer.decode(Ids{-1, 259, 263, INT32_MAX, 261}), "hello<|end|>");
  EXPECT_EQ(t.tokenizer.decode(Ids{259, 261, 262}, true), "hello<think>");
  EXPECT_EQ(t.tokenizer.tokenBytes(-5), "");
  EXPECT_FALSE(t.tokenizer.isSpecial(-1));
}

TEST(Tokenizer, FindsTokensByTheirText) {
  const OwnedTokenizer t = smallTokenizer();
  EXPECT_EQ(t.tokenizer.tokenId("<|end|>"), 261);
  EXPECT_EQ(t.tokenizer.tokenId("hello"), 259);
  EXPECT_EQ(t.tokenizer.tokenId(" w"), 260);
  EXPECT_EQ(t.tokenizer.tokenId("nope"), std::nullopt);
  EXPECT_EQ(t.tokenizer.tokenId(""), std::nullopt);
  EXPECT_EQ(t.tokenizer.size(), 263);
}

TEST(Tokenizer, SurvivesTenMegabytesOfOneCharacter) {
  const OwnedTokenizer t = smallTokenizer();
  EXPECT_EQ(t.tokenizer.encode(std::string(10 << 20, ' ')).size(), size_t{10 << 20});
  EXPECT_EQ(t.tokenizer.encode(std::string(2 << 20, 'l')).size(), size_t{1 << 20});
}

} // namespace
} // namespace qwench
