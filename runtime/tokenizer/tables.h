// A checked view of a tokenizer section.
#pragma once

#include "runtime/abi/result.h"
#include "runtime/abi/tokenizer_format.h"

#include <span>
#include <string_view>

namespace qwench {

/// The tables of a section, in place. Every id in them is below tokens(), every range inside the section.
struct TokenizerTables {
  const uint32_t *byteTokens = nullptr;  // [256]
  const uint32_t *pieceStarts = nullptr; // [tokens + 1]
  const char *pieceBytes = nullptr;
  std::span<const QwenchMerge> merges; // a power of two
  std::span<const QwenchWord> words;   // a power of two
  std::span<const QwenchAddedToken> added;
  std::string_view addedText, pattern;
  uint32_t tokens = 0;
  bool nfc = false;

  /// Checks the section and points into it. Linear in its size, a few milliseconds for 150 thousand tokens.
  static Result<TokenizerTables> open(std::span<const uint8_t> blob);

  std::string_view piece(uint32_t id) const {
    return {pieceBytes + pieceStarts[id], pieceStarts[id + 1] - pieceStarts[id]};
  }
  std::string_view text(const QwenchAddedToken &token) const {
    return addedText.substr(token.text_offset, token.text_bytes);
  }

  /// The merge of two neighbours, or null.
  const QwenchMerge *findMerge(uint32_t left, uint32_t right) const {
    const size_t mask = merges.size() - 1;
    for (size_t slot = qwench_merge_hash(left, right) & mask;; slot = (slot + 1) & mask) {
      const QwenchMerge &merge = merges[slot];
      if (merge.left == left && merge.right == right)
        return &merge;
      if (merge.left == QWENCH_TOKENIZER_NONE)
        return nullptr;
    }
  }

  /// The token that is made of all of `bytes` without looking at merges, or QWENCH_TOKENIZER_NONE. `hash` is
  /// qwench_bytes_hash() of them.
  uint32_t findWord(std::string_view bytes, uint64_t hash) const {
    const size_t mask = words.size() - 1;
    const uint32_t tag = hash >> 32;
    for (size_t slot = hash & mask;; slot = (slot + 1) & mask) {
      const QwenchWord &word = words[slot];
      if (word.id == QWENCH_TOKENIZER_NONE || (word.hash == tag && piece(word.id) == bytes))
        return word.id;
    }
  }
};

} // namespace qwench
