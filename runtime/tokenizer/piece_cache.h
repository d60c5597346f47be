// Remembers the tokens of pieces of text that took merging.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace qwench {

/// Direct-mapped: a piece has one slot, and the latest piece keeps it. A slot is a cache line, and holds
/// pieces of up to 30 bytes that have up to 8 tokens: words, as good as all of them.
class PieceCache {
public:
  /// Appends the tokens of `piece` to `out` and returns true, or returns false. `hash` is any hash of the
  /// piece.
  bool find(std::string_view piece, uint64_t hash, std::vector<int32_t> &out) const {
    if (slots.empty() || piece.size() > kBytes)
      return false;
    const Slot &slot = slots[hash % kSlots];
    if (slot.count == 0 || slot.bytes != piece.size() || memcmp(slot.text, piece.data(), piece.size()) != 0)
      return false;
    out.insert(out.end(), slot.ids, slot.ids + slot.count);
    return true;
  }

  void remember(std::string_view piece, uint64_t hash, const int32_t *ids, size_t count) {
    if (piece.size() > kBytes || count == 0 || count > kIds)
      return;
    if (slots.empty())
      slots.resize(kSlots);
    Slot &slot = slots[hash % kSlots];
    slot.bytes = static_cast<uint8_t>(piece.size());
    slot.count = static_cast<uint8_t>(count);
    memcpy(slot.text, piece.data(), piece.size());
    memcpy(slot.ids, ids, count * sizeof *ids);
  }

private:
  static constexpr size_t kSlots = 8192, kBytes = 30, kIds = 8;
  struct alignas(64) Slot {
    uint8_t bytes = 0, count = 0;
    char text[kBytes];
    int32_t ids[kIds];
  };
  static_assert(sizeof(Slot) == 64);

  std::vector<Slot> slots; // none until something is remembered
};

} // namespace qwench
