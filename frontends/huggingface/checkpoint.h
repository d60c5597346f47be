// The weights of a model directory: one safetensors file or several with an index, experts in either layout.
#pragma once

#include "frontends/huggingface/config.h"
#include "frontends/huggingface/quantized_matrix.h"
#include "frontends/huggingface/safetensors.h"
#include "runtime/abi/result.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace qwench::hf {

/// A tensor the configuration calls for, by its canonical name (experts one by one).
struct ExpectedTensor {
  std::string name;
  std::vector<int64_t>
      shape; ///< [out, in] of projections, [n] of norms and biases, [vocab, hidden] of the embedding
};

/// Every tensor of a model in the order of evaluation: model.embed_tokens.weight, the layers' from 0 up,
/// model.norm.weight, lm_head.weight unless tied. A sparse layer has mlp.gate.weight [experts, hidden] and
/// mlp.experts.M.{gate,up,down}_proj.weight.
std::vector<ExpectedTensor> expectedTensors(const ModelConfig &config);

/// Reads the text of model.safetensors.index.json: tensor name to file name. File names that are not plain
/// names (with '/', or "..") are errors.
Result<std::map<std::string, std::string>> parseIndex(std::string_view json, std::string_view where);

/// A model directory's weights, mapped. Cheap to copy; views stay valid while a copy lives. Reading is
/// thread-safe.
class Checkpoint {
public:
  /// Opens DIR/model.safetensors, or DIR/model.safetensors.index.json with its shards (the single file wins,
  /// as in transformers). Checks every header, and that each tensor of the index is in its shard. Fails if
  /// there is neither.
  static Result<Checkpoint> open(const std::string &directory);

  /// Whether open() would find weights at all: false for a directory that holds a config.json only.
  static bool exists(const std::string &directory);

  /// The tensor of that canonical name. `model.layers.N.mlp.experts.M.{gate,up,down}_proj.weight` also
  /// resolves to a slice of the fused `model.layers.N.mlp.experts.gate_up_proj` [experts, 2 * I, hidden]
  /// (gate rows first) or `.down_proj` [experts, hidden, I]. Fails if there is no such tensor.
  Result<TensorView> find(std::string_view name) const;

  /// Whether everything the configuration calls for is there, with the right shape and a type of f32, f16 or
  /// bf16, or quantized as quantization_config says, and nothing else. Ignored as transformers ignores them:
  /// lm_head.weight with tied embeddings, rotary_emb.inv_freq; and biases of quantized matrices that are all
  /// zeros, which old versions of AutoGPTQ write. Reads the scales and zero points of quantized matrices, and
  /// remembers what it found for storedFormat() and quantized().
  Status validate(const ModelConfig &config);

  /// How the matrix of that canonical name is stored if it is quantized, else nullptr. Of a validated
  /// checkpoint.
  const StoredFormat *storedFormat(std::string_view name) const;

  /// The matrix of that canonical name, of which storedFormat() knows.
  Result<QuantizedMatrix> quantized(std::string_view name) const;

  const std::vector<SafetensorsFile> &files() const { return shards; }

private:
  struct Stored {
    StoredFormat format;
    int64_t rows, columns;
  };

  const TensorView *lookUp(std::string_view name) const;
  const TensorView *lookUpWhole(std::string_view name) const;
  bool isQuantized(const ExpectedTensor &expected) const;
  Status checkPlain(const ExpectedTensor &expected) const;
  Status checkQuantized(const ExpectedTensor &expected, std::set<std::string_view> &used);
  Result<QuantizedMatrix> makeQuantized(const std::string &name, int64_t rows, int64_t columns,
                                        std::set<std::string_view> &used) const;
  Result<QuantizedMatrix> makeFp8(const std::string &name, int64_t rows, int64_t columns,
                                  std::set<std::string_view> &used) const;
  bool isZeroBias(std::string_view name) const;
  Status index();

  std::string directory;
  std::vector<SafetensorsFile> shards;
  std::map<std::string_view, const TensorView *> tensors; ///< of all shards, by the names in the files
  /// Saved from the bare model, without the head: "layers.0..." instead of "model.layers.0...".
  bool withoutPrefix = false;
  std::optional<QuantizationConfig> quantization;               ///< of the configuration validated against
  std::map<std::string, Stored, std::less<>> quantizedMatrices; ///< by canonical name
};

} // namespace qwench::hf
