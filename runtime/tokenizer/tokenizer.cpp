#include "runtime/tokenizer/tokenizer.h"

#include "runtime/tokenizer/added_tokens.h"
#include "runtime/tokenizer/bpe.h"
#include "runtime/tokenizer/piece_cache.h"
#include "runtime/tokenizer/splitter.h"
#include "runtime/tokenizer/unicode.h"

#include <algorithm>

namespace qwench {

struct Tokenizer::State {
  State(const TokenizerTables &tables, Splitter splitter)
      : tables(tables), splitter(std::move(splitter)), rawFinder(this->tables, false),
        normalizedFinder(this->tables, true), bpe(this->tables) {
    for (const QwenchAddedToken &token : tables.added)
      if (token.flags & QWENCH_ADDED_SPECIAL)
        special.push_back(token.id);
    std::sort(special.begin(), special.end());
  }

  void encodePiece(std::string_view piece, std::vector<int32_t> &out);
  void encodeText(std::string_view text, std::vector<int32_t> &out);

  TokenizerTables tables;
  Splitter splitter;
  AddedTokenFinder rawFinder, normalizedFinder;
  std::vector<uint32_t> special; // ids, ascending
  BytePairEncoder bpe;
  PieceCache cache;
  std::string repaired, normalized; // buffers of encode()
  std::vector<TextSegment> segments, parts;
};

void Tokenizer::State::encodePiece(std::string_view piece, std::vector<int32_t> &out) {
  const uint64_t hash = qwench_bytes_hash(reinterpret_cast<const uint8_t *>(piece.data()), piece.size());
  if (const uint32_t id = tables.findWord(piece, hash); id != QWENCH_TOKENIZER_NONE) {
    out.push_back(static_cast<int32_t>(id));
    return;
  }
  if (cache.find(piece, hash, out))
    return;
  const size_t before = out.size();
  bpe.encode(piece, out);
  cache.remember(piece, hash, out.data() + before, out.size() - before);
}

void Tokenizer::State::encodeText(std::string_view text, std::vector<int32_t> &out) {
  splitter.split(text, [&](std::string_view piece) { encodePiece(piece, out); });
}

Result<Tokenizer> Tokenizer::open(std::span<const uint8_t> blob) {
  Result<TokenizerTables> tables = TokenizerTables::open(blob);
  if (!tables)
    return tables.takeError();
  Result<Splitter> splitter = Splitter::compile(tables->pattern);
  if (!splitter)
    return splitter.takeError();
  return Tokenizer(std::make_unique<State>(*tables, splitter.take()));
}

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer &&) noexcept = default;
Tokenizer &Tokenizer::operator=(Tokenizer &&) noexcept = default;
Tokenizer::~Tokenizer() = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool parseSpecial) const {
  State &s = *state;
  if (validUtf8Prefix(text) != text.size()) {
    s.repaired.clear();
    appendReplacingInvalid(s.repaired, text);
    text = s.repaired;
  }
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3 + 8);
  s.segments.clear();
  s.rawFinder.split(text, parseSpecial, s.segments);
  for (const TextSegment &segment : s.segments) {
    if (segment.token >= 0) {
      ids.push_back(static_cast<int32_t>(segment.token));
      continue;
    }
    const std::string_view part = s.tables.nfc ? toNfc(segment.text, s.normalized) : segment.text;
    if (s.normalizedFinder.empty()) {
      s.encodeText(part, ids);
      continue;
    }
    s.parts.clear();
    s.normalizedFinder.split(part, parseSpecial, s.parts);
    for (const TextSegment &inner : s.parts)
      if (inner.token >= 0)
        ids.push_back(static_cast<int32_t>(inner.token));
      else
        s.encodeText(inner.text, ids);
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skipSpecial) const {
  std::string bytes;
  for (const int32_t id : ids)
    if (!skipSpecial || !isSpecial(id))
      bytes += tokenBytes(id);
  if (validUtf8Prefix(bytes) == bytes.size())
    return bytes;
  std::string text;
  appendReplacingInvalid(text, bytes);
  return text;
}

std::optional<int32_t> Tokenizer::tokenId(std::string_view text) const {
  const TokenizerTables &tables = state->tables;
  for (const QwenchAddedToken &token : tables.added)
    if (tables.text(token) == text)
      return static_cast<int32_t>(token.id);
  if (text.empty())
    return std::nullopt;
  for (uint32_t id = 0; id < tables.tokens; ++id)
    if (tables.piece(id) == text)
      return static_cast<int32_t>(id);
  return std::nullopt;
}

std::string_view Tokenizer::tokenBytes(int32_t id) const {
  return id >= 0 && id < size() ? state->tables.piece(static_cast<uint32_t>(id)) : std::string_view();
}

bool Tokenizer::isSpecial(int32_t id) const {
  return id >= 0 &&
         std::binary_search(state->special.begin(), state->special.end(), static_cast<uint32_t>(id));
}

int32_t Tokenizer::size() const { return static_cast<int32_t>(state->tables.tokens); }

std::string StreamDecoder::push(int32_t id) {
  if (skipSpecial && tokenizer->isSpecial(id))
    return {};
  pending += tokenizer->tokenBytes(id);
  // Only the last three bytes can be the beginning of a character that is still to be finished.
  size_t certain = pending.size();
  for (size_t back = 1; back <= 3 && back <= pending.size(); ++back) {
    const std::string_view tail = std::string_view(pending).substr(pending.size() - back);
    const Utf8Step step = utf8Step(tail);
    if (step.kind == Utf8Step::Kind::Incomplete && step.bytes == back)
      certain = pending.size() - back;
  }
  std::string text;
  appendReplacingInvalid(text, std::string_view(pending).substr(0, certain));
  pending.erase(0, certain);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text;
  appendReplacingInvalid(text, pending);
  pending.clear();
  return text;
}

} // namespace qwench
