// Reading .npy files, version 1.0, C order.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace qwench::e2e {

template <typename T> struct Array {
  std::vector<int64_t> shape;
  std::vector<T> values;

  std::span<const T> row(int64_t i) const {
    return {values.data() + i * shape.back(), static_cast<size_t>(shape.back())};
  }
};

/// Throws std::runtime_error if the file is no array of that type.
Array<float> readFloats(const std::string &path);
Array<int32_t> readIds(const std::string &path);

} // namespace qwench::e2e
