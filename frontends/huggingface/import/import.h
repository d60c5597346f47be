// From a checked configuration to the model stage: what transformers' modeling_qwen3.py and
// modeling_qwen3_moe.py compute, op by op.
#pragma once

#include "frontends/huggingface/config.h"
#include "frontends/huggingface/import/stored_types.h"
#include "runtime/abi/result.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"

#include <optional>
#include <string>
#include <string_view>

namespace qwench {

/// Formats that weights, and keys and values, are kept in.
enum class ElementType { BF16, F32 };

/// As the command line spells it: "bf16".
std::string_view name(ElementType type);
std::optional<ElementType> parseElementType(std::string_view name);

/// Formats of the KV cache; those of fewer bits have scales for each head's vector, or groups of it.
enum class CacheFormat { BF16, F32, FP8, Int8, Int4 };

/// As the command line spells it: "int4".
std::string_view name(CacheFormat format);
std::optional<CacheFormat> parseCacheFormat(std::string_view name);
/// All names, separated by ", ".
std::string cacheFormatNames();

struct ImportOptions {
  std::string name;                        ///< of the model, for people
  ElementType dtype = ElementType::BF16;   ///< of matrices; norms and biases are f32
  CacheFormat kvDtype = CacheFormat::BF16; ///< of the cache
  int64_t maxContext = 0;                  ///< positions, > 0
  /// Of matrices that are to keep the codes of the checkpoint; empty: none does.
  StoredLookup stored = {};
  /// Whether the target's products take weights of a type, without which such codes are not kept. Not set: of every type.
  std::function<bool(qwen::QuantType)> products = {};
  std::vector<std::string> *warnings = nullptr; ///< gets a line for those that cannot
};

/// The module of a model: families of weights for each kind of layer, `@rope`, one function for each kind of
/// layer, and
/// `@forward(batch, cache) -> [O, V]`. Layers of one kind differ only in their weights; the kinds are `dense`
/// and `moe`, each with `_window` added where a sliding window applies, and a number where layers that are otherwise
/// alike keep their weights in different formats. The module's attribute `qwen.model`
/// repeats the options.
Result<mlir::OwningOpRef<mlir::ModuleOp>>
importModel(mlir::MLIRContext &context, const hf::ModelConfig &config, const ImportOptions &options);

} // namespace qwench
