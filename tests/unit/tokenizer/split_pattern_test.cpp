#include "frontends/huggingface/tokenizer/split_pattern.h"
#include "runtime/tokenizer/splitter.h"
#include "tests/unit/tokenizer/small_tokenizer.h"

#include <gmock/gmock.h>

namespace qwench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> pieces(const std::string &pattern, const std::string &text) {
  Result<std::string> translated = hf::translateSplitPattern(pattern);
  EXPECT_TRUE(translated) << translated.error().message;
  Result<Splitter> splitter = Splitter::compile(*translated);
  EXPECT_TRUE(splitter) << splitter.error().message;
  std::vector<std::string> out;
  splitter->split(text, [&](std::string_view piece) { out.emplace_back(piece); });
  return out;
}

std::string failure(const std::string &pattern) {
  Result<std::string> translated = hf::translateSplitPattern(pattern);
  return translated ? "accepted" : translated.error().message;
}

TEST(SplitPattern, SplitsAsQwenDoes) {
  EXPECT_THAT(pieces(kQwenPattern, "It's 12 o'clock,  now!\n\n x"),
              ElementsAre("It", "'s", " ", "1", "2", " o", "'clock", ",", " ", " now", "!\n\n", " x"));
  EXPECT_THAT(pieces(kQwenPattern, "a   \n  b  "), ElementsAre("a", "   \n", " ", " b", "  "));
}

TEST(SplitPattern, KeepsTheGapsBetweenMatches) {
  EXPECT_THAT(pieces("\\p{L}+", "ab, cd."), ElementsAre("ab", ", ", "cd", "."));
}

TEST(SplitPattern, CountsWhiteSpaceAsUnicodeDoes) {
  EXPECT_THAT(pieces("\\s+", "a\u180eb\u2003\u0085c"), ElementsAre("a\u180eb", "\u2003\u0085", "c"));
  EXPECT_THAT(pieces("\\S+", "a\u180eb\u2003"), ElementsAre("a\u180eb", "\u2003"));
  EXPECT_THAT(pieces("[\\s!]+", "a \u3000!b"), ElementsAre("a", " \u3000!", "b"));
}

TEST(SplitPattern, KnowsTheNumbersOfUnicode15) {
  EXPECT_THAT(pieces("\\p{N}", "a\U0001d2c0\U0001d2d3"), ElementsAre("a", "\U0001d2c0", "\U0001d2d3"));
  EXPECT_THAT(pieces("[^\\p{N}]+", "ab\U0001d2c0c"), ElementsAre("ab", "\U0001d2c0", "c"));
}

TEST(SplitPattern, RefusesWhatMeansSomethingElseToOniguruma) {
  EXPECT_THAT(failure("a.b"),
              HasSubstr("expected a construct that PCRE2 and Oniguruma agree on, found '.b' at byte 1"));
  EXPECT_THAT(failure("^a"), HasSubstr("found '^a' at byte 0"));
  EXPECT_THAT(failure("\\w+"), HasSubstr("expected one of the escapes"));
  EXPECT_THAT(failure("\\h"), HasSubstr("expected one of the escapes"));
  EXPECT_THAT(failure("\\p{Greek}"), HasSubstr("expected a general category"));
  EXPECT_THAT(failure("[a&&b]"), HasSubstr("expected a class of characters and escapes"));
  EXPECT_THAT(failure("[[:alpha:]]"), HasSubstr("expected a class of characters and escapes"));
  EXPECT_THAT(failure("[\\S]"), HasSubstr("expected one of the escapes"));
  EXPECT_THAT(failure("(?<n>a)"), HasSubstr("expected a group of the kinds"));
  EXPECT_THAT(failure("(?m:a)"), HasSubstr("expected a group of the kinds"));
  EXPECT_THAT(failure("(*VERB)a"), HasSubstr("expected a group of the kinds"));
  EXPECT_THAT(failure("a{,3}"), HasSubstr("expected a count"));
  EXPECT_THAT(failure("a{2}+"), HasSubstr("found '+'"));
  EXPECT_THAT(failure("(?i:straße)"), HasSubstr("expected"));
  EXPECT_THAT(failure("(?i:miss)"), HasSubstr("fold to one character"));
  EXPECT_THAT(failure("(a"), HasSubstr("expected a closing parenthesis, found the end"));
  EXPECT_THAT(failure("a)"), HasSubstr("expected an open group"));
  EXPECT_THAT(failure("[a"), HasSubstr("expected a class with a closing bracket"));
  EXPECT_THAT(failure("\\"), HasSubstr("expected one of the escapes"));
  EXPECT_THAT(failure("\\p{"), HasSubstr("expected a general category"));
}

} // namespace
} // namespace qwench
