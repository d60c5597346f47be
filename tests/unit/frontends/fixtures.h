// What the frontend tests share: small configurations, safetensors files byte by byte, directories that go
// away.
#pragma once

#include "frontends/huggingface/checkpoint.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdlib.h>
#include <string>
#include <utility>
#include <vector>

namespace qwench::hf::testing {

using Json = nlohmann::json;

/// A directory of its own for one test.
class TemporaryDirectory {
public:
  TemporaryDirectory() {
    std::string pattern = ::testing::TempDir() + "/qwench-XXXXXX";
    directory = mkdtemp(pattern.data());
  }
  TemporaryDirectory(const TemporaryDirectory &) = delete;
  TemporaryDirectory(TemporaryDirectory &&other) : directory(std::exchange(other.directory, "")) {}
  ~TemporaryDirectory() {
    if (!directory.empty())
      std::filesystem::remove_all(directory);
  }
  std::string path(const std::string &name = "") const {
    return name.empty() ? directory : directory + "/" + name;
  }
  void write(const std::string &name, const std::string &content) const {
    std::ofstream(path(name), std::ios::binary) << content;
  }

private:
  std::string directory;
};

/// A tensor of a file under construction; data is filled with a counter.
struct FileTensor {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  size_t bytes;
};

/// A safetensors file with that header text and that many bytes of data: 0, 1, 2, ...
inline std::string safetensorsFile(const std::string &header, size_t dataBytes) {
  std::string file(8, '\0');
  uint64_t length = header.size();
  std::memcpy(file.data(), &length, 8);
  file += header;
  for (size_t i = 0; i < dataBytes; ++i)
    file += static_cast<char>(i);
  return file;
}

/// A valid file with those tensors one after the other.
inline std::string safetensorsFile(const std::vector<FileTensor> &tensors) {
  Json header = Json::object();
  size_t offset = 0;
  for (const FileTensor &tensor : tensors) {
    header[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + tensor.bytes}}};
    offset += tensor.bytes;
  }
  return safetensorsFile(header.dump(), offset);
}

/// A dense model of two layers.
inline Json denseConfig() {
  return Json::parse(R"({
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 16, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 24, "vocab_size": 40,
    "max_position_embeddings": 128, "tie_word_embeddings": true})");
}

/// A model of two layers, the second with four experts.
inline Json moeConfig() {
  Json config = denseConfig();
  config.update(Json::parse(R"({
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 8, "mlp_only_layers": [0], "norm_topk_prob": true})"));
  return config;
}

/// The parsed configuration; the test fails if there is none.
inline ModelConfig parsed(const Json &json) {
  Result<ModelConfig> config = parseConfig(json.dump(), "config.json");
  EXPECT_TRUE(config) << config.error().message;
  return config ? config.take() : ModelConfig();
}

/// The error's message, or "no error".
template <typename T> std::string messageOf(const Result<T> &result) {
  return result ? "no error" : result.error().message;
}

/// The message of opening and validating a directory with this model.safetensors, DIR for the directory.
inline std::string validate(const ModelConfig &config, const std::string &file) {
  TemporaryDirectory directory;
  directory.write("model.safetensors", file);
  Result<Checkpoint> checkpoint = Checkpoint::open(directory.path());
  std::string message = checkpoint ? messageOf(checkpoint->validate(config)) : messageOf(checkpoint);
  if (size_t at = message.find(directory.path()); at != std::string::npos)
    message.replace(at, directory.path().size(), "DIR");
  return message;
}

} // namespace qwench::hf::testing
