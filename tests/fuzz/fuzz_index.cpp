// Any text as model.safetensors.index.json: an error of one line, or names of files beside it.
#include "frontends/huggingface/checkpoint.h"
#include "tests/fuzz/check.h"

using namespace qwench::hf;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view text(reinterpret_cast<const char *>(data), size);
  auto files = parseIndex(text, "i");
  if (!files) {
    QWENCH_FUZZ_CHECK(files.error().fault == qwench::Error::Fault::User);
    QWENCH_FUZZ_CHECK(files.error().message.find('\n') == std::string::npos);
    return 0;
  }
  for (const auto &[tensor, file] : *files) {
    QWENCH_FUZZ_CHECK(!file.empty() && file != "." && file != "..");
    QWENCH_FUZZ_CHECK(file.find('/') == std::string::npos && file.find('\0') == std::string::npos);
  }
  return 0;
}
