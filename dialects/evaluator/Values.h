// What values are while they are evaluated.
#pragma once

#include "runtime/abi/program.h"

#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

namespace qwench::evaluator {

/// A row-major array. Vectors of the last extent are called rows here: of [T, heads, D] there are T * heads.
template <typename T> struct Array {
  std::vector<int64_t> shape;
  std::vector<T> data;

  Array() = default;
  Array(std::vector<int64_t> shape) : shape(std::move(shape)) { data.resize(count()); }
  Array(std::vector<int64_t> shape, std::vector<T> data) : shape(std::move(shape)), data(std::move(data)) {}

  int64_t count() const {
    int64_t product = 1;
    for (int64_t extent : shape)
      product *= extent;
    return product;
  }
  int64_t columns() const { return shape.back(); }
  int64_t rows() const { return columns() ? count() / columns() : 0; }
  T *row(int64_t r) { return data.data() + r * columns(); }
  const T *row(int64_t r) const { return data.data() + r * columns(); }
};

using Tensor = Array<float>;
using Integers = Array<int32_t>;

/// The tokens of a step: `!qwen.batch`. The first four have one entry per row, as runtime/abi/program.h
/// describes them.
struct BatchRows {
  std::vector<int32_t> tokens, positions, slots, contextLengths;
  std::vector<int32_t> outputRows; ///< rows whose logits are wanted
  std::vector<QwenchDraw> draws;   ///< of qwen.sample

  int64_t rows() const { return static_cast<int64_t>(tokens.size()); }
};

/// An SSA value. Batch and cache are those of the evaluation: std::monostate.
using RuntimeValue =
    std::variant<std::monostate, std::shared_ptr<const Tensor>, std::shared_ptr<const Integers>, int64_t>;

inline RuntimeValue value(Tensor tensor) { return std::make_shared<const Tensor>(std::move(tensor)); }
inline RuntimeValue value(Integers integers) { return std::make_shared<const Integers>(std::move(integers)); }

} // namespace qwench::evaluator
