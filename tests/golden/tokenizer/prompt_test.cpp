// Prompts equal those of transformers' apply_chat_template.
#include "runtime/tokenizer/chat_template.h"
#include "tests/golden/tokenizer/golden.h"

#include <map>

namespace qwench::golden {
namespace {

void expectSame(const Result<std::string> &prompt, const Json &expected, const std::string &what) {
  if (expected.contains("error"))
    EXPECT_FALSE(prompt) << what << "\nrendered: " << *prompt;
  else if (!prompt)
    ADD_FAILURE() << what << "\nfailed: " << prompt.error().message;
  else
    EXPECT_EQ(*prompt, expected["text"].get<std::string>()) << what;
}

TEST(GoldenPrompts, EqualThoseOfTransformers) {
  const Json golden = readJson("prompts.json");
  std::map<std::string, ChatTemplate> templates;
  for (const auto &[name, path] : golden["templates"].items()) {
    Result<ChatTemplate> parsed = ChatTemplate::parse(readText(path.get<std::string>()));
    ASSERT_TRUE(parsed) << path << ": " << parsed.error().message;
    templates.emplace(name, parsed.take());
  }
  ASSERT_EQ(templates.size(), 4u);
  for (const Json &c : golden["cases"]) {
    ChatOptions options;
    options.addGenerationPrompt = c["generation_prompt"];
    if (!c["thinking"].is_null())
      options.enableThinking = c["thinking"].get<bool>();
    const std::string conversation = c["conversation"], tools = c["tools"], name = c["template"];
    expectSame(
        templates.at(name).render(golden["conversations"][conversation], golden["tools"][tools], options), c,
        name + ", " + conversation + ", " + tools);
  }
}

TEST(GoldenSnippets, EqualThoseOfTransformers) {
  const Json golden = readJson("snippets.json");
  ChatOptions options;
  options.addGenerationPrompt = false;
  options.variables = {{"eos_token", "<|im_end|>"}};
  for (const Json &c : golden["cases"]) {
    const std::string text = c["template"];
    Result<ChatTemplate> parsed = ChatTemplate::parse(text);
    expectSame(parsed ? parsed->render(golden["messages"], nullptr, options)
                      : Result<std::string>(parsed.takeError()),
               c, text);
  }
}

} // namespace
} // namespace qwench::golden
