// The regular expression of a tokenizer.json, for PCRE2.
#pragma once

#include "runtime/abi/result.h"

#include <string>
#include <string_view>

namespace qwench::hf {

/// Translates a pattern of the tokenizers library (Oniguruma, Ruby syntax) to one for PCRE2 in UTF and UCP
/// mode that means the same. Only what means the same can pass: literals, alternatives, groups, (?i:ASCII),
/// lookahead and lookbehind, quantifiers, classes, \s \S \d \r \n \t and general categories; anything else is
/// an error that says where.
/// \s becomes the list of Unicode's White_Space, because PCRE2's \s also has U+180E.
Result<std::string> translateSplitPattern(std::string_view pattern);

} // namespace qwench::hf
