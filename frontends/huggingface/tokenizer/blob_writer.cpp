// Turns a tokenizer's description into the tables of runtime/abi/tokenizer_format.h.
#include "frontends/huggingface/tokenizer/byte_alphabet.h"
#include "frontends/huggingface/tokenizer/tokenizer.h"
#include "frontends/huggingface/tokenizer/tokenizer_json.h"
#include "runtime/tokenizer/bpe.h"
#include "runtime/tokenizer/splitter.h"
#include "runtime/tokenizer/unicode.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <tuple>

namespace qwench::hf {
namespace {

// Slots for a table at most 60 % full.
uint32_t tableSize(size_t entries) { return static_cast<uint32_t>(std::bit_ceil(entries * 5 / 3 + 2)); }

struct Tables {
  std::vector<uint32_t> byteTokens = std::vector<uint32_t>(256, QWENCH_TOKENIZER_NONE);
  std::vector<uint32_t> pieceStarts{0};
  std::string pieceBytes;
  std::vector<QwenchMerge> merges;
  std::vector<QwenchWord> words;
  std::vector<QwenchAddedToken> added;
  std::string addedText;
  std::vector<bool> writesBytes; // by id: the token is spelled in the byte alphabet

  TokenizerTables view() const {
    TokenizerTables view;
    view.byteTokens = byteTokens.data();
    view.pieceStarts = pieceStarts.data();
    view.pieceBytes = pieceBytes.data();
    view.merges = merges;
    view.words = words;
    view.tokens = static_cast<uint32_t>(pieceStarts.size() - 1);
    return view;
  }
};

Status fillPieces(const TokenizerDescription &description, Tables &tables) {
  for (const std::string &token : description.tokens) {
    const std::optional<std::string> bytes = bytesOfToken(token);
    if (bytes && bytes->size() == 1)
      tables.byteTokens[static_cast<uint8_t>((*bytes)[0])] =
          static_cast<uint32_t>(tables.pieceStarts.size() - 1);
    tables.writesBytes.push_back(bytes && !bytes->empty());
    tables.pieceBytes += bytes ? *bytes : token;
    if (tables.pieceBytes.size() > UINT32_MAX)
      return userError("tokenizer.json: model.vocab: expected less than 4 GiB of text");
    tables.pieceStarts.push_back(static_cast<uint32_t>(tables.pieceBytes.size()));
  }
  for (int byte = 0; byte < 256; ++byte)
    if (tables.byteTokens[byte] == QWENCH_TOKENIZER_NONE)
      return userError(
          "tokenizer.json: model.vocab: expected a token for each of the 256 bytes, found none for byte " +
          std::to_string(byte));
  return ok();
}

void fillMerges(const TokenizerDescription &description, Tables &tables) {
  tables.merges.assign(tableSize(description.merges.size()), {QWENCH_TOKENIZER_NONE, 0, 0, 0});
  const size_t mask = tables.merges.size() - 1;
  uint32_t rank = 0;
  for (const Merge &merge : description.merges) {
    size_t slot = qwench_merge_hash(merge.left, merge.right) & mask;
    while (tables.merges[slot].left != QWENCH_TOKENIZER_NONE)
      slot = (slot + 1) & mask;
    tables.merges[slot] = {merge.left, merge.right, rank++, merge.merged};
  }
}

// Runs BPE on every token's own bytes: those that come out whole need no merging at run time.
void fillWords(Tables &tables) {
  const TokenizerTables view = tables.view();
  BytePairEncoder bpe(view);
  std::vector<uint32_t> whole;
  std::vector<int32_t> ids;
  for (uint32_t id = 0; id < view.tokens; ++id) {
    if (!tables.writesBytes[id])
      continue;
    ids.clear();
    bpe.encode(view.piece(id), ids);
    if (ids.size() == 1 && static_cast<uint32_t>(ids[0]) == id)
      whole.push_back(id);
  }
  tables.words.assign(tableSize(whole.size()), {QWENCH_TOKENIZER_NONE, 0});
  const size_t mask = tables.words.size() - 1;
  for (const uint32_t id : whole) {
    const std::string_view piece = view.piece(id);
    const uint64_t hash = qwench_bytes_hash(reinterpret_cast<const uint8_t *>(piece.data()), piece.size());
    size_t slot = hash & mask;
    while (tables.words[slot].id != QWENCH_TOKENIZER_NONE)
      slot = (slot + 1) & mask;
    tables.words[slot] = {id, static_cast<uint32_t>(hash >> 32)};
  }
}

Status fillAdded(const TokenizerDescription &description, Tables &tables) {
  struct Entry {
    bool normalized;
    std::string text;
    const AddedToken *token;
  };
  std::vector<Entry> entries;
  for (const AddedToken &token : description.added) {
    Entry entry{(token.flags & QWENCH_ADDED_NORMALIZED) != 0, token.content, &token};
    std::string buffer;
    if (entry.normalized && description.nfc)
      entry.text = toNfc(token.content, buffer);
    entries.push_back(std::move(entry));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry &a, const Entry &b) {
    const auto key = [](const Entry &e) {
      return std::tuple(e.normalized, static_cast<uint8_t>(e.text[0]), ~e.text.size());
    };
    return std::tuple(key(a), std::string_view(a.text)) < std::tuple(key(b), std::string_view(b.text));
  });
  for (size_t i = 0; i < entries.size(); ++i) {
    const Entry &entry = entries[i];
    if (i > 0 && entries[i - 1].normalized == entry.normalized && entries[i - 1].text == entry.text)
      return userError(
          "tokenizer.json: added_tokens: expected texts that differ after normalization, found two of id " +
          std::to_string(entries[i - 1].token->id) + " and " + std::to_string(entry.token->id));
    tables.added.push_back({entry.token->id, entry.token->flags,
                            static_cast<uint32_t>(tables.addedText.size()),
                            static_cast<uint32_t>(entry.text.size())});
    tables.addedText += entry.text;
  }
  return ok();
}

class BlobWriter {
public:
  explicit BlobWriter() : bytes(sizeof(QwenchTokenizerHeader)) {}

  template <typename Container> uint64_t add(const Container &values) {
    bytes.resize((bytes.size() + 7) & ~size_t{7});
    const uint64_t offset = bytes.size();
    const auto *begin = reinterpret_cast<const uint8_t *>(values.data());
    bytes.insert(bytes.end(), begin, begin + values.size() * sizeof(values[0]));
    return offset;
  }

  std::vector<uint8_t> finish(QwenchTokenizerHeader header) {
    header.bytes = bytes.size();
    memcpy(bytes.data(), &header, sizeof header);
    return std::move(bytes);
  }

private:
  std::vector<uint8_t> bytes;
};

std::vector<uint8_t> write(const TokenizerDescription &description, const Tables &tables) {
  QwenchTokenizerHeader header{};
  memcpy(header.magic, QWENCH_TOKENIZER_MAGIC, sizeof header.magic);
  header.version = QWENCH_TOKENIZER_VERSION;
  header.flags = description.nfc ? QWENCH_TOKENIZER_NFC : 0;
  header.token_count = static_cast<uint32_t>(description.tokens.size());
  header.merge_slots = static_cast<uint32_t>(tables.merges.size());
  header.word_slots = static_cast<uint32_t>(tables.words.size());
  header.added_count = static_cast<uint32_t>(tables.added.size());
  header.piece_bytes = tables.pieceBytes.size();
  header.text_bytes = tables.addedText.size();
  header.pattern_bytes = description.pattern.size();
  BlobWriter writer;
  header.byte_tokens_offset = writer.add(tables.byteTokens);
  header.pieces_offset = writer.add(tables.pieceStarts);
  header.piece_bytes_offset = writer.add(tables.pieceBytes);
  header.merges_offset = writer.add(tables.merges);
  header.words_offset = writer.add(tables.words);
  header.added_offset = writer.add(tables.added);
  header.text_offset = writer.add(tables.addedText);
  header.pattern_offset = writer.add(description.pattern);
  return writer.finish(header);
}

} // namespace

Result<std::vector<uint8_t>> buildTokenizerBlob(std::string_view tokenizerJson) {
  Result<TokenizerDescription> description = parseTokenizerJson(tokenizerJson);
  return description ? writeTokenizerBlob(*description) : description.takeError();
}

Result<std::vector<uint8_t>> writeTokenizerBlob(const TokenizerDescription &description) {
  Result<Splitter> splitter = Splitter::compile(description.pattern);
  if (!splitter)
    return userError("tokenizer.json: " + splitter.error().message);
  if (splitter->matchesEmpty())
    return userError(
        "tokenizer.json: split pattern: expected one that matches a character at least, found one that "
        "matches the empty text");
  Tables tables;
  if (Status status = fillPieces(description, tables); !status)
    return status.takeError();
  fillMerges(description, tables);
  fillWords(tables);
  if (Status status = fillAdded(description, tables); !status)
    return status.takeError();
  return write(description, tables);
}

} // namespace qwench::hf
