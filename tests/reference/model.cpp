#include "tests/reference/model.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace qwench {
namespace {

std::string readFile(const std::string &path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

/// The elements of a version 1.0 .npy file of 4-byte elements; empty if it is something else.
template <typename T> std::vector<T> readNpy(const std::string &path) {
  std::string file = readFile(path);
  if (file.size() < 10 || file.compare(0, 8, "\x93NUMPY\x01\x00", 8) != 0)
    return {};
  size_t begin = 10 + static_cast<uint8_t>(file[8]) + 256 * static_cast<uint8_t>(file[9]);
  if (begin > file.size())
    return {};
  std::vector<T> elements((file.size() - begin) / sizeof(T));
  std::memcpy(elements.data(), file.data() + begin, elements.size() * sizeof(T));
  return elements;
}

float toFloat(hf::DType type, const std::byte *data) {
  uint32_t bits = 0;
  std::memcpy(&bits, data, hf::bits(type) / 8);
  if (type == hf::DType::BF16)
    bits <<= 16;
  if (type == hf::DType::F16) {
    llvm::APFloat half(llvm::APFloat::IEEEhalf(), llvm::APInt(16, bits));
    return half.convertToDouble();
  }
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

} // namespace

std::vector<std::string> goldenModels() {
  std::vector<std::string> names;
  for (const auto &entry : std::filesystem::directory_iterator(goldenDirectory("")))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

std::string goldenDirectory(const std::string &name) {
  return QWENCH_SOURCE_DIR "/tests/golden/models/" + name;
}

Result<mlir::OwningOpRef<mlir::ModuleOp>> importGolden(mlir::MLIRContext &context, const std::string &name,
                                                       ElementType dtype, CacheFormat kvDtype) {
  Result<hf::ModelConfig> config = hf::readConfig(goldenDirectory(name));
  if (!config)
    return config.takeError();
  return importModel(context, *config, {name, dtype, kvDtype, 1024});
}

Result<hf::Checkpoint> openGolden(const std::string &name) {
  Result<hf::ModelConfig> config = hf::readConfig(goldenDirectory(name));
  if (!config)
    return config.takeError();
  Result<hf::Checkpoint> checkpoint = hf::Checkpoint::open(goldenDirectory(name));
  if (checkpoint)
    if (Status valid = checkpoint->validate(*config); !valid)
      return valid.takeError();
  return checkpoint;
}

evaluator::NamedWeights checkpointWeights(hf::Checkpoint checkpoint) {
  return evaluator::NamedWeights([checkpoint](const std::string &name) -> Result<std::vector<float>> {
    if (checkpoint.storedFormat(name)) {
      Result<hf::QuantizedMatrix> matrix = checkpoint.quantized(name);
      if (!matrix)
        return matrix.takeError();
      std::vector<float> values(matrix->rows() * matrix->columns());
      matrix->values(0, matrix->rows(), values.data(), matrix->columns());
      return values;
    }
    Result<hf::TensorView> view = checkpoint.find(name);
    if (!view)
      return view.takeError();
    if (!hf::isPlainFloat(view->dtype))
      return userError("expected floats in " + name);
    size_t width = hf::bits(view->dtype) / 8;
    std::vector<float> values(view->bytes / width);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = toFloat(view->dtype, view->data + i * width);
    return values;
  });
}

Result<std::vector<Prompt>> goldenPrompts(const std::string &name) {
  std::string directory = goldenDirectory(name) + "/";
  auto golden = nlohmann::json::parse(readFile(directory + "golden.json"), nullptr, false);
  if (!golden.is_object())
    return userError("expected an object in " + directory + "golden.json");
  std::vector<Prompt> prompts;
  for (const auto &[key, entry] : golden.items()) {
    Prompt prompt{key,
                  readNpy<int32_t>(directory + key + ".ids.npy"),
                  entry["positions"],
                  entry["greedy"],
                  entry["greedy_gap"],
                  readNpy<float>(directory + key + ".logits.npy")};
    if (prompt.tokens.empty() || prompt.positions.empty() || prompt.logits.empty())
      return userError("expected tokens and logits of prompt " + key + " in " + directory);
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

evaluator::BatchRows rowsOf(const std::vector<int32_t> &tokens, size_t first, size_t count, int32_t slot,
                            int32_t context) {
  evaluator::BatchRows rows;
  for (size_t i = first; i < first + count; ++i) {
    rows.tokens.push_back(tokens[i]);
    rows.positions.push_back(static_cast<int32_t>(i));
    rows.slots.push_back(slot);
    rows.contextLengths.push_back(context);
  }
  return rows;
}

void append(evaluator::BatchRows &batch, const evaluator::BatchRows &more) {
  for (int32_t row : more.outputRows)
    batch.outputRows.push_back(static_cast<int32_t>(batch.rows()) + row);
  auto join = [](std::vector<int32_t> &into, const std::vector<int32_t> &from) {
    into.insert(into.end(), from.begin(), from.end());
  };
  join(batch.tokens, more.tokens);
  join(batch.positions, more.positions);
  join(batch.slots, more.slots);
  join(batch.contextLengths, more.contextLengths);
}

} // namespace qwench
