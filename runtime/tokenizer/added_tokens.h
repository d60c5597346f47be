// Finds added tokens (<|im_end|>, <think>, ...) in text.
#pragma once

#include "runtime/tokenizer/tables.h"

#include <array>
#include <vector>

namespace qwench {

/// A stretch of text: an added token, or what lies between two.
struct TextSegment {
  int64_t token; ///< id, or -1 for text
  std::string_view text;
};

/// The added tokens that are looked for before normalization, or those looked for after it. Leftmost match,
/// longest first, as the tokenizers library finds them.
class AddedTokenFinder {
public:
  AddedTokenFinder(const TokenizerTables &tables, bool normalized);

  bool empty() const { return first == last; }

  /// Appends the segments of `text` to `out`. With `parseSpecial` false, special tokens are left in the text.
  void split(std::string_view text, bool parseSpecial, std::vector<TextSegment> &out) const;

private:
  const QwenchAddedToken *matchAt(std::string_view text, size_t at) const;

  const TokenizerTables *tables;
  uint32_t first, last;                  // in tables->added
  std::array<uint32_t, 257> byFirstByte; // where the tokens that start with each byte start
};

} // namespace qwench
