// A byte that chooses a configuration, and any bytes as its quantized model.safetensors: what validates can
// be read, and its numbers are finite where its codes are.
#include "frontends/huggingface/checkpoint.h"
#include "tests/fuzz/input_directory.h"

#include <cmath>
#include <string>

using namespace qwench::hf;

namespace {

constexpr const char *kQuantizations[] = {
    R"({"quant_method": "fp8", "weight_block_size": [128, 128]})",
    R"({"quant_method": "gptq", "bits": 4, "group_size": 8})",
    R"({"quant_method": "gptq", "bits": 8, "group_size": -1, "sym": false, "checkpoint_format": "gptq_v2"})",
    R"({"quant_method": "awq", "bits": 4, "group_size": 16})",
};
constexpr size_t kConfigurations = std::size(kQuantizations);

const ModelConfig &model(uint8_t choice) {
  static const std::vector<ModelConfig> models = [] {
    std::vector<ModelConfig> parsed;
    for (const char *quantization : kQuantizations) {
      auto config = parseConfig(R"({"model_type": "qwen3_moe", "hidden_size": 8, "num_hidden_layers": 1,
          "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 32, "vocab_size": 2, "num_experts": 2,
          "num_experts_per_tok": 1, "moe_intermediate_size": 8, "tie_word_embeddings": true,
          "quantization_config": )" +
                                    std::string(quantization) + "}",
                                "c");
      QWENCH_FUZZ_CHECK(config);
      parsed.push_back(config.take());
    }
    return parsed;
  }();
  return models[choice % kConfigurations];
}

/// Reads all of a matrix in every way.
void readAll(const QuantizedMatrix &matrix) {
  int64_t rows = matrix.rows(), columns = matrix.columns();
  std::vector<float> values(rows * columns), scales(matrix.groups());
  std::vector<uint8_t> codes(rows * columns), zeros(matrix.groups());
  matrix.values(0, rows, values.data(), columns);
  matrix.codes(0, rows, codes.data(), columns);
  bool e4m3 = matrix.format()->codes == StoredFormat::Codes::E4M3;
  for (int64_t row = 0; row < rows; ++row) {
    matrix.scales(row, scales.data());
    matrix.zeros(row, zeros.data());
    for (float scale : scales)
      QWENCH_FUZZ_CHECK(std::isfinite(scale));
    for (int64_t k = row * columns; k < (row + 1) * columns; ++k)
      QWENCH_FUZZ_CHECK(!std::isnan(values[k]) || (e4m3 && (codes[k] & 0x7f) == 0x7f));
  }
  std::string reason;
  QWENCH_FUZZ_CHECK(formatOf(*matrix.format(), reason).has_value() == reason.empty());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  writeInput("model.safetensors", data + 1, size - 1);
  qwench::Result<Checkpoint> checkpoint = Checkpoint::open(inputDirectory());
  if (!checkpoint)
    return 0;
  const ModelConfig &config = model(data[0]);
  qwench::Status valid = checkpoint->validate(config);
  if (!valid) {
    QWENCH_FUZZ_CHECK(valid.error().fault == qwench::Error::Fault::User);
    QWENCH_FUZZ_CHECK(valid.error().message.find('\n') == std::string::npos);
    return 0;
  }
  for (const ExpectedTensor &expected : expectedTensors(config)) {
    if (!checkpoint->storedFormat(expected.name))
      continue;
    qwench::Result<QuantizedMatrix> matrix = checkpoint->quantized(expected.name);
    QWENCH_FUZZ_CHECK(matrix);
    readAll(*matrix);
  }
  return 0;
}
