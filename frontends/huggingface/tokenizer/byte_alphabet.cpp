#include "frontends/huggingface/tokenizer/byte_alphabet.h"

#include "runtime/tokenizer/unicode.h"

namespace qwench::hf {
namespace {

constexpr uint32_t kCharacters = 256 + 68;

std::array<int16_t, kCharacters> byteOfCharacter() {
  std::array<int16_t, kCharacters> bytes;
  bytes.fill(-1);
  const std::array<uint32_t, 256> alphabet = byteAlphabet();
  for (int byte = 0; byte < 256; ++byte)
    bytes[alphabet[byte]] = static_cast<int16_t>(byte);
  return bytes;
}

} // namespace

std::array<uint32_t, 256> byteAlphabet() {
  std::array<uint32_t, 256> characters;
  uint32_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
    characters[byte] = printable ? byte : next++;
  }
  return characters;
}

std::optional<std::string> bytesOfToken(std::string_view text) {
  static const std::array<int16_t, kCharacters> bytes = byteOfCharacter();
  std::string out;
  while (!text.empty()) {
    const Utf8Step step = utf8Step(text);
    if (step.kind != Utf8Step::Kind::Character || step.character >= kCharacters || bytes[step.character] < 0)
      return std::nullopt;
    out += static_cast<char>(bytes[step.character]);
    text.remove_prefix(step.bytes);
  }
  return out;
}

} // namespace qwench::hf
