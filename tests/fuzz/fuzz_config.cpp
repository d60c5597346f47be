// Any text as config.json and as generation_config.json: an error of one line, or a configuration within its
// promises.
#include "frontends/huggingface/checkpoint.h"
#include "frontends/huggingface/config.h"
#include "frontends/huggingface/generation_config.h"
#include "tests/fuzz/check.h"

#include <cmath>

using namespace qwench::hf;

namespace {

void checkError(const qwench::Error &error) {
  QWENCH_FUZZ_CHECK(error.fault == qwench::Error::Fault::User);
  QWENCH_FUZZ_CHECK(!error.message.empty());
  QWENCH_FUZZ_CHECK(error.message.find('\n') == std::string::npos);
}

void checkRope(const ModelConfig &config) {
  QWENCH_FUZZ_CHECK(attentionScaling(config.rope) > 0 && std::isfinite(attentionScaling(config.rope)));
  QWENCH_FUZZ_CHECK(config.rope.originalMaxPosition >= 1);
  for (int64_t length : {int64_t(0), int64_t(1), config.rope.originalMaxPosition + 1, int64_t(INT32_MAX)}) {
    std::vector<float> frequencies = inverseFrequencies(config.rope, config.headDim, length);
    QWENCH_FUZZ_CHECK(static_cast<int64_t>(frequencies.size()) == config.headDim / 2);
    for (float f : frequencies)
      QWENCH_FUZZ_CHECK(std::isfinite(f) && f >= 0);
  }
}

void checkPromises(const ModelConfig &config) {
  QWENCH_FUZZ_CHECK(config.hidden > 0 && config.vocab > 0 && config.layerCount() > 0);
  QWENCH_FUZZ_CHECK(config.kvHeads > 0 && config.heads % config.kvHeads == 0);
  QWENCH_FUZZ_CHECK(config.headDim > 0 && config.headDim % 32 == 0);
  QWENCH_FUZZ_CHECK(config.topK <= config.experts);
  ParameterCount count = countParameters(config);
  QWENCH_FUZZ_CHECK(count.active > 0 && count.total > 0);
  for (const LayerConfig &layer : config.layers) {
    QWENCH_FUZZ_CHECK(!layer.window || *layer.window > 0);
    QWENCH_FUZZ_CHECK(layer.sparse ? config.topK > 0 && config.moeIntermediate > 0 : config.intermediate > 0);
  }
  for (int64_t id : config.eosIds)
    QWENCH_FUZZ_CHECK(id >= 0 && id < config.vocab);
  checkRope(config);
  if (config.layerCount() * (config.experts + 1) > 10000)
    return; // expected tensors by the million would only make the fuzzer slow
  int64_t elements = 0;
  for (const ExpectedTensor &tensor : expectedTensors(config)) {
    int64_t product = 1;
    for (int64_t size : tensor.shape)
      product *= size;
    elements += product;
  }
  QWENCH_FUZZ_CHECK(elements == count.total);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view text(reinterpret_cast<const char *>(data), size);
  qwench::Result<ModelConfig> config = parseConfig(text, "c");
  if (config)
    checkPromises(*config);
  else
    checkError(config.error());
  ModelConfig model;
  model.vocab = 1000;
  qwench::Result<GenerationConfig> generation = parseGenerationConfig(text, "g", model);
  if (!generation) {
    checkError(generation.error());
    return 0;
  }
  QWENCH_FUZZ_CHECK(!generation->doSample || generation->temperature > 0);
  QWENCH_FUZZ_CHECK(generation->topP > 0 && generation->topP <= 1);
  QWENCH_FUZZ_CHECK(generation->minP >= 0 && generation->minP <= 1);
  return 0;
}
