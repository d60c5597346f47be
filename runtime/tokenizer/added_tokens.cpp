#include "runtime/tokenizer/added_tokens.h"

#include "runtime/tokenizer/unicode.h"

#include <utf8proc.h>

namespace qwench {
namespace {

// White_Space, \s of the regex crate.
bool isSpace(uint32_t c) {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

// \w of the regex crate: Alphabetic, marks, decimal numbers, connector punctuation, the joiners. Alphabetic
// beyond letters, letter numbers and marks is the circled and squared Latin letters.
bool isWord(uint32_t c) {
  if (c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
      (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189))
    return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
  case UTF8PROC_CATEGORY_LU:
  case UTF8PROC_CATEGORY_LL:
  case UTF8PROC_CATEGORY_LT:
  case UTF8PROC_CATEGORY_LM:
  case UTF8PROC_CATEGORY_LO:
  case UTF8PROC_CATEGORY_NL:
  case UTF8PROC_CATEGORY_ND:
  case UTF8PROC_CATEGORY_MN:
  case UTF8PROC_CATEGORY_MC:
  case UTF8PROC_CATEGORY_ME:
  case UTF8PROC_CATEGORY_PC:
    return true;
  default:
    return false;
  }
}

// Start of the last character of `text`, which is not empty.
size_t lastCharacter(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80)
    --at;
  return at;
}

bool startsWithWord(std::string_view text) { return !text.empty() && isWord(utf8Step(text).character); }

bool endsWithWord(std::string_view text) {
  return !text.empty() && isWord(utf8Step(text.substr(lastCharacter(text))).character);
}

size_t withoutSpaceAtEnd(std::string_view text) {
  while (!text.empty()) {
    const size_t at = lastCharacter(text);
    if (!isSpace(utf8Step(text.substr(at)).character))
      break;
    text = text.substr(0, at);
  }
  return text.size();
}

size_t spaceAtStart(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Utf8Step step = utf8Step(text.substr(at));
    if (!isSpace(step.character))
      break;
    at += step.bytes;
  }
  return at;
}

} // namespace

AddedTokenFinder::AddedTokenFinder(const TokenizerTables &tables, bool normalized) : tables(&tables) {
  const auto isNormalized = [&](uint32_t i) {
    return (tables.added[i].flags & QWENCH_ADDED_NORMALIZED) != 0;
  };
  const auto count = static_cast<uint32_t>(tables.added.size());
  first = 0;
  while (first < count && isNormalized(first) != normalized)
    ++first;
  last = first;
  while (last < count && isNormalized(last) == normalized)
    ++last;
  uint32_t at = first;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    byFirstByte[byte] = at;
    while (at < last && static_cast<uint8_t>(tables.text(tables.added[at])[0]) == byte)
      ++at;
  }
  byFirstByte[256] = at;
}

const QwenchAddedToken *AddedTokenFinder::matchAt(std::string_view text, size_t at) const {
  const uint8_t byte = static_cast<uint8_t>(text[at]);
  for (uint32_t i = byFirstByte[byte]; i < byFirstByte[byte + 1]; ++i)
    if (text.substr(at).starts_with(tables->text(tables->added[i])))
      return &tables->added[i];
  return nullptr;
}

void AddedTokenFinder::split(std::string_view text, bool parseSpecial, std::vector<TextSegment> &out) const {
  size_t done = 0;
  for (size_t at = 0; at < text.size() && !empty();) {
    const QwenchAddedToken *token = matchAt(text, at);
    if (!token) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + token->text_bytes;
    at = end;
    if (!parseSpecial && (token->flags & QWENCH_ADDED_SPECIAL))
      continue;
    if ((token->flags & QWENCH_ADDED_SINGLE_WORD) &&
        (endsWithWord(text.substr(0, begin)) || startsWithWord(text.substr(end))))
      continue;
    if (token->flags & QWENCH_ADDED_LSTRIP)
      begin = std::max(withoutSpaceAtEnd(text.substr(0, begin)), done);
    if (token->flags & QWENCH_ADDED_RSTRIP)
      end += spaceAtStart(text.substr(end));
    if (done < begin)
      out.push_back({-1, text.substr(done, begin - done)});
    out.push_back({token->id, text.substr(begin, end - begin)});
    done = end;
  }
  if (done < text.size())
    out.push_back({-1, text.substr(done)});
}

} // namespace qwench
