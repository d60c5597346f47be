// Chat templates: conversations to prompts, as transformers' apply_chat_template renders them.
#pragma once

#include "runtime/abi/result.h"

#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qwench {

namespace jinja {
struct Template;
}

/// What a template sees besides messages and tools.
struct ChatOptions {
  bool addGenerationPrompt = true;
  std::optional<bool> enableThinking; ///< the variable enable_thinking; not defined if absent
  std::vector<std::pair<std::string, std::string>>
      variables; ///< further string variables: eos_token, bos_token, ...
};

/// A parsed Jinja template. The language is the part of Jinja 3.1 that chat templates use, with the settings
/// of transformers (trim_blocks, lstrip_blocks, its tojson, raise_exception, break and continue).
class ChatTemplate {
public:
  /// Errors carry the line: a construct, filter, test, function or method that is not supported, or bad
  /// syntax.
  static Result<ChatTemplate> parse(std::string_view text);

  ChatTemplate(ChatTemplate &&) noexcept;
  ChatTemplate &operator=(ChatTemplate &&) noexcept;
  ~ChatTemplate();

  /// The prompt. `messages` is a list of objects with "role" and "content" (and "tool_calls",
  /// "reasoning_content", ...); `tools` a list of JSON schemas or null. Errors: what raise_exception in the
  /// template says, or an operation on values that do not have it, with the line.
  Result<std::string> render(const nlohmann::ordered_json &messages, const nlohmann::ordered_json &tools,
                             const ChatOptions &options) const;

private:
  explicit ChatTemplate(std::unique_ptr<jinja::Template> parsed);
  std::unique_ptr<jinja::Template> parsed;
};

} // namespace qwench
