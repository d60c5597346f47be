// A damaged tokenizer section is refused, or gives wrong ids; nothing worse. The input, up to a byte 0xFF
// 0xFE, is laid over a good section as pairs of a place and a byte (5 bytes each), then the rest is encoded
// and decoded.
#include "frontends/huggingface/tokenizer/byte_alphabet.h"
#include "frontends/huggingface/tokenizer/tokenizer_json.h"
#include "runtime/abi/tokenizer_format.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/unicode.h"
#include "tests/fuzz/check.h"

#include <cstring>

namespace {

using namespace qwench;

std::vector<uint8_t> goodBlob() {
  hf::TokenizerDescription description;
  description.nfc = true;
  description.pattern = "\\p{L}+|\\p{N}|\\s+";
  for (const uint32_t character : hf::byteAlphabet())
    appendUtf8(description.tokens.emplace_back(), character);
  for (const char *token : {"he", "ll", "hell", "hello"})
    description.tokens.emplace_back(token);
  description.merges = {{'h', 'e', 256}, {'l', 'l', 257}, {256, 257, 258}, {258, 'o', 259}};
  description.added = {{260, QWENCH_ADDED_SPECIAL, "<|end|>"}, {261, QWENCH_ADDED_NORMALIZED, "<e>"}};
  description.tokens.insert(description.tokens.end(), {"<|end|>", "<e>"});
  description.vocabulary = 260;
  Result<std::vector<uint8_t>> blob = hf::writeTokenizerBlob(description);
  QWENCH_FUZZ_CHECK(blob);
  return blob.take();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const std::vector<uint8_t> good = goodBlob();
  std::vector<uint8_t> blob = good;
  size_t at = 0;
  for (; at + 5 <= size && !(data[at] == 0xFF && data[at + 1] == 0xFE); at += 5) {
    uint32_t place;
    memcpy(&place, data + at, 4);
    // The header and the ends of tables are where most goes wrong: half of the places fall there.
    const size_t where =
        place & 1 ? (place >> 1) % sizeof(QwenchTokenizerHeader) : (place >> 1) % blob.size();
    blob[where] = data[at + 4];
  }
  Result<Tokenizer> tokenizer = Tokenizer::open(blob);
  if (!tokenizer) {
    QWENCH_FUZZ_CHECK(tokenizer.error().message.find('\n') == std::string::npos);
    return 0;
  }
  std::string text("hello he<|end|><e> 12 ");
  text.append(reinterpret_cast<const char *>(data + at), std::min<size_t>(size - at, 4096));
  tokenizer->decode(tokenizer->encode(text), true);
  tokenizer->tokenId("hell");
  return 0;
}
