// Bad input gives one clear line and exit code 1, and leaves nothing behind.
#include "tests/e2e/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <functional>
#include <sys/mount.h>

using namespace qwench::e2e;
using nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;
namespace fs = std::filesystem;

namespace {

/// A golden model that a test may damage, and a place for the output.
class Damaged {
public:
  explicit Damaged(const std::string &model = "dense-base") {
    fs::create_directory(directory());
    for (const auto &entry : fs::directory_iterator(goldenModel(model)))
      if (entry.path().extension() != ".npy")
        fs::copy(entry.path(), directory());
  }
  std::string directory() const { return scratch / "model"; }
  std::string file(const std::string &name) const { return directory() + "/" + name; }
  std::string weights() const { return file("model.safetensors"); }

  void editConfig(const std::function<void(json &)> &edit) const {
    json config = json::parse(readFile(file("config.json")));
    edit(config);
    writeFile(file("config.json"), config.dump());
  }
  /// Changes the safetensors header; its length stays what `edit` makes of it.
  void editHeader(const std::function<void(json &)> &edit) const {
    std::string bytes = readFile(weights());
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    json header = json::parse(bytes.substr(8, length));
    edit(header);
    std::string text = header.dump();
    uint64_t newLength = text.size();
    writeFile(weights(),
              std::string(reinterpret_cast<char *>(&newLength), 8) + text + bytes.substr(8 + length));
  }

  /// Compiles with these further options; checks exit code, the single line, and that nothing is left.
  void expectError(const std::vector<std::string> &parts, std::vector<std::string> more = {"--no-tokenizer"},
                   std::string output = "") const {
    std::vector<std::string> before = scratch.files();
    std::vector<std::string> arguments = {"compile", directory(), "-o",
                                          output.empty() ? scratch / "out" : output};
    arguments.insert(arguments.end(), more.begin(), more.end());
    Outcome outcome = runTool(arguments);
    EXPECT_EQ(outcome.code, 1) << outcome.err;
    EXPECT_THAT(outcome.err, StartsWith("qwench: "));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    for (const std::string &part : parts)
      EXPECT_THAT(outcome.err, HasSubstr(part));
    EXPECT_EQ(scratch.files(), before) << "something was left behind";
  }

  Scratch scratch;
};

/// Runs `qwench` with a bad command line.
void expectUsageError(const std::vector<std::string> &arguments, const std::vector<std::string> &parts) {
  Outcome outcome = runTool(arguments);
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  for (const std::string &part : parts)
    EXPECT_THAT(outcome.err, HasSubstr(part));
}

} // namespace

TEST(BadWeights, TruncatedFile) {
  Damaged model;
  fs::resize_file(model.weights(), fs::file_size(model.weights()) - 100);
  model.expectError({"model.safetensors"});
  fs::resize_file(model.weights(), 5);
  model.expectError({"model.safetensors"});
}

TEST(BadWeights, HeaderLongerThanTheFile) {
  Damaged model;
  std::string bytes = readFile(model.weights());
  uint64_t length = bytes.size();
  std::memcpy(bytes.data(), &length, 8);
  writeFile(model.weights(), bytes);
  model.expectError({"model.safetensors", "header"});
}

TEST(BadWeights, OffsetsOutsideTheFileOrOverlapping) {
  Damaged outside;
  outside.editHeader(
      [](json &header) { header["model.norm.weight"]["data_offsets"] = {1ull << 40, (1ull << 40) + 256}; });
  outside.expectError({"model.safetensors"});
  Damaged overlapping;
  overlapping.editHeader([](json &header) {
    header["model.norm.weight"]["data_offsets"] =
        header["model.layers.0.input_layernorm.weight"]["data_offsets"];
  });
  overlapping.expectError({"model.safetensors"});
}

TEST(BadWeights, WrongTypeMissingTensorExtraTensor) {
  Damaged type;
  type.editHeader([](json &header) { header["model.norm.weight"]["dtype"] = "I32"; });
  type.expectError({"model.norm.weight", "I32"});
  Damaged missing;
  missing.editConfig(
      [](json &config) { config["num_hidden_layers"] = config["num_hidden_layers"].get<int>() + 1; });
  missing.expectError({"model.layers."});
  Damaged extra;
  extra.editConfig(
      [](json &config) { config["num_hidden_layers"] = config["num_hidden_layers"].get<int>() - 1; });
  extra.expectError({"model.layers."});
}

TEST(BadWeights, ShapeThatContradictsTheConfiguration) {
  Damaged model;
  model.editConfig(
      [](json &config) { config["intermediate_size"] = config["intermediate_size"].get<int>() + 8; });
  model.expectError({"model.layers.0.mlp", "expected", "found"});
}

TEST(BadWeights, QuantizedMatrices) {
  const std::string module = "model.layers.0.mlp.up_proj.";
  Damaged missing("gptq-int4");
  missing.editHeader([&](json &header) {
    header[module + "zeros"] = header[module + "qzeros"];
    header.erase(module + "qzeros");
  });
  missing.expectError({"missing tensor " + module + "qzeros"});
  Damaged type("awq");
  type.editHeader([&](json &header) { header[module + "scales"]["dtype"] = "I16"; });
  type.expectError({module + "scales of type F16, BF16 or F32, found I16"});
  Damaged shape("fp8-dense");
  shape.editHeader([&](json &header) { header[module + "weight_scale_inv"]["shape"] = {4, 1}; });
  shape.expectError({"expected shape [2, 2] of " + module + "weight_scale_inv as config.json says, found [4, 1]"});
  Damaged groups("gptq-int4");
  groups.editConfig([](json &config) { config["quantization_config"]["group_size"] = 16; });
  groups.expectError({"as config.json says, found"});
  Damaged method("gptq-int4");
  method.editConfig([](json &config) { config["quantization_config"]["quant_method"] = "hqq"; });
  method.expectError({"quant_method \"fp8\", \"gptq\" or \"awq\"", "\"hqq\""});
  Damaged plain("fp8-dense");
  plain.editConfig([](json &config) { config.erase("quantization_config"); });
  plain.expectError({"of type F32, F16 or BF16, found F8_E4M3"});
}

TEST(BadWeights, ScalesThatAreNotNumbers) {
  Damaged model("gptq-int4");
  std::string bytes = readFile(model.weights());
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  const std::string name = "model.layers.1.self_attn.o_proj.scales";
  uint64_t begin = json::parse(bytes.substr(8, length))[name]["data_offsets"][0];
  bytes[8 + length + begin + 1] = '\x7e';
  writeFile(model.weights(), bytes);
  model.expectError({"expected finite numbers in " + name + ", found nan at [0, 0]"});
}

TEST(BadConfig, SaysWhatIsWrong) {
  struct {
    const char *key;
    json value;
    std::vector<std::string> parts;
  } table[] = {
      {"num_key_value_heads", 3, {"num_key_value_heads"}},
      {"architectures", json::array({"LlamaForCausalLM"}), {"LlamaForCausalLM"}},
      {"rope_scaling", {{"rope_type", "spiral"}, {"factor", 2.0}}, {"spiral"}},
      {"hidden_act", "gelu", {"gelu"}},
      {"hidden_size", int64_t(1) << 60, {"hidden_size"}},
      {"num_hidden_layers", -1, {"num_hidden_layers"}},
      {"vocab_size", "many", {"vocab_size"}},
  };
  for (const auto &entry : table) {
    SCOPED_TRACE(entry.key);
    Damaged model;
    model.editConfig([&](json &config) { config[entry.key] = entry.value; });
    model.expectError(entry.parts);
  }
}

TEST(BadConfig, MalformedJsonAndMissingFile) {
  Damaged model;
  writeFile(model.file("config.json"), readFile(model.file("config.json")).substr(0, 100));
  model.expectError({"config.json"});
  fs::remove(model.file("config.json"));
  model.expectError({"config.json"});
}

TEST(BadDirectory, NoTokenizerNoWeights) {
  Damaged model;
  model.expectError({"expected tokenizer.json in", "--no-tokenizer"}, {});
  fs::remove(model.weights());
  model.expectError({"safetensors"});
}

TEST(BadOutput, DirectoriesDevicesAndPathsThatDoNotExist) {
  Damaged model;
  fs::create_directory(model.scratch / "folder");
  model.expectError({"cannot write '" + (model.scratch / "folder") + "': it is a directory"},
                    {"--no-tokenizer"}, model.scratch / "folder");
  model.expectError({"no/such/out': No such file or directory"}, {"--no-tokenizer"},
                    model.scratch / "no/such/out");
  model.expectError({"cannot write '/dev/full': it is not a regular file"}, {"--no-tokenizer"}, "/dev/full");
  model.expectError({"cannot write '/dev/full': No space left on device"}, {"--emit", "model"}, "/dev/full");
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
}

TEST(BadOutput, AFullDisk) {
  Damaged model;
  std::string small = model.scratch / "small";
  fs::create_directory(small);
  // Too small for the image, and large enough for it but not for the weights.
  for (const char *size : {"size=64k", "size=6m"}) {
    if (mount("tmpfs", small.c_str(), "tmpfs", 0, size) != 0)
      GTEST_SKIP() << "cannot mount a small tmpfs: " << strerror(errno);
    if (std::string(size) == "size=6m")
      writeFile(small + "/filler", std::string(2 << 20, 'x'));
    Outcome outcome = runTool({"compile", model.directory(), "-o", small + "/out", "--no-tokenizer"});
    size_t left = std::distance(fs::directory_iterator(small), fs::directory_iterator());
    umount(small.c_str());
    if (outcome.code == 0)
      continue; // the whole model fits
    EXPECT_EQ(outcome.code, 1) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("No space left on device"));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_LE(left, 1u);
  }
}

TEST(Interrupted, NothingIsLeftBehind) {
  Damaged model;
  for (int signal : {SIGINT, SIGTERM})
    for (int milliseconds : {60, 400}) {
      Outcome outcome = runAndSignal(
          {QWENCH_TOOL, "compile", model.directory(), "-o", model.scratch / "out", "--no-tokenizer"}, signal,
          milliseconds);
      if (outcome.code == 0) {
        fs::remove(model.scratch / "out"); // it was faster
        continue;
      }
      EXPECT_EQ(outcome.code, 128 + signal);
      EXPECT_EQ(model.scratch.files(), std::vector<std::string>{"model"});
    }
}

TEST(BadCommandLine, SaysWhatWasExpected) {
  std::string model = goldenModel("dense-base");
  expectUsageError({}, {"qwench:"});
  expectUsageError({"compile"}, {"MODEL"});
  expectUsageError({"translate"}, {"translate"});
  expectUsageError({"compile", "/no/such/model", "-o", "/tmp/x"}, {"cannot open '/no/such/model'"});
  expectUsageError({"compile", model}, {"expected -o OUT with --emit=exe"});
  expectUsageError({"compile", model, "--emit", "elf"},
                   {"--emit: expected one of model, fused", "found 'elf'"});
  expectUsageError({"compile", model, "--emit", "fused", "--dtype", "fp5"},
                   {"--dtype: expected", "bf16", "found 'fp5'"});
  expectUsageError({"compile", model, "--emit", "fused", "--max-context", "0"},
                   {"--max-context: expected 1 to"});
  expectUsageError({"compile", model, "--emit", "asm", "--cpu", "z80"}, {"z80"});
  expectUsageError({"compile", model, "--emit", "asm", "--target", "sparc"}, {"--target", "sparc", "x86-64"});
  expectUsageError({"compile", model, "--emit", "fused", "--disable-fusion", "fuse-all"},
                   {"fuse-all", "fuse-qkv"});
  expectUsageError({"compile", model, "--emit", "fused", "--print-after", "nothing"},
                   {"--print-after", "fuse-qkv"});
  expectUsageError({"compile", model + "/config.json", "-o", "/tmp/x"}, {"--random-weights SEED"});
  expectUsageError({"compile", model + "/p1.ids.npy", "-o", "/tmp/x"}, {"expected a model directory"});
  expectUsageError({"inspect", "/no/such/file"}, {"cannot open '/no/such/file'"});
  expectUsageError({"inspect", model + "/p1.ids.npy"}, {"not made by qwench"});
}
