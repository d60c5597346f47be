#include "compiler/driver/model_source.h"

#include "frontends/huggingface/tokenizer/tokenizer.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

#include <map>

namespace qwench {

namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

namespace {

constexpr uint64_t kMaxConfigBytes = 64u << 20;

std::string inside(const std::string &directory, const char *file) {
  llvm::SmallString<256> result(directory);
  path::append(result, file);
  return result.str().str();
}

/// The last component of the path that says something: "Qwen3-0.6B" of "models/Qwen3-0.6B/config.json", "tiny-moe" of
/// "examples/tiny-moe/model".
std::string modelName(const std::string &model, ModelSource::Kind kind) {
  llvm::SmallString<256> real;
  if (fs::real_path(model, real))
    real = model;
  if (kind == ModelSource::Kind::Text)
    return path::stem(real).str();
  if (kind == ModelSource::Kind::Config) {
    if (path::filename(real) != "config.json")
      return path::stem(real).str();
    path::remove_filename(real);
  }
  if (path::filename(real) == "model")
    path::remove_filename(real);
  llvm::StringRef name = path::filename(real);
  return name.empty() || name == "/" || name == "." ? "model" : name.str();
}

Result<std::string> readText(const std::string &file) {
  uint64_t bytes = 0;
  if (fs::file_size(file, bytes) || bytes > kMaxConfigBytes)
    return userError("expected at most " + std::to_string(kMaxConfigBytes) + " bytes in '" + file + "'");
  auto buffer = llvm::MemoryBuffer::getFile(file);
  if (!buffer)
    return userError("cannot read '" + file + "': " + buffer.getError().message());
  return (*buffer)->getBuffer().str();
}

} // namespace

Result<ModelSource> openModel(const std::string &model, bool weights) {
  if (!fs::exists(model))
    return userError("cannot open '" + model + "': No such file or directory");
  ModelSource source;
  source.path = model;
  source.kind = fs::is_directory(model)             ? ModelSource::Kind::Directory
                : path::extension(model) == ".mlir" ? ModelSource::Kind::Text
                                                    : ModelSource::Kind::Config;
  source.name = modelName(model, source.kind);
  if (source.kind == ModelSource::Kind::Text)
    return source;
  bool directory = source.kind == ModelSource::Kind::Directory;
  if (!directory && path::extension(model) != ".json")
    return userError("expected a model directory, a config.json or a .mlir file, found '" + model + "'");
  Result<hf::ModelConfig> config = hf::readConfig(model);
  if (!config)
    return config.takeError();
  Result<std::string> text = readText(directory ? inside(model, "config.json") : model);
  if (!text)
    return text.takeError();
  source.config = config.take();
  source.configText = text.take();
  source.generation.eosIds = source.config->eosIds;
  if (!directory)
    return source;
  Result<hf::GenerationConfig> generation = hf::readGenerationConfig(model, *source.config);
  if (!generation)
    return generation.takeError();
  source.generation = generation.take();
  if (!weights)
    return source;
  Result<hf::Checkpoint> checkpoint = hf::Checkpoint::open(model);
  if (!checkpoint)
    return checkpoint.takeError();
  if (Status valid = checkpoint->validate(*source.config); !valid)
    return valid.takeError();
  source.checkpoint = checkpoint.take();
  return source;
}

Result<Extras> readExtras(const std::string &directory) {
  if (!fs::exists(inside(directory, "tokenizer.json")))
    return userError("expected tokenizer.json in '" + directory +
                     "', found none (--no-tokenizer makes a program of token ids only)");
  Result<std::vector<uint8_t>> tokenizer = hf::readTokenizerBlob(directory);
  if (!tokenizer)
    return tokenizer.takeError();
  Result<std::string> chatTemplate = hf::readChatTemplate(directory);
  if (!chatTemplate)
    return chatTemplate.takeError();
  auto variables = hf::readSpecialTokens(directory);
  if (!variables)
    return variables.takeError();
  return Extras{tokenizer.take(), chatTemplate.take(), variables.take()};
}

std::optional<hf::DType> weightType(const ModelSource &source) {
  if (source.checkpoint)
    if (Result<hf::TensorView> table = source.checkpoint->find("model.embed_tokens.weight"))
      return table->dtype;
  return source.config ? source.config->dtype : std::nullopt;
}

StoredLookup storedFormats(const ModelSource &source) {
  if (!source.config || !source.config->quantization)
    return {};
  if (const auto &checkpoint = source.checkpoint)
    return [&checkpoint](const std::string &tensor) -> std::optional<hf::StoredFormat> {
      const hf::StoredFormat *format = checkpoint->storedFormat(tensor);
      return format ? std::optional(*format) : std::nullopt;
    };
  std::map<std::string, hf::StoredFormat> declared;
  for (const hf::ExpectedTensor &tensor : hf::expectedTensors(*source.config))
    if (source.config->quantization->converts(tensor.name))
      declared[tensor.name] = hf::declaredFormat(*source.config->quantization);
  return [declared](const std::string &tensor) -> std::optional<hf::StoredFormat> {
    auto it = declared.find(tensor);
    return it == declared.end() ? std::nullopt : std::optional(it->second);
  };
}

Result<std::shared_ptr<const hf::QuantizedMatrix>> CheckpointSource::findQuantized(std::string_view name) const {
  if (!checkpoint.storedFormat(name))
    return std::shared_ptr<const hf::QuantizedMatrix>();
  Result<hf::QuantizedMatrix> matrix = checkpoint.quantized(name);
  if (!matrix)
    return matrix.takeError();
  return std::make_shared<const hf::QuantizedMatrix>(matrix.take());
}

} // namespace qwench
