#include "runtime/tokenizer/chat_template.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace qwench {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

// The prompt, or what went wrong.
std::string render(const std::string &text, const Json &messages = Json::array(),
                   const ChatOptions &options = {}) {
  Result<ChatTemplate> parsed = ChatTemplate::parse(text);
  if (!parsed)
    return "refused: " + parsed.error().message;
  Result<std::string> prompt = parsed->render(messages, nullptr, options);
  return prompt ? *prompt : "failed: " + prompt.error().message;
}

TEST(ChatTemplate, SeesItsVariables) {
  ChatOptions options;
  options.variables = {{"eos_token", "<|im_end|>"}};
  options.enableThinking = false;
  EXPECT_EQ(
      render("{{ eos_token }} {{ enable_thinking }} {{ add_generation_prompt }}", Json::array(), options),
      "<|im_end|> False True");
  EXPECT_EQ(render("{{ enable_thinking is defined }} {{ tools is none }}"), "False True");
}

TEST(ChatTemplate, KeepsTheOrderOfKeys) {
  EXPECT_EQ(
      render("{{ messages[0] | tojson }}", Json::parse(R"([{"role": "z", "b": 1, "a": {"y": 1, "x": 2}}])")),
      R"({"role": "z", "b": 1, "a": {"y": 1, "x": 2}})");
}

TEST(ChatTemplate, RefusesWhatItDoesNotSupportWhenItParses) {
  const std::string at = "refused: chat template, line 2: ";
  EXPECT_EQ(render("\n{{ a | md5 }}"), at + "filter 'md5' is not supported");
  EXPECT_EQ(render("\n{{ a is prime }}"), at + "test 'prime' is not supported");
  EXPECT_EQ(render("\n{{ strftime_now('%Y') }}"), at + "function 'strftime_now' is not supported");
  EXPECT_EQ(render("\n{{ a.append(1) }}"), at + "method 'append' is not supported");
  EXPECT_EQ(render("\n{% include 'x' %}"), at + "statement 'include' is not supported");
  EXPECT_EQ(render("\n{% for i in x recursive %}{% endfor %}"),
            at + "recursive for statements are not supported");
  EXPECT_EQ(render("\n{% for i in [1] %}{% macro m() %}{% endmacro %}{% endfor %}"),
            at + "macros inside other statements are not supported");
  EXPECT_EQ(render("\n{{ f(*a) }}"), at + "function 'f' is not supported");
  EXPECT_EQ(render("\n{{ range(*a) }}"), at + "arguments with * are not supported");
  EXPECT_EQ(render("\n{{ ((1)) (2) }}"), at + "expected a function, macro or method before '('");
}

TEST(ChatTemplate, SaysWhereTheSyntaxIsWrong) {
  EXPECT_EQ(render("a\nb {{ 1 + }}"), "refused: chat template, line 2: expected an expression, found }}");
  EXPECT_EQ(render("{% if 1 %}\n"),
            "refused: chat template, line 1: expected {% endif %}, found the end of the template");
  EXPECT_EQ(render("\n\n{{ 'abc }}"),
            "refused: chat template, line 3: expected the end of a text, found the end of the template");
  EXPECT_EQ(render("{{ a ? b }}"),
            "refused: chat template, line 1: expected a name, number, text or operator, found '?'");
  EXPECT_EQ(render("{{ 99999999999999999999 }}"),
            "refused: chat template, line 1: expected a number of 64 bits, found 99999999999999999999");
  EXPECT_EQ(render("{% for loop in [1] %}{% endfor %}"),
            "refused: chat template, line 1: expected a name that can be set, found 'loop'");
  EXPECT_EQ(render("\xFF"), "refused: chat template, line 1: expected UTF-8");
}

TEST(ChatTemplate, SaysWhereRenderingFails) {
  const std::string at = "failed: chat template, line 2: ";
  EXPECT_EQ(render("\n{{ raise_exception('no user turn') }}"), at + "no user turn");
  EXPECT_EQ(render("\n{{ missing.content }}"), at + "'missing' is undefined, and has no attribute content");
  EXPECT_EQ(render("\n{{ 'a' + none }}"), at + "cannot use + with str and None");
  EXPECT_EQ(render("\n{{ 9223372036854775807 + 1 }}"), at + "a whole number outgrew 64 bits");
  EXPECT_EQ(render("\n{{ -9223372036854775807 - 1 }}"), "\n-9223372036854775808");
}

TEST(ChatTemplate, ChecksTheMessages) {
  EXPECT_EQ(render("x", Json::object()), "failed: messages: expected a list, found object");
  EXPECT_EQ(render("x", Json::array({1})), "failed: messages[0]: expected an object, found number");
  Json deep = 1;
  for (int i = 0; i < 200; ++i)
    deep = Json::array({deep});
  EXPECT_EQ(render("x", Json::array({{{"content", deep}}})),
            "failed: messages: expected values that nest at most 100 deep");
  EXPECT_EQ(render("x", Json::parse(R"([{"n": 18446744073709551615}])")),
            "failed: messages: expected whole numbers of 64 bits with a sign, found 18446744073709551615");
}

TEST(ChatTemplate, BoundsWhatATemplateCosts) {
  EXPECT_THAT(render("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"),
              HasSubstr("steps"));
  EXPECT_THAT(
      render("{% for i in range(100000) %}{% for j in range(100000) %}{{ j }}{% endfor %}{% endfor %}"),
      HasSubstr("failed"));
  EXPECT_THAT(render("{{ range(100001) }}"), HasSubstr("expected at most 100000 numbers, found 100001"));
  EXPECT_THAT(render("{{ 'abcdefgh' * 100000000 }}"), HasSubstr("expected values of at most"));
  EXPECT_THAT(render("{% set n = namespace(s='abcdefgh') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s "
                     "%}{% endfor %}"),
              HasSubstr("expected values of at most"));
  EXPECT_THAT(
      render("{% set n = namespace(s=[1]) %}{% for i in range(99) %}{% set n.s = [n.s, n.s] %}{% endfor %}"),
      HasSubstr("expected"));
  EXPECT_THAT(
      render("{% set n = namespace(s=1) %}{% for i in range(300) %}{% set n.s = [n.s] %}{% endfor %}"),
      HasSubstr("nest at most 200 deep"));
  EXPECT_THAT(render("{% set n = namespace() %}{% set n.n = n %}"),
              HasSubstr("a namespace cannot hold a namespace"));
  EXPECT_THAT(render("{% set n = namespace() %}{{ [n] }}"), HasSubstr("hold no namespace"));
  EXPECT_THAT(render("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), HasSubstr("nested evaluations"));
}

TEST(ChatTemplate, BoundsWhatParsingCosts) {
  const auto repeat = [](const std::string &text, int count) {
    std::string out;
    for (int i = 0; i < count; ++i)
      out += text;
    return out;
  };
  EXPECT_THAT(render("{{ " + repeat("(", 5000) + "1" + repeat(")", 5000) + " }}"),
              HasSubstr("nested expressions"));
  EXPECT_THAT(render("{{ " + repeat("-", 5000) + "1 }}"), HasSubstr("nested expressions"));
  EXPECT_THAT(render("{{ " + repeat("not ", 5000) + "1 }}"), HasSubstr("nested expressions"));
  EXPECT_THAT(render("{{ 1" + repeat(" + 1", 5000) + " }}"), HasSubstr("operations on one another"));
  EXPECT_THAT(render("{{ a" + repeat(".b", 5000) + " }}"), HasSubstr("operations on one another"));
  EXPECT_THAT(render("{{ 1" + repeat(" | abs", 5000) + " }}"), HasSubstr("operations on one another"));
  EXPECT_THAT(render("{{ 1" + repeat(" if 1 else 1", 5000) + " }}"), HasSubstr("nested expressions"));
  EXPECT_THAT(render(repeat("{% if 1 %}", 5000) + repeat("{% endif %}", 5000)),
              HasSubstr("nested statements"));
  EXPECT_EQ(render("{{ 'a'" + repeat(" ~ 'a'", 5000) + " }}").size(), 5001u);
}

} // namespace
} // namespace qwench
