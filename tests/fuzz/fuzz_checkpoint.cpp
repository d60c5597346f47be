// Any bytes as the model.safetensors of a small mixture of experts: looking up, slicing and validating stays
// inside it.
#include "frontends/huggingface/checkpoint.h"
#include "tests/fuzz/input_directory.h"

#include <string>

using namespace qwench::hf;

namespace {

const ModelConfig &model() {
  static const ModelConfig config = [] {
    auto parsed = parseConfig(R"({"model_type": "qwen3_moe", "hidden_size": 1, "num_hidden_layers": 1,
        "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 32, "vocab_size": 2, "num_experts": 2,
        "num_experts_per_tok": 1, "moe_intermediate_size": 1, "tie_word_embeddings": true})",
                              "c");
    QWENCH_FUZZ_CHECK(parsed);
    return parsed.take();
  }();
  return config;
}

/// Reads a view's ends, so that the sanitizer sees where they are.
unsigned touch(const TensorView &view) {
  if (view.bytes == 0)
    return 0;
  return static_cast<unsigned>(view.data[0]) + static_cast<unsigned>(view.data[view.bytes - 1]);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  writeInput("model.safetensors", data, size);
  qwench::Result<Checkpoint> checkpoint = Checkpoint::open(inputDirectory());
  if (!checkpoint)
    return 0;
  bool valid = static_cast<bool>(checkpoint->validate(model()));
  const std::byte *begin = nullptr, *end = nullptr;
  for (const TensorView &view : checkpoint->files()[0].tensors()) {
    begin = begin ? begin : view.data;
    end = view.data + view.bytes;
  }
  volatile unsigned sink = 0;
  for (const ExpectedTensor &expected : expectedTensors(model())) {
    qwench::Result<TensorView> view = checkpoint->find(expected.name);
    QWENCH_FUZZ_CHECK(view || !valid);
    if (!view)
      continue;
    QWENCH_FUZZ_CHECK(view->data >= begin && view->data + view->bytes <= end);
    sink = sink + touch(*view);
  }
  return 0;
}
