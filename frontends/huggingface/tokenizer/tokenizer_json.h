// What a tokenizer.json says, checked.
#pragma once

#include "runtime/abi/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qwench::hf {

struct AddedToken {
  uint32_t id;
  uint32_t flags;      ///< QWENCH_ADDED_*
  std::string content; ///< as written, not normalized
};

struct Merge {
  uint32_t left, right, merged;
};

struct TokenizerDescription {
  bool nfc = false;
  std::string pattern; ///< PCRE2 syntax
  std::vector<std::string>
      tokens;                ///< by id, in the byte alphabet, added tokens as their content; "" for no token
  uint32_t vocabulary = 0;   ///< entries of the model's vocabulary
  std::vector<Merge> merges; ///< by rank
  std::vector<AddedToken> added; ///< in file order
};

/// Errors: not JSON, a key missing or of the wrong type, anything that buildTokenizerBlob() does not support.
Result<TokenizerDescription> parseTokenizerJson(std::string_view text);

/// The blob of a description; errors as buildTokenizerBlob()'s.
Result<std::vector<uint8_t>> writeTokenizerBlob(const TokenizerDescription &description);

} // namespace qwench::hf
