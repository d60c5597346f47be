// Evaluates model-stage and fused-stage modules: slow and readable, the oracle of every fusion and backend.
#pragma once

#include "dialects/evaluator/Frame.h"

#include <functional>
#include <map>
#include <optional>

namespace qwench::evaluator {

class Evaluator {
public:
  /// `module` must verify; it and `weights` must outlive the evaluator.
  Evaluator(mlir::ModuleOp module, WeightProvider &weights);

  /// One step: logits [outputs, V] of `@forward(batch, cache)`. The cache lives across calls. Fails for rows
  /// that are no step (expected and found say why), for ops of later stages, and if a weight cannot be had.
  Result<std::vector<float>> forward(const BatchRows &batch);

  /// Called with each op that was evaluated and the values of its function so far: what tests look at inside of a step.
  std::function<void(mlir::Operation *op, const Frame &frame)> observe = nullptr;

  /// Calls any function of the module. Arguments for `!qwen.batch` and `!qwen.cache` are std::monostate.
  Result<std::vector<RuntimeValue>> call(mlir::StringRef function, std::vector<RuntimeValue> arguments,
                                         const BatchRows &batch);

private:
  Result<RuntimeValue> weightInstance(qwen::WeightOp weight, int64_t instance);

  mlir::ModuleOp module;
  WeightProvider &weights;
  std::optional<Cache> cache;
  std::map<std::pair<mlir::Operation *, int64_t>, RuntimeValue> loaded;
};

} // namespace qwench::evaluator
