#include "runtime/tokenizer/unicode.h"

#include <gtest/gtest.h>

namespace qwench {
namespace {

std::string replaced(std::string_view text) {
  std::string out;
  appendReplacingInvalid(out, text);
  return out;
}

// The right-hand sides are Python's bytes.decode("utf-8", errors="replace").
TEST(Unicode, ReplacesMaximalSubpartsAsPythonDoes) {
  const std::string bad = "\uFFFD";
  EXPECT_EQ(replaced("\xFF"), bad);
  EXPECT_EQ(replaced("a\x80z"), "a" + bad + "z");
  EXPECT_EQ(replaced("\xE2\x82"), bad);
  EXPECT_EQ(replaced("\xE2\x82("), bad + "(");
  EXPECT_EQ(replaced("\xF0\x9F\x98z"), bad + "z");
  EXPECT_EQ(replaced("\xC0\x80"), bad + bad);
  EXPECT_EQ(replaced("\xED\xA0\x80"), bad + bad + bad);
  EXPECT_EQ(replaced("\xF4\x90\x80\x80"), bad + bad + bad + bad);
  EXPECT_EQ(replaced("\xE0\x9F\xBF"), bad + bad + bad);
  EXPECT_EQ(replaced("\xF4\x8F\xBF\xBF"), "\U0010FFFF");
}

TEST(Unicode, EncodesWhatItDecodes) {
  for (uint32_t c : {0x0u, 0x7Fu, 0x80u, 0x7FFu, 0x800u, 0xD7FFu, 0xE000u, 0xFFFFu, 0x10000u, 0x10FFFFu}) {
    std::string text;
    appendUtf8(text, c);
    const Utf8Step step = utf8Step(text);
    EXPECT_EQ(step.kind, Utf8Step::Kind::Character);
    EXPECT_EQ(step.character, c);
    EXPECT_EQ(step.bytes, text.size());
  }
}

TEST(Unicode, ComposesOnlyWhatIsNotInFormC) {
  std::string buffer;
  for (const std::string text : {"", "plain", "é ü ñ", "漢字かな", "가각", "ế Ἀ", "नमस्ते"})
    EXPECT_EQ(toNfc(text, buffer).data(), text.data()) << text << " was copied";
  EXPECT_EQ(toNfc("xe\u0301y", buffer), "xéy");
  EXPECT_EQ(toNfc("\u1100\u1161\u11A8!", buffer), "각!");
  EXPECT_EQ(toNfc("\uAC00\u11A8", buffer), "각");
  EXPECT_EQ(toNfc("a\u0301\u0323b", buffer), "ạ\u0301b") << "marks are sorted by class before they compose";
  EXPECT_EQ(toNfc("\u212B\u0958\u0344", buffer), "Å\u0915\u093C\u0308\u0301");
  EXPECT_EQ(toNfc("e\u0301 e\u0301 \u00e9", buffer), "é é é");
}

// The oracle's tables are those of Unicode 9.
TEST(Unicode, LeavesMarksAloneThatTheTokenizersLibraryDoesNotKnow) {
  std::string buffer;
  for (const std::string text : {"x\u07FD\u0327\u0301", "\U00011935\U00011930", "a\u0345\u0898"})
    EXPECT_EQ(toNfc(text, buffer), text);
  EXPECT_EQ(toNfc("\u07FD\u0301\u0327", buffer), "\u07FD\u0327\u0301");
  EXPECT_EQ(toNfc("e\u0301\u0898\u0301", buffer), "é\u0898\u0301");
}

} // namespace
} // namespace qwench
