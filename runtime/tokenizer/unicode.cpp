#include "runtime/tokenizer/unicode.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utf8proc.h>
#include <utility>
#include <vector>

namespace qwench {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// Marks that came with Unicode 10 to 15. The tokenizers library normalizes by Unicode 9 and knows none of
// them: to it they are letters that compose with nothing, and so they must be here. Found by comparing all
// characters with it.
constexpr std::pair<uint32_t, uint32_t> kUnknownMarks[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},
    {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},
    {0xA82C, 0xA82C},   {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50},
    {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
    {0x11930, 0x11930}, {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34},
    {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97},
    {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE},
    {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}};

bool isUnknownMark(uint32_t character) {
  const auto *range = std::upper_bound(std::begin(kUnknownMarks), std::end(kUnknownMarks), character,
                                       [](uint32_t c, const auto &r) { return c <= r.second; });
  return range != std::end(kUnknownMarks) && character >= range->first;
}

// Whether nothing that NFC does reaches across the front of this character, and it alone stays as it is.
// Below U+0300 there are letters with marks, but no marks: they may be left to the character behind them.
bool isInert(uint32_t character) {
  if (character < 0x300)
    return true;
  if ((character >= 0x1160 && character <= 0x11FF)) // vowels and finals of Hangul, composed by rule
    return false;
  const utf8proc_property_t *property = utf8proc_get_property(static_cast<utf8proc_int32_t>(character));
  const bool decomposes = property->decomp_seqindex != UINT16_MAX && property->decomp_type == 0;
  const bool joinsBackwards = property->comb_index != UINT16_MAX && property->comb_index >= 0x8000;
  if (property->combining_class == 0 && !decomposes && !joinsBackwards)
    return true;
  return isUnknownMark(character);
}

void appendComposed(std::string &out, std::string_view text, std::vector<utf8proc_int32_t> &characters) {
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  const auto *bytes = reinterpret_cast<const utf8proc_uint8_t *>(text.data());
  const auto size = static_cast<utf8proc_ssize_t>(text.size());
  characters.resize(text.size() + 8);
  utf8proc_ssize_t count = utf8proc_decompose(bytes, size, characters.data(), characters.size(), options);
  if (count > static_cast<utf8proc_ssize_t>(characters.size())) {
    characters.resize(count);
    count = utf8proc_decompose(bytes, size, characters.data(), count, options);
  }
  if (count >= 0)
    count = utf8proc_normalize_utf32(characters.data(), count, options);
  if (count < 0) { // not valid UTF-8, against the contract
    out += text;
    return;
  }
  for (utf8proc_ssize_t i = 0; i < count; ++i)
    appendUtf8(out, static_cast<uint32_t>(characters[i]));
}

} // namespace

Utf8Step utf8Step(std::string_view text) {
  using Kind = Utf8Step::Kind;
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80)
    return {Kind::Character, lead, 1};
  if (lead < 0xC2 || lead > 0xF4)
    return {Kind::Invalid, 0, 1};
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  uint32_t character = lead & (0x7F >> length);
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size())
      return {Kind::Incomplete, 0, i};
    // The second byte is narrower after some leads: no overlong forms, no surrogates, nothing above U+10FFFF.
    const uint8_t low = i > 1 ? 0x80 : lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = i > 1 ? 0xBF : lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (byte(i) < low || byte(i) > high)
      return {Kind::Invalid, 0, i};
    character = character << 6 | (byte(i) & 0x3F);
  }
  return {Kind::Character, character, length};
}

void appendUtf8(std::string &out, uint32_t character) {
  if (character < 0x80) {
    out += static_cast<char>(character);
    return;
  }
  if (character < 0x800) {
    out += static_cast<char>(0xC0 | character >> 6);
  } else {
    if (character < 0x10000) {
      out += static_cast<char>(0xE0 | character >> 12);
    } else {
      out += static_cast<char>(0xF0 | character >> 18);
      out += static_cast<char>(0x80 | (character >> 12 & 0x3F));
    }
    out += static_cast<char>(0x80 | (character >> 6 & 0x3F));
  }
  out += static_cast<char>(0x80 | (character & 0x3F));
}

size_t validUtf8Prefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    uint64_t eight;
    if (at + 8 <= text.size() && (memcpy(&eight, text.data() + at, 8), !(eight & 0x8080808080808080u))) {
      at += 8;
      continue;
    }
    const Utf8Step step = utf8Step(text.substr(at));
    if (step.kind != Utf8Step::Kind::Character)
      break;
    at += step.bytes;
  }
  return at;
}

void appendReplacingInvalid(std::string &out, std::string_view text) {
  while (!text.empty()) {
    const size_t good = validUtf8Prefix(text);
    out += text.substr(0, good);
    text.remove_prefix(good);
    if (text.empty())
      return;
    out += kReplacement;
    text.remove_prefix(utf8Step(text).bytes);
  }
}

std::string_view toNfc(std::string_view text, std::string &buffer) {
  std::vector<utf8proc_int32_t> characters;
  size_t copied = 0; // text before this is in the buffer, once the buffer is in use
  size_t inert = 0;  // start of the last inert character
  bool changed = false;
  buffer.clear();
  for (size_t at = 0; at < text.size();) {
    if (static_cast<uint8_t>(text[at]) < 0x80) {
      inert = at++;
      continue;
    }
    Utf8Step step = utf8Step(text.substr(at));
    if (isInert(step.character)) {
      inert = isUnknownMark(step.character) ? at + step.bytes : at; // it must not be sorted among marks
      at += step.bytes;
      continue;
    }
    // From the inert character before to the next one is what composing can touch.
    size_t end = at;
    do {
      end += step.bytes;
      if (end >= text.size())
        break;
      step = utf8Step(text.substr(end));
    } while (!isInert(step.character));
    const size_t begin = inert;
    buffer += text.substr(copied, begin - copied);
    const size_t before = buffer.size();
    appendComposed(buffer, text.substr(begin, end - begin), characters);
    changed |= std::string_view(buffer).substr(before) != text.substr(begin, end - begin);
    copied = at = inert = end;
  }
  if (!changed)
    return text;
  buffer += text.substr(copied);
  return buffer;
}

} // namespace qwench
