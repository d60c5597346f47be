// The metadata section's JSON. What is accepted must be within its bounds.
#include "runtime/core/metadata.h"

#include <cstddef>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  constexpr uint64_t kWeights = 5000;
  auto metadata = qwench::parseMetadata({reinterpret_cast<const char *>(data), size}, kWeights);
  if (!metadata)
    return metadata.error().message.find('\n') != std::string::npos ? (abort(), 0) : 0;
  if (metadata->randomWeights)
    for (const qwench::RandomTensor &tensor : metadata->randomWeights->tensors)
      if (tensor.offset > kWeights || tensor.bytes > kWeights - tensor.offset)
        abort();
  if (metadata->externalWeights && metadata->externalWeights->find('/') != std::string::npos)
    abort();
  return 0;
}
