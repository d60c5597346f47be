// A tokenizer.json from anywhere is built into a blob that opens, or refused.
#include "frontends/huggingface/tokenizer/tokenizer.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tests/fuzz/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  using namespace qwench;
  Result<std::vector<uint8_t>> blob = hf::buildTokenizerBlob({reinterpret_cast<const char *>(data), size});
  if (!blob) {
    QWENCH_FUZZ_CHECK(blob.error().message.find('\n') == std::string::npos);
    return 0;
  }
  Result<Tokenizer> tokenizer = Tokenizer::open(*blob);
  QWENCH_FUZZ_CHECK(tokenizer); // what the frontend accepts, the runtime must open
  const std::vector<int32_t> ids = tokenizer->encode("It's 12 \xC3\xA9<|im_end|> \xE4\xBD\xA0  \n x\xFF");
  tokenizer->decode(ids, true);
  return 0;
}
