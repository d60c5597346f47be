// A chat template from anywhere is refused, fails, or renders.
#include "runtime/tokenizer/chat_template.h"
#include "runtime/tokenizer/unicode.h"
#include "tests/fuzz/check.h"

#include <nlohmann/json.hpp>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  using namespace qwench;
  static const auto messages = nlohmann::ordered_json::parse(
      R"([{"role": "system", "content": "s"}, {"role": "user", "content": "h\u00e9 <think>x</think> y", "n": 3, "f": 0.5},
          {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {"a": [1, {}]}}}]}])");
  Result<ChatTemplate> parsed = ChatTemplate::parse({reinterpret_cast<const char *>(data), size});
  if (!parsed) {
    QWENCH_FUZZ_CHECK(parsed.error().message.find('\n') == std::string::npos);
    return 0;
  }
  ChatOptions options;
  options.enableThinking = false;
  options.variables = {{"eos_token", "<|im_end|>"}};
  Result<std::string> prompt = parsed->render(messages, messages, options);
  if (prompt)
    QWENCH_FUZZ_CHECK(validUtf8Prefix(*prompt) == prompt->size()); // UTF-8 in, UTF-8 out
  else
    QWENCH_FUZZ_CHECK(prompt.error().message.find('\n') == std::string::npos);
  return 0;
}
