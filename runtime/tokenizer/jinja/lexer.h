// Cuts a template into text and the tokens inside its tags.
#pragma once

#include "runtime/abi/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace qwench::jinja {

struct Token {
  enum class Kind {
    Text,
    BlockBegin,
    BlockEnd,
    OutputBegin,
    OutputEnd,
    Name,
    String,
    Integer,
    Float,
    Operator,
    End
  };
  Kind kind;
  std::string text; // of String: with its escapes replaced
  int line;
};

/// Tokens of a template, the last of them Kind::End. White space around tags is treated as with trim_blocks
/// and lstrip_blocks, comments are gone, {% raw %} has become text.
Result<std::vector<Token>> tokenize(std::string_view source);

/// "chat template, line N: message", on one line.
Error templateError(int line, const std::string &message);

} // namespace qwench::jinja
