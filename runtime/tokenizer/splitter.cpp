#define PCRE2_CODE_UNIT_WIDTH 8
#include "runtime/tokenizer/splitter.h"

#include <algorithm>
#include <pcre2.h>
#include <string>
#include <utility>

namespace qwench {

Result<Splitter> Splitter::compile(std::string_view pattern) {
  Splitter splitter;
  if (pattern.empty())
    return splitter;
  int error = 0;
  size_t where = 0;
  splitter.code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &where, nullptr);
  if (!splitter.code) {
    char reason[256] = "";
    pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR *>(reason), sizeof reason);
    return userError("split pattern: " + std::string(reason) + " at byte " + std::to_string(where));
  }
  splitter.match = pcre2_match_data_create(1, nullptr);
  if (!splitter.match)
    return userError("split pattern: out of memory");
  splitter.compiled = pcre2_jit_compile(splitter.code, PCRE2_JIT_COMPLETE) == 0;
  return splitter;
}

Splitter::Splitter(Splitter &&other) noexcept { *this = std::move(other); }

Splitter &Splitter::operator=(Splitter &&other) noexcept {
  std::swap(code, other.code);
  std::swap(match, other.match);
  std::swap(compiled, other.compiled);
  return *this;
}

Splitter::~Splitter() {
  pcre2_match_data_free(match);
  pcre2_code_free(code);
}

bool Splitter::matchesEmpty() const {
  uint32_t empty = 0;
  return code && pcre2_pattern_info(code, PCRE2_INFO_MATCHEMPTY, &empty) == 0 && empty;
}

Splitter::Span Splitter::find(std::string_view text, size_t from) const {
  const Span nothing{text.size(), text.size()};
  if (!code)
    return {from, text.size()};
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
  int found = PCRE2_ERROR_JIT_BADOPTION;
  if (compiled)
    found = pcre2_jit_match(code, subject, text.size(), from, options, match, nullptr);
  if (found < 0 && found != PCRE2_ERROR_NOMATCH) // not compiled, or out of the compiled code's stack
    found = pcre2_match(code, subject, text.size(), from, options | PCRE2_NO_JIT, match, nullptr);
  if (found < 0)
    return nothing;
  const size_t *bounds = pcre2_get_ovector_pointer(match);
  if (bounds[0] < from || bounds[1] <= bounds[0] || bounds[1] > text.size()) // \K can do that
    return nothing;
  return {bounds[0], bounds[1]};
}

} // namespace qwench
