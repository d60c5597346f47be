// What the tokenizer needs of Unicode: UTF-8 with replacement, normalization form C.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace qwench {

/// What stands at the front of a byte string.
struct Utf8Step {
  enum class Kind { Character, Invalid, Incomplete };
  Kind kind;
  uint32_t character; ///< only of Kind::Character
  /// Bytes of the character; of what one U+FFFD stands for (the maximal subpart, as Unicode 3.9 and Python
  /// define it); of the beginning of a character that the string cuts short.
  size_t bytes;
};

/// Looks at the front of `text`, which must not be empty.
Utf8Step utf8Step(std::string_view text);

void appendUtf8(std::string &out, uint32_t character);

/// How many bytes at the front of `text` are whole, valid UTF-8 characters.
size_t validUtf8Prefix(std::string_view text);

/// Appends `text` with U+FFFD for what is not UTF-8: Python's decode("utf-8", errors="replace").
void appendReplacingInvalid(std::string &out, std::string_view text);

/// Brings valid UTF-8 to normalization form C. Returns `text` itself if it is in that form already, as most
/// text is seen to be without composing it; else `buffer`, filled.
std::string_view toNfc(std::string_view text, std::string &buffer);

} // namespace qwench
