// Cuts text into the pieces that BPE works on.
#pragma once

#include "runtime/abi/result.h"

#include <memory>
#include <string_view>

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;

namespace qwench {

/// A regular expression whose matches, and the gaps between them, are pieces ("Isolated" in tokenizers'
/// terms).
class Splitter {
public:
  /// `pattern` in PCRE2 syntax, for UTF and UCP mode; empty: text is one piece.
  static Result<Splitter> compile(std::string_view pattern);

  Splitter(Splitter &&) noexcept;
  Splitter &operator=(Splitter &&) noexcept;
  ~Splitter();

  /// Whether some text matches with no character, so that pieces would be ambiguous.
  bool matchesEmpty() const;

  /// Where the next match at or after `from` lies in `text`, valid UTF-8. Nothing found, or a pattern that
  /// exceeds PCRE2's limits on this text: {size, size}.
  struct Span {
    size_t begin, end;
  };
  Span find(std::string_view text, size_t from) const;

  /// Calls `piece(string_view)` for every piece of `text`, in order.
  template <typename F> void split(std::string_view text, F &&piece) const {
    size_t at = 0;
    while (at < text.size()) {
      const Span match = find(text, at);
      if (match.begin > at)
        piece(text.substr(at, match.begin - at));
      if (match.end > match.begin)
        piece(text.substr(match.begin, match.end - match.begin));
      at = match.end;
    }
  }

private:
  Splitter() = default;
  pcre2_real_code_8 *code = nullptr;
  pcre2_real_match_data_8 *match = nullptr;
  bool compiled = false; // to machine code
};

} // namespace qwench
