// Which tensors make a quantized matrix of a checkpoint, and what is wrong with them otherwise.
#include "frontends/huggingface/checkpoint.h"
#include "tests/unit/frontends/fixtures.h"

#include <gtest/gtest.h>

#include <map>

namespace qwench::hf {
namespace {

using testing::denseConfig;
using testing::Json;
using testing::messageOf;
using testing::moeConfig;
using testing::parsed;
using testing::TemporaryDirectory;

struct Content {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};
using Contents = std::map<std::string, Content>;

/// `element` over and over.
Content filled(const char *dtype, std::vector<int64_t> shape, std::string element) {
  Content content{dtype, std::move(shape), {}};
  int64_t count = 1;
  for (int64_t size : content.shape)
    count *= size;
  for (int64_t i = 0; i < count; ++i)
    content.bytes += element;
  return content;
}

const std::string kHalfOne("\0\x3c", 2), kZero2(2, '\0'), kEights(4, '\x88'), kSevens(4, '\x77');

std::string file(const Contents &contents) {
  Json header = Json::object();
  std::string data;
  for (const auto &[name, content] : contents) {
    header[name] = {{"dtype", content.dtype},
                    {"shape", content.shape},
                    {"data_offsets", {data.size(), data.size() + content.bytes.size()}}};
    data += content.bytes;
  }
  std::string text = header.dump(), start(8, '\0');
  uint64_t length = text.size();
  std::memcpy(start.data(), &length, 8);
  return start + text + data;
}

ModelConfig gptqModel(bool moe = false) {
  Json json = moe ? moeConfig() : denseConfig();
  json["quantization_config"] = Json::parse(R"({"quant_method": "gptq", "bits": 4, "group_size": 8})");
  return parsed(json);
}

ModelConfig fp8Model() {
  Json json = moeConfig();
  json["quantization_config"] = Json::parse(
      R"({"quant_method": "fp8", "weight_block_size": [128, 128], "modules_to_not_convert": ["o_proj"]})");
  return parsed(json);
}

/// What a checkpoint of the model holds, every projection quantized.
Contents contentsOf(const ModelConfig &config) {
  Contents contents;
  for (const ExpectedTensor &expected : expectedTensors(config)) {
    const std::string &name = expected.name;
    if (!config.quantization->converts(name)) {
      contents[name] = filled("BF16", expected.shape, kZero2);
      continue;
    }
    int64_t n = expected.shape[0], k = expected.shape[1];
    std::string stem = name.substr(0, name.size() - 6);
    if (config.quantization->method == QuantMethod::Fp8) {
      contents[name] = filled("F8_E4M3", expected.shape, "8");
      contents[name + "_scale_inv"] = filled("BF16", {(n + 127) / 128, (k + 127) / 128}, "\x80\x3f");
      continue;
    }
    contents[stem + "qweight"] = filled("I32", {k / 8, n}, kEights);
    contents[stem + "qzeros"] = filled("I32", {k / 8, n / 8}, kSevens);
    contents[stem + "scales"] = filled("F16", {k / 8, n}, kHalfOne);
    contents[stem + "g_idx"] = filled("I32", {k}, std::string(4, '\0'));
  }
  return contents;
}

std::string validate(const ModelConfig &config, const Contents &contents) {
  return testing::validate(config, file(contents));
}

constexpr const char *kUp = "model.layers.0.mlp.up_proj.";

TEST(QuantizedCheckpoint, knowsWhatIsQuantized) {
  ModelConfig config = gptqModel(/*moe=*/true);
  TemporaryDirectory directory;
  directory.write("model.safetensors", file(contentsOf(config)));
  Result<Checkpoint> checkpoint = Checkpoint::open(directory.path());
  ASSERT_TRUE(checkpoint) << messageOf(checkpoint);
  EXPECT_EQ(checkpoint->storedFormat(kUp + std::string("weight")), nullptr);
  Status valid = checkpoint->validate(config);
  ASSERT_TRUE(valid) << messageOf(valid);
  for (const ExpectedTensor &expected : expectedTensors(config))
    EXPECT_EQ(checkpoint->storedFormat(expected.name) != nullptr,
              config.quantization->converts(expected.name))
        << expected.name;
  Result<QuantizedMatrix> matrix = checkpoint->quantized("model.layers.1.mlp.experts.2.down_proj.weight");
  ASSERT_TRUE(matrix) << messageOf(matrix);
  EXPECT_EQ(matrix->rows(), config.hidden);
  EXPECT_EQ(matrix->columns(), config.moeIntermediate);
  EXPECT_FALSE(checkpoint->quantized("model.norm.weight"));
}

TEST(QuantizedCheckpoint, tensorsDecideWhatIsQuantized) {
  ModelConfig config = gptqModel();
  Contents contents = contentsOf(config);
  for (const char *part : {"qweight", "qzeros", "scales", "g_idx"})
    contents.erase(kUp + std::string(part));
  contents[kUp + std::string("weight")] = filled("F16", {24, 16}, kZero2);
  EXPECT_EQ(validate(config, contents), "no error");
}

TEST(QuantizedCheckpoint, missingPartsAreNamed) {
  ModelConfig config = gptqModel();
  for (const char *part : {"qweight", "qzeros", "scales"}) {
    Contents contents = contentsOf(config);
    contents.erase(kUp + std::string(part));
    EXPECT_EQ(validate(config, contents), "DIR: missing tensor " + (kUp + std::string(part)));
  }
  Contents contents = contentsOf(config);
  contents.erase(kUp + std::string("g_idx"));
  EXPECT_EQ(validate(config, contents), "no error");
  config = fp8Model();
  contents = contentsOf(config);
  contents.erase(kUp + std::string("weight_scale_inv"));
  EXPECT_EQ(validate(config, contents), "DIR: missing tensor model.layers.0.mlp.up_proj.weight_scale_inv");
}

TEST(QuantizedCheckpoint, partsWithoutAPlaceAreErrors) {
  ModelConfig config = gptqModel();
  Contents contents = contentsOf(config);
  contents[kUp + std::string("weight")] = filled("F16", {24, 16}, kZero2);
  EXPECT_EQ(validate(config, contents),
            "DIR: unexpected tensor model.layers.0.mlp.up_proj.weight (config.json has "
            "no place for it)");
  config = fp8Model();
  contents = contentsOf(config);
  contents[kUp + std::string("weight")] = filled("BF16", {24, 16}, kZero2);
  EXPECT_EQ(validate(config, contents), "DIR: unexpected tensor model.layers.0.mlp.up_proj.weight_scale_inv "
                                        "(config.json has no place for it)");
}

TEST(QuantizedCheckpoint, biasesOfZerosAreIgnored) {
  ModelConfig config = gptqModel();
  Contents contents = contentsOf(config);
  contents[kUp + std::string("bias")] = filled("F16", {24}, kZero2);
  EXPECT_EQ(validate(config, contents), "no error");
  contents[kUp + std::string("bias")] = filled("F16", {24}, kHalfOne);
  EXPECT_EQ(validate(config, contents),
            "DIR: unexpected tensor model.layers.0.mlp.up_proj.bias (config.json has "
            "no place for it)");
}

TEST(QuantizedCheckpoint, contentsAreChecked) {
  ModelConfig config = gptqModel();
  Contents contents = contentsOf(config);
  contents[kUp + std::string("scales")].bytes[7] = '\x7f';
  EXPECT_EQ(validate(config, contents),
            "DIR: expected finite numbers in model.layers.0.mlp.up_proj.scales, found "
            "nan at [0, 3]");
  contents = contentsOf(config);
  contents[kUp + std::string("g_idx")].bytes[4] = 2;
  EXPECT_EQ(validate(config, contents),
            "DIR: expected groups below 2 in model.layers.0.mlp.up_proj.g_idx, found 2 "
            "at [1]");
  contents = contentsOf(config);
  contents[kUp + std::string("qzeros")] = filled("I32", {3, 2}, kSevens);
  EXPECT_EQ(validate(config, contents), "DIR: expected shape [2, 3] of model.layers.0.mlp.up_proj.qzeros as "
                                        "config.json says, found [3, 2]");
}

TEST(QuantizedCheckpoint, whatIsNotToBeConvertedIsPlain) {
  ModelConfig config = fp8Model();
  Contents contents = contentsOf(config);
  EXPECT_EQ(validate(config, contents), "no error");
  std::string name = "model.layers.0.self_attn.o_proj.weight";
  contents[name] = filled("F8_E4M3", {16, 128}, "8");
  contents[name + "_scale_inv"] = filled("BF16", {1, 1}, "\x80\x3f");
  EXPECT_EQ(validate(config, contents), "DIR: expected " + name +
                                            " of type F32, F16 or BF16 as "
                                            "modules_to_not_convert says, found it quantized");
}

TEST(QuantizedCheckpoint, fp8WithoutAConfigurationIsAnError) {
  ModelConfig config = fp8Model();
  Contents contents = contentsOf(config);
  config.quantization.reset();
  EXPECT_EQ(validate(config, contents),
            "DIR: expected model.layers.0.self_attn.q_proj.weight of type F32, F16 or "
            "BF16, found F8_E4M3");
}

TEST(QuantizedCheckpoint, fusedExpertsOfFp8AreSlices) {
  ModelConfig config = fp8Model();
  Contents contents = contentsOf(config);
  std::erase_if(contents,
                [](const auto &entry) { return entry.first.find(".experts.") != std::string::npos; });
  std::string experts = "model.layers.1.mlp.experts.";
  contents[experts + "gate_up_proj"] = filled("F8_E4M3", {4, 16, 16}, "8");
  contents[experts + "gate_up_proj_scale_inv"] = filled("F32", {4, 1, 1}, std::string("\0\0\0\x40", 4));
  contents[experts + "down_proj"] = filled("F8_E4M3", {4, 16, 8}, "8");
  contents[experts + "down_proj_scale_inv"] = filled("F32", {4, 1, 1}, std::string("\0\0\0\x40", 4));
  contents[experts + "down_proj_scale_inv"].bytes[11] = '\x41'; // 2 becomes 8 for expert 2
  TemporaryDirectory directory;
  directory.write("model.safetensors", file(contents));
  Result<Checkpoint> checkpoint = Checkpoint::open(directory.path());
  ASSERT_TRUE(checkpoint) << messageOf(checkpoint);
  Status valid = checkpoint->validate(config);
  ASSERT_TRUE(valid) << messageOf(valid);
  float value = 0;
  for (auto [name, expected] : {std::pair("3.up_proj.weight", 2.0f), std::pair("2.down_proj.weight", 8.0f)}) {
    Result<QuantizedMatrix> matrix = checkpoint->quantized(experts + name);
    ASSERT_TRUE(matrix) << messageOf(matrix);
    std::vector<float> values(matrix->rows() * matrix->columns());
    matrix->values(0, matrix->rows(), values.data(), matrix->columns());
    for (float found : values)
      ASSERT_EQ(found, expected) << name;
    value += values[0];
  }
  EXPECT_EQ(value, 10.0f);
  contents[experts + "down_proj_scale_inv"] = filled("F32", {3, 1, 1}, std::string("\0\0\0\x40", 4));
  EXPECT_EQ(validate(config, contents),
            "DIR: expected scales [experts, blocks, blocks] in "
            "model.layers.1.mlp.experts.down_proj_scale_inv, found F32 [3, 1, 1]");
}

} // namespace
} // namespace qwench::hf
