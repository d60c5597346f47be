// How far rows of logits are from those that are expected.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

namespace qwench {

/// From the least to the greatest element.
inline double range(std::span<const float> row) {
  auto [low, high] = std::minmax_element(row.begin(), row.end());
  return static_cast<double>(*high) - *low;
}

/// Largest difference of two rows, in units of the expected row's range; infinite if anything is not finite.
inline double difference(std::span<const float> found, std::span<const float> expected) {
  if (found.size() != expected.size())
    return INFINITY;
  double most = 0;
  for (size_t i = 0; i < expected.size(); i++) {
    double d = std::abs(static_cast<double>(found[i]) - expected[i]);
    most = std::isfinite(d) ? std::max(most, d) : INFINITY;
  }
  return most / std::max(range(expected), 1e-30);
}

/// KL(softmax(p) || softmax(q)) in nats; infinite if anything is not finite.
inline double divergence(std::span<const float> p, std::span<const float> q) {
  auto logSum = [](std::span<const float> row) {
    double most = *std::max_element(row.begin(), row.end()), sum = 0;
    for (float value : row)
      sum += std::exp(value - most);
    return most + std::log(sum);
  };
  if (p.size() != q.size())
    return INFINITY;
  double sumP = logSum(p), sumQ = logSum(q), result = 0;
  for (size_t i = 0; i < p.size(); i++)
    result += std::exp(p[i] - sumP) * ((p[i] - sumP) - (q[i] - sumQ));
  return std::isfinite(result) ? result : INFINITY;
}

} // namespace qwench
