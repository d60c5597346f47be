// Byte pair encoding of one piece of text.
#pragma once

#include "runtime/tokenizer/tables.h"

#include <string_view>
#include <vector>

namespace qwench {

/// Merges the bytes of a piece: the pair of lowest rank first, the leftmost among equals, until no pair has a
/// merge.
class BytePairEncoder {
public:
  explicit BytePairEncoder(const TokenizerTables &tables) : tables(&tables) {}

  /// Appends the tokens of `piece` to `out`. Short pieces are scanned for the best pair, n^2 at worst; long
  /// ones use a heap, n log n.
  void encode(std::string_view piece, std::vector<int32_t> &out);

private:
  struct Symbol {
    uint32_t id;
    uint32_t rank;   // of merging it with the symbol after it, or QWENCH_TOKENIZER_NONE
    uint32_t merged; // what that gives
    uint32_t next, previous;
  };
  struct Candidate {
    uint32_t rank, at, merged;
  };

  void link(Symbol &left, uint32_t right) const;
  void encodeShort(std::string_view piece, std::vector<int32_t> &out);
  void encodeLong(std::string_view piece, std::vector<int32_t> &out);

  const TokenizerTables *tables;
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
};

} // namespace qwench
