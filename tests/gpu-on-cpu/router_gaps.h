// How sure routers are of the experts they choose, seen by the evaluator: where two experts are as good as each other, kernels that
// round activations may take the other one, and then compute something else, as rightly.
#pragma once

#include "dialects/Qwen.h"
#include "dialects/evaluator/Evaluator.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace qwench {

class RouterGaps {
public:
  explicit RouterGaps(evaluator::Evaluator &evaluator) {
    evaluator.observe = [this](mlir::Operation *op, const evaluator::Frame &frame) {
      if (auto router = llvm::dyn_cast<qwen::RouterOp>(op))
        note(frame.tensor(router.getLogits()), router.getTopK());
      else if (auto router = llvm::dyn_cast<qwen::FusedRouterOp>(op))
        note(logits(frame.tensor(router.getInput()), frame.tensor(router.getWeight())), router.getTopK());
    };
  }

  /// To be called before each step.
  void clear() { least.clear(); }

  /// The least distance, in all layers, of the logits of a row's last chosen expert and of the first that was not chosen, in
  /// standard deviations of the logits of its experts. Infinite if nothing was left to choose from.
  double of(int64_t row) const { return row < static_cast<int64_t>(least.size()) ? least[row] : INFINITY; }

private:
  static evaluator::Tensor logits(const evaluator::Tensor &x, const evaluator::Tensor &weight) {
    evaluator::Tensor result({x.rows(), weight.rows()});
    for (int64_t row = 0; row < x.rows(); ++row)
      for (int64_t expert = 0; expert < weight.rows(); ++expert) {
        double sum = 0;
        for (int64_t i = 0; i < x.columns(); ++i)
          sum += static_cast<double>(x.row(row)[i]) * weight.row(expert)[i];
        result.row(row)[expert] = static_cast<float>(sum);
      }
    return result;
  }

  void note(const evaluator::Tensor &logits, int64_t chosen) {
    int64_t experts = logits.columns();
    least.resize(logits.rows(), INFINITY);
    for (int64_t row = 0; row < logits.rows() && chosen < experts; ++row) {
      std::vector<double> sorted(logits.row(row), logits.row(row) + experts);
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      double mean = 0, variance = 0;
      for (double logit : sorted)
        mean += logit / experts;
      for (double logit : sorted)
        variance += (logit - mean) * (logit - mean) / experts;
      least[row] = std::min(least[row], (sorted[chosen - 1] - sorted[chosen]) / std::sqrt(variance));
    }
  }

  std::vector<double> least;
};

} // namespace qwench
