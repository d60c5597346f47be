// Element types of matrices that keep the codes of a quantized checkpoint.
#pragma once

#include "dialects/Qwen.h"
#include "frontends/huggingface/quantized_matrix.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace qwench {

/// How the matrix of a checkpoint tensor ("model.layers.0.mlp.up_proj.weight") is stored; nothing if it holds
/// floats.
using StoredLookup = std::function<std::optional<hf::StoredFormat>(const std::string &tensor)>;

/// Chooses types, and counts the matrices for which there is none.
class StoredTypes {
public:
  /// An empty lookup knows no quantized tensor; without `products` every type can be multiplied.
  StoredTypes(mlir::MLIRContext *context, StoredLookup lookup, std::function<bool(qwen::QuantType)> products = {})
      : context(context), lookup(std::move(lookup)), products(std::move(products)) {}

  /// The type that holds exactly the codes of a tensor; null if it holds floats, or no type can that enters products.
  /// `tensor` may contain "{expert}": then it is the type of a stack of that many experts, null unless one type holds all.
  qwen::QuantType typeOf(const std::string &tensor, int64_t experts);

  /// One line for each reason why quantized matrices became floats.
  std::vector<std::string> warnings(const std::string &floats) const;

private:
  struct Reason {
    std::string text, first;
    int64_t count = 0;
  };
  qwen::QuantType decline(const std::string &reason, const std::string &tensor, int64_t count);

  mlir::MLIRContext *context;
  StoredLookup lookup;
  std::function<bool(qwen::QuantType)> products;
  std::vector<Reason> reasons;
};

} // namespace qwench
