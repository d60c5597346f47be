#include "runtime/tokenizer/tables.h"

#include <algorithm>
#include <cstring>

namespace qwench {
namespace {

Error damaged(const std::string &what) { return userError("tokenizer section: " + what); }

std::string number(uint64_t value) { return std::to_string(value); }

// Reads tables out of the blob, remembering the first one that does not fit.
class Reader {
public:
  explicit Reader(std::span<const uint8_t> blob) : blob(blob) {}

  template <typename T> const T *array(const char *name, uint64_t offset, uint64_t count) {
    if (!failure.empty())
      return nullptr;
    if (offset % 8 != 0 || offset < sizeof(QwenchTokenizerHeader) || offset > blob.size() ||
        count > (blob.size() - offset) / sizeof(T)) {
      failure = std::string(name) + ": expected " + number(count) + " entries of " + number(sizeof(T)) +
                " bytes inside " + number(blob.size()) + " bytes, found offset " + number(offset);
      return nullptr;
    }
    return reinterpret_cast<const T *>(blob.data() + offset);
  }

  std::string failure;

private:
  std::span<const uint8_t> blob;
};

bool isTableSize(uint32_t slots) { return slots != 0 && (slots & (slots - 1)) == 0 && slots <= (1u << 26); }

Status checkPieces(const TokenizerTables &tables, uint64_t pieceBytes) {
  const uint32_t *starts = tables.pieceStarts;
  if (starts[0] != 0 || starts[tables.tokens] > pieceBytes)
    return damaged("pieces: expected starts from 0 to " + number(pieceBytes) + ", found " +
                   number(starts[0]) + " to " + number(starts[tables.tokens]));
  for (uint32_t id = 0; id < tables.tokens; ++id)
    if (starts[id + 1] < starts[id] || starts[id + 1] - starts[id] > QWENCH_TOKENIZER_MAX_PIECE_BYTES)
      return damaged("pieces: expected ascending starts, found " + number(starts[id]) + " before " +
                     number(starts[id + 1]) + " at token " + number(id));
  for (int byte = 0; byte < 256; ++byte)
    if (tables.byteTokens[byte] >= tables.tokens)
      return damaged("byte tokens: expected an id below " + number(tables.tokens) + ", found " +
                     number(tables.byteTokens[byte]));
  return ok();
}

Status checkMerges(const TokenizerTables &tables) {
  size_t used = 0;
  uint32_t worst = 0;
  for (const QwenchMerge &merge : tables.merges) {
    if (merge.left == QWENCH_TOKENIZER_NONE)
      continue;
    ++used;
    worst = std::max({worst, merge.left, merge.right, merge.merged});
  }
  if (used == tables.merges.size())
    return damaged("merges: expected a free slot, found none");
  if (used != 0 && worst >= tables.tokens)
    return damaged("merges: expected ids below " + number(tables.tokens) + ", found " + number(worst));
  return ok();
}

Status checkWords(const TokenizerTables &tables) {
  size_t used = 0;
  uint32_t worst = 0;
  for (const QwenchWord &word : tables.words) {
    if (word.id == QWENCH_TOKENIZER_NONE)
      continue;
    ++used;
    worst = std::max(worst, word.id);
  }
  if (used == tables.words.size())
    return damaged("words: expected a free slot, found none");
  if (used != 0 && worst >= tables.tokens)
    return damaged("words: expected ids below " + number(tables.tokens) + ", found " + number(worst));
  return ok();
}

Status checkAdded(const TokenizerTables &tables) {
  for (size_t i = 0; i < tables.added.size(); ++i) {
    const QwenchAddedToken &token = tables.added[i];
    if (token.id >= tables.tokens)
      return damaged("added token " + number(i) + ": expected an id below " + number(tables.tokens) +
                     ", found " + number(token.id));
    if (token.text_bytes == 0 || token.text_offset > tables.addedText.size() ||
        token.text_bytes > tables.addedText.size() - token.text_offset)
      return damaged("added token " + number(i) + ": text out of range");
    if (i == 0)
      continue;
    const QwenchAddedToken &before = tables.added[i - 1];
    auto rank = [&](const QwenchAddedToken &t) {
      return (t.flags & QWENCH_ADDED_NORMALIZED ? 256 : 0) + static_cast<uint8_t>(tables.text(t)[0]);
    };
    if (rank(before) > rank(token) || (rank(before) == rank(token) && before.text_bytes < token.text_bytes))
      return damaged("added token " + number(i) + ": out of order");
  }
  return ok();
}

} // namespace

Result<TokenizerTables> TokenizerTables::open(std::span<const uint8_t> blob) {
  if (blob.size() < sizeof(QwenchTokenizerHeader))
    return damaged("expected at least " + number(sizeof(QwenchTokenizerHeader)) + " bytes, found " +
                   number(blob.size()));
  if (reinterpret_cast<uintptr_t>(blob.data()) % 8 != 0)
    return internalError("tokenizer section: expected 8-byte alignment");
  const auto &header = *reinterpret_cast<const QwenchTokenizerHeader *>(blob.data());
  if (memcmp(header.magic, QWENCH_TOKENIZER_MAGIC, sizeof header.magic) != 0)
    return damaged("expected the magic bytes " QWENCH_TOKENIZER_MAGIC);
  if (header.version != QWENCH_TOKENIZER_VERSION)
    return damaged("expected version " + number(QWENCH_TOKENIZER_VERSION) + ", found " +
                   number(header.version));
  if (header.bytes != blob.size())
    return damaged("expected " + number(header.bytes) + " bytes, found " + number(blob.size()));
  if (header.flags & ~uint32_t{QWENCH_TOKENIZER_NFC})
    return damaged("expected no flags but NFC, found " + number(header.flags));
  if (header.token_count == 0 || header.token_count > QWENCH_TOKENIZER_MAX_TOKENS)
    return damaged("expected 1 to " + number(QWENCH_TOKENIZER_MAX_TOKENS) + " tokens, found " +
                   number(header.token_count));
  if (!isTableSize(header.merge_slots) || !isTableSize(header.word_slots))
    return damaged("expected powers of two as table sizes, found " + number(header.merge_slots) + " and " +
                   number(header.word_slots));
  if (header.pattern_bytes > QWENCH_TOKENIZER_MAX_PATTERN_BYTES)
    return damaged("expected a pattern of at most " + number(QWENCH_TOKENIZER_MAX_PATTERN_BYTES) +
                   " bytes, found " + number(header.pattern_bytes));

  TokenizerTables tables;
  tables.tokens = header.token_count;
  tables.nfc = header.flags & QWENCH_TOKENIZER_NFC;
  Reader reader(blob);
  tables.byteTokens = reader.array<uint32_t>("byte tokens", header.byte_tokens_offset, 256);
  tables.pieceStarts =
      reader.array<uint32_t>("pieces", header.pieces_offset, uint64_t{header.token_count} + 1);
  tables.pieceBytes = reader.array<char>("piece bytes", header.piece_bytes_offset, header.piece_bytes);
  tables.merges = {reader.array<QwenchMerge>("merges", header.merges_offset, header.merge_slots),
                   header.merge_slots};
  tables.words = {reader.array<QwenchWord>("words", header.words_offset, header.word_slots),
                  header.word_slots};
  tables.added = {reader.array<QwenchAddedToken>("added tokens", header.added_offset, header.added_count),
                  header.added_count};
  tables.addedText = {reader.array<char>("added text", header.text_offset, header.text_bytes),
                      header.text_bytes};
  tables.pattern = {reader.array<char>("pattern", header.pattern_offset, header.pattern_bytes),
                    header.pattern_bytes};
  if (!reader.failure.empty())
    return damaged(reader.failure);

  for (auto check : {+[](const TokenizerTables &t, uint64_t bytes) { return checkPieces(t, bytes); },
                     +[](const TokenizerTables &t, uint64_t) { return checkMerges(t); },
                     +[](const TokenizerTables &t, uint64_t) { return checkWords(t); },
                     +[](const TokenizerTables &t, uint64_t) { return checkAdded(t); }})
    if (Status status = check(tables, header.piece_bytes); !status)
      return status.takeError();
  return tables;
}

} // namespace qwench
