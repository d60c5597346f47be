// The characters by which byte-level tokenizers write bytes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace qwench::hf {

/// Character of each byte: printable Latin-1 stands for itself, the other 68 bytes for U+0100 upwards in
/// order.
std::array<uint32_t, 256> byteAlphabet();

/// Bytes that a token's text, valid UTF-8, writes in the byte alphabet; nothing if a character is not of it.
std::optional<std::string> bytesOfToken(std::string_view text);

} // namespace qwench::hf
