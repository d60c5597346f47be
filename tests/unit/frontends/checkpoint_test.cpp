#include "frontends/huggingface/checkpoint.h"
#include "tests/unit/frontends/fixtures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qwench::hf {
namespace {

using testing::denseConfig;
using testing::FileTensor;
using testing::Json;
using testing::messageOf;
using testing::moeConfig;
using testing::parsed;
using testing::safetensorsFile;
using testing::TemporaryDirectory;

size_t bytesOf(const std::vector<int64_t> &shape) {
  size_t bytes = 2;
  for (int64_t size : shape)
    bytes *= static_cast<size_t>(size);
  return bytes;
}

/// What a bf16 checkpoint of that model holds, expert by expert.
std::vector<FileTensor> tensorsOf(const ModelConfig &config) {
  std::vector<FileTensor> tensors;
  for (const ExpectedTensor &expected : expectedTensors(config))
    tensors.push_back({expected.name, "BF16", expected.shape, bytesOf(expected.shape)});
  return tensors;
}

/// The same with the experts of layer 1 in two fused tensors.
std::vector<FileTensor> fusedTensorsOf(const ModelConfig &config) {
  std::vector<FileTensor> tensors = tensorsOf(config);
  std::erase_if(tensors, [](const FileTensor &t) { return t.name.find(".experts.") != std::string::npos; });
  std::vector<int64_t> gateUp = {config.experts, 2 * config.moeIntermediate, config.hidden};
  std::vector<int64_t> down = {config.experts, config.hidden, config.moeIntermediate};
  tensors.push_back({"model.layers.1.mlp.experts.gate_up_proj", "BF16", gateUp, bytesOf(gateUp)});
  tensors.push_back({"model.layers.1.mlp.experts.down_proj", "BF16", down, bytesOf(down)});
  return tensors;
}

FileTensor &named(std::vector<FileTensor> &tensors, const std::string &name) {
  for (FileTensor &tensor : tensors)
    if (tensor.name == name)
      return tensor;
  throw std::out_of_range(name);
}

std::string validate(const ModelConfig &config, const std::vector<FileTensor> &tensors) {
  return testing::validate(config, safetensorsFile(tensors));
}

TEST(ExpectedTensors, nameAndShapeEverything) {
  Json json = moeConfig();
  json["attention_bias"] = true;
  json["tie_word_embeddings"] = false;
  ModelConfig config = parsed(json);
  std::map<std::string, std::vector<int64_t>> shapes;
  int64_t elements = 0;
  for (const ExpectedTensor &tensor : expectedTensors(config)) {
    EXPECT_TRUE(shapes.emplace(tensor.name, tensor.shape).second) << tensor.name;
    elements += static_cast<int64_t>(bytesOf(tensor.shape) / 2);
  }
  EXPECT_EQ(elements, countParameters(config).total);
  EXPECT_EQ(shapes.size(), 2u + 1 + 2 * 12 + 3 + 1 + 4 * 3);
  EXPECT_EQ(shapes.at("model.layers.0.self_attn.q_proj.weight"), (std::vector<int64_t>{128, 16}));
  EXPECT_EQ(shapes.at("model.layers.0.self_attn.v_proj.bias"), (std::vector<int64_t>{64}));
  EXPECT_EQ(shapes.at("model.layers.0.self_attn.o_proj.bias"), (std::vector<int64_t>{16}));
  EXPECT_EQ(shapes.at("model.layers.0.mlp.down_proj.weight"), (std::vector<int64_t>{16, 24}));
  EXPECT_EQ(shapes.at("model.layers.1.mlp.gate.weight"), (std::vector<int64_t>{4, 16}));
  EXPECT_EQ(shapes.at("model.layers.1.mlp.experts.3.up_proj.weight"), (std::vector<int64_t>{8, 16}));
  EXPECT_EQ(shapes.at("lm_head.weight"), (std::vector<int64_t>{40, 16}));
}

TEST(Checkpoint, validatesBothLayoutsOfExperts) {
  ModelConfig config = parsed(moeConfig());
  EXPECT_EQ(validate(config, tensorsOf(config)), "no error");
  EXPECT_EQ(validate(config, fusedTensorsOf(config)), "no error");
}

TEST(Checkpoint, fusedExpertsAreSlices) {
  ModelConfig config = parsed(moeConfig());
  TemporaryDirectory directory;
  directory.write("model.safetensors", safetensorsFile(fusedTensorsOf(config)));
  Result<Checkpoint> checkpoint = Checkpoint::open(directory.path());
  ASSERT_TRUE(checkpoint) << messageOf(checkpoint);
  Result<TensorView> gateUp = checkpoint->find("model.layers.1.mlp.experts.gate_up_proj");
  Result<TensorView> down = checkpoint->find("model.layers.1.mlp.experts.down_proj");
  ASSERT_TRUE(gateUp && down);
  const size_t matrix = 8 * 16 * 2; // bytes of one projection of one expert
  Result<TensorView> gate2 = checkpoint->find("model.layers.1.mlp.experts.2.gate_proj.weight");
  Result<TensorView> up2 = checkpoint->find("model.layers.1.mlp.experts.2.up_proj.weight");
  Result<TensorView> down3 = checkpoint->find("model.layers.1.mlp.experts.3.down_proj.weight");
  ASSERT_TRUE(gate2 && up2 && down3);
  EXPECT_EQ(gate2->data, gateUp->data + 4 * matrix);
  EXPECT_EQ(up2->data, gateUp->data + 5 * matrix);
  EXPECT_EQ(down3->data, down->data + 3 * matrix);
  EXPECT_EQ(gate2->bytes, matrix);
  EXPECT_EQ(up2->shape, (std::vector<int64_t>{8, 16}));
  EXPECT_EQ(down3->shape, (std::vector<int64_t>{16, 8}));
  EXPECT_EQ(up2->name, "model.layers.1.mlp.experts.2.up_proj.weight");
  EXPECT_EQ(messageOf(checkpoint->find("model.layers.1.mlp.experts.4.up_proj.weight")),
            directory.path() + ": missing tensor model.layers.1.mlp.experts.4.up_proj.weight: "
                               "model.layers.1.mlp.experts.gate_up_proj holds 4 experts");
}

TEST(Checkpoint, fusedExpertsOfAnotherShapeAreErrors) {
  ModelConfig config = parsed(moeConfig());
  std::vector<FileTensor> tensors = fusedTensorsOf(config);
  named(tensors, "model.layers.1.mlp.experts.gate_up_proj").shape = {4, 16, 16, 1};
  EXPECT_EQ(validate(config, tensors), "DIR: expected model.layers.1.mlp.experts.gate_up_proj to be "
                                       "[experts, 2 * moe_intermediate, hidden], found BF16 [4, 16, 16, 1]");
  tensors = fusedTensorsOf(config);
  named(tensors, "model.layers.1.mlp.experts.down_proj").shape = {4, 8, 16};
  EXPECT_EQ(validate(config, tensors),
            "DIR: expected shape [16, 8] of model.layers.1.mlp.experts.0.down_proj.weight "
            "as config.json says, found [8, 16]");
}

TEST(Checkpoint, missingTensorsAreListed) {
  ModelConfig config = parsed(denseConfig());
  std::vector<FileTensor> tensors = tensorsOf(config);
  std::erase_if(tensors, [](const FileTensor &t) { return t.name == "model.norm.weight"; });
  EXPECT_EQ(validate(config, tensors), "DIR: missing tensor model.norm.weight");
  std::erase_if(tensors,
                [](const FileTensor &t) { return t.name.find("layers.1.mlp") != std::string::npos; });
  EXPECT_EQ(validate(config, tensors),
            "DIR: missing tensor model.layers.1.mlp.gate_proj.weight, model.layers.1.mlp.up_proj.weight, "
            "model.layers.1.mlp.down_proj.weight and 1 more");
}

TEST(Checkpoint, extraTensorsAreErrors) {
  ModelConfig config = parsed(denseConfig());
  std::vector<FileTensor> tensors = tensorsOf(config);
  tensors.push_back({"model.layers.2.mlp.up_proj.weight", "BF16", {1}, 2});
  EXPECT_EQ(validate(config, tensors),
            "DIR: unexpected tensor model.layers.2.mlp.up_proj.weight (config.json has no place for it)");
  tensors = tensorsOf(config);
  tensors.push_back({"model.layers.0.self_attn.q_proj.bias", "BF16", {128}, 256});
  EXPECT_EQ(validate(config, tensors),
            "DIR: unexpected tensor model.layers.0.self_attn.q_proj.bias (config.json has no place for it)");
}

TEST(Checkpoint, ignoresTiedHeadAndRotaryBuffers) {
  ModelConfig config = parsed(denseConfig());
  std::vector<FileTensor> tensors = tensorsOf(config);
  tensors.push_back({"lm_head.weight", "BF16", {40, 16}, 1280});
  tensors.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {16}, 64});
  EXPECT_EQ(validate(config, tensors), "no error");
}

TEST(Checkpoint, untiedHeadIsRequired) {
  ModelConfig config = parsed(denseConfig());
  std::vector<FileTensor> tensors = tensorsOf(config);
  config.tieEmbeddings = false;
  EXPECT_EQ(validate(config, tensors), "DIR: missing tensor lm_head.weight");
}

TEST(Checkpoint, contradictingShapesAndTypesAreErrors) {
  ModelConfig config = parsed(denseConfig());
  std::vector<FileTensor> tensors = tensorsOf(config);
  named(tensors, "model.embed_tokens.weight").shape = {16, 40};
  EXPECT_EQ(validate(config, tensors),
            "DIR: expected shape [40, 16] of model.embed_tokens.weight as config.json says, found [16, 40]");
  tensors = tensorsOf(config);
  named(tensors, "model.norm.weight").dtype = "I16";
  EXPECT_EQ(validate(config, tensors), "DIR: expected model.norm.weight of type F32, F16 or BF16, found I16");
}

TEST(Checkpoint, acceptsNamesOfTheBareModel) {
  ModelConfig config = parsed(denseConfig());
  std::vector<FileTensor> tensors = tensorsOf(config);
  for (FileTensor &tensor : tensors)
    tensor.name = tensor.name.substr(std::string("model.").size());
  EXPECT_EQ(validate(config, tensors), "no error");
}

/// A directory with a model in two shards.
struct Sharded {
  TemporaryDirectory directory;
  ModelConfig config = parsed(denseConfig());
  Json index = {{"metadata", {{"total_size", 0}}}, {"weight_map", Json::object()}};

  Sharded() {
    std::vector<FileTensor> all = tensorsOf(config), first(all.begin(), all.begin() + 5),
                            second(all.begin() + 5, all.end());
    directory.write("a.safetensors", safetensorsFile(first));
    directory.write("b.safetensors", safetensorsFile(second));
    for (const FileTensor &tensor : first)
      index["weight_map"][tensor.name] = "a.safetensors";
    for (const FileTensor &tensor : second)
      index["weight_map"][tensor.name] = "b.safetensors";
  }
  std::string indexPath() const { return directory.path("model.safetensors.index.json"); }
  std::string open() const {
    directory.write("model.safetensors.index.json", index.dump());
    Result<Checkpoint> checkpoint = Checkpoint::open(directory.path());
    return checkpoint ? messageOf(checkpoint->validate(config)) : messageOf(checkpoint);
  }
};

TEST(Checkpoint, readsShards) { EXPECT_EQ(Sharded().open(), "no error"); }

TEST(Checkpoint, hostileIndexIsAnError) {
  for (const char *file : {"../a.safetensors", "/etc/passwd", "..", "", "sub/a.safetensors"}) {
    Sharded sharded;
    sharded.index["weight_map"]["model.norm.weight"] = file;
    EXPECT_EQ(sharded.open(),
              sharded.indexPath() +
                  ": expected weight_map to name a file beside it for tensor \"model.norm.weight\", "
                  "found \"" +
                  file + "\"");
  }
  Sharded sharded;
  sharded.index["weight_map"] = {"a.safetensors"};
  EXPECT_EQ(sharded.open(), sharded.indexPath() + ": expected an object weight_map, found none");
}

TEST(Checkpoint, missingShardIsAnError) {
  Sharded sharded;
  std::filesystem::remove(sharded.directory.path("b.safetensors"));
  EXPECT_EQ(sharded.open(),
            "cannot open " + sharded.directory.path("b.safetensors") + ": No such file or directory");
}

TEST(Checkpoint, tensorAbsentFromItsShardIsAnError) {
  Sharded sharded;
  sharded.index["weight_map"]["model.norm.weight"] = "a.safetensors";
  EXPECT_EQ(sharded.open(), sharded.indexPath() +
                                ": expected tensor \"model.norm.weight\" in a.safetensors, found none there");
}

TEST(Checkpoint, tensorInTwoShardsIsAnError) {
  Sharded sharded;
  std::vector<FileTensor> all = tensorsOf(sharded.config);
  sharded.directory.write("b.safetensors", safetensorsFile(all));
  EXPECT_EQ(sharded.open(), sharded.directory.path("b.safetensors") +
                                ": tensor \"model.embed_tokens.weight\" is in another file too");
}

TEST(Checkpoint, directoryWithoutWeightsIsAnError) {
  TemporaryDirectory directory;
  EXPECT_FALSE(Checkpoint::exists(directory.path()));
  EXPECT_EQ(messageOf(Checkpoint::open(directory.path())),
            "expected model.safetensors or model.safetensors.index.json in " + directory.path() +
                ", found neither");
  directory.write("pytorch_model.bin", "");
  EXPECT_EQ(messageOf(Checkpoint::open(directory.path())),
            "expected model.safetensors or model.safetensors.index.json in " + directory.path() +
                ", found PyTorch weights (save the model with safe_serialization=True)");
}

} // namespace
} // namespace qwench::hf
