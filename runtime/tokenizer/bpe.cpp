#include "runtime/tokenizer/bpe.h"

#include <algorithm>

namespace qwench {
namespace {

constexpr uint32_t kNone = QWENCH_TOKENIZER_NONE;

// Above this the scan for the lowest rank (a cache line holds three symbols) loses to the heap.
constexpr size_t kShortPiece = 64;

} // namespace

void BytePairEncoder::link(Symbol &left, uint32_t right) const {
  const QwenchMerge *merge = tables->findMerge(left.id, right);
  left.rank = merge ? merge->rank : kNone;
  left.merged = merge ? merge->merged : kNone;
}

void BytePairEncoder::encode(std::string_view piece, std::vector<int32_t> &out) {
  if (piece.size() <= kShortPiece)
    encodeShort(piece, out);
  else
    encodeLong(piece, out);
}

void BytePairEncoder::encodeShort(std::string_view piece, std::vector<int32_t> &out) {
  Symbol row[kShortPiece];
  size_t count = piece.size();
  for (size_t i = 0; i < count; ++i)
    row[i].id = tables->byteTokens[static_cast<uint8_t>(piece[i])];
  for (size_t i = 0; i + 1 < count; ++i)
    link(row[i], row[i + 1].id);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i)
      if (row[i].rank < row[best].rank)
        best = i;
    if (row[best].rank == kNone)
      break;
    row[best].id = row[best].merged;
    --count;
    std::copy(row + best + 2, row + count + 1, row + best + 1);
    if (best + 1 < count)
      link(row[best], row[best + 1].id);
    if (best > 0)
      link(row[best - 1], row[best].id);
  }
  for (size_t i = 0; i < count; ++i)
    out.push_back(static_cast<int32_t>(row[i].id));
}

void BytePairEncoder::encodeLong(std::string_view piece, std::vector<int32_t> &out) {
  const auto later = [](const Candidate &a, const Candidate &b) {
    return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
  };
  const auto count = static_cast<uint32_t>(piece.size());
  symbols.resize(count);
  heap.clear();
  for (uint32_t i = 0; i < count; ++i)
    symbols[i] = {tables->byteTokens[static_cast<uint8_t>(piece[i])], kNone, kNone, i + 1, i - 1};
  for (uint32_t i = 0; i + 1 < count; ++i) {
    link(symbols[i], symbols[i + 1].id);
    if (symbols[i].rank != kNone)
      heap.push_back({symbols[i].rank, i, symbols[i].merged});
  }
  std::make_heap(heap.begin(), heap.end(), later);

  const auto relink = [&](uint32_t at) {
    link(symbols[at], symbols[symbols[at].next].id);
    if (symbols[at].rank == kNone)
      return;
    heap.push_back({symbols[at].rank, at, symbols[at].merged});
    std::push_heap(heap.begin(), heap.end(), later);
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Candidate best = heap.back();
    heap.pop_back();
    Symbol &left = symbols[best.at];
    if (left.rank != best.rank || left.merged != best.merged) // an older pair of this place
      continue;
    const uint32_t gone = left.next;
    left.id = best.merged;
    left.rank = kNone;
    left.next = symbols[gone].next;
    symbols[gone].rank = kNone;
    if (left.next < count) {
      symbols[left.next].previous = best.at;
      relink(best.at);
    }
    if (left.previous < count)
      relink(left.previous);
  }
  for (uint32_t i = 0; i < count; i = symbols[i].next)
    out.push_back(static_cast<int32_t>(symbols[i].id));
}

} // namespace qwench
