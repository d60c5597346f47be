// Any bytes as a safetensors file in memory: an error of one line, or tensors that cover its data exactly.
#include "frontends/huggingface/safetensors.h"
#include "tests/fuzz/check.h"

using namespace qwench::hf;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::span<const std::byte> file(reinterpret_cast<const std::byte *>(data), size);
  qwench::Result<std::vector<TensorView>> views = parseSafetensors(file, "m");
  if (!views) {
    QWENCH_FUZZ_CHECK(views.error().fault == qwench::Error::Fault::User);
    QWENCH_FUZZ_CHECK(views.error().message.find('\n') == std::string::npos);
    return 0;
  }
  const std::byte *end = file.data() + file.size();
  size_t covered = 0;
  for (const TensorView &view : *views) {
    uint64_t bitCount = static_cast<uint64_t>(bits(view.dtype));
    for (int64_t length : view.shape)
      bitCount *= static_cast<uint64_t>(length);
    QWENCH_FUZZ_CHECK(bitCount == 8 * view.bytes);
    QWENCH_FUZZ_CHECK(view.data >= file.data() && view.data <= end);
    QWENCH_FUZZ_CHECK(view.bytes <= static_cast<size_t>(end - view.data));
    covered += view.bytes;
  }
  QWENCH_FUZZ_CHECK(covered < size);
  return 0;
}
