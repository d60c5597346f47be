// What MODEL on the command line names: a directory, a bare config.json, or the text of a stage.
#pragma once

#include "compiler/pack/pack.h"
#include "frontends/huggingface/checkpoint.h"
#include "frontends/huggingface/config.h"
#include "frontends/huggingface/generation_config.h"
#include "frontends/huggingface/import/stored_types.h"
#include "runtime/abi/result.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace qwench {

/// What a compiled model carries besides code and weights.
struct Extras {
  std::vector<uint8_t> tokenizer; ///< empty: none
  std::string chatTemplate;       ///< empty: none
  std::vector<std::pair<std::string, std::string>> templateVariables;
};

/// MODEL, opened and checked.
struct ModelSource {
  enum class Kind { Directory, Config, Text };

  Kind kind = Kind::Directory;
  std::string path;
  std::string name;                      ///< of the model, for people
  std::optional<hf::ModelConfig> config; ///< not of Text
  std::string configText;                ///< JSON
  hf::GenerationConfig generation;
  std::optional<hf::Checkpoint> checkpoint; ///< of a directory with weights
};

/// Opens MODEL. A directory's weights are opened and validated against its configuration if `weights`.
Result<ModelSource> openModel(const std::string &path, bool weights);

/// Tokenizer and chat template of a directory; without a tokenizer.json an error.
Result<Extras> readExtras(const std::string &directory);

/// The type most of the weights have, as the checkpoint or the configuration says.
std::optional<hf::DType> weightType(const ModelSource &source);

/// How the model's matrices are stored, as its weights or else its configuration says. Empty if none is quantized.
/// Valid as long as `source`.
StoredLookup storedFormats(const ModelSource &source);

/// Tensors of a checkpoint, for the packer.
class CheckpointSource : public pack::TensorSource {
public:
  explicit CheckpointSource(const hf::Checkpoint &checkpoint) : checkpoint(checkpoint) {}
  Result<hf::TensorView> find(std::string_view name) const override { return checkpoint.find(name); }
  Result<std::shared_ptr<const hf::QuantizedMatrix>> findQuantized(std::string_view name) const override;
  void release(const hf::TensorView &view) const override { hf::release(view); }

private:
  const hf::Checkpoint &checkpoint;
};

} // namespace qwench
