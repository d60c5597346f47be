// The state of an evaluation, and the values of the function that runs.
#pragma once

#include "dialects/evaluator/Cache.h"
#include "dialects/evaluator/Weights.h"

#include "llvm/ADT/DenseMap.h"

namespace qwench::evaluator {

class Frame;

/// What all functions of a call share.
struct State {
  mlir::ModuleOp module;
  const BatchRows &batch;
  Cache &cache;
  /// Instance of a weight, loaded once.
  std::function<Result<RuntimeValue>(qwen::WeightOp, int64_t)> weight;
  /// Runs a function of the module.
  std::function<Result<std::vector<RuntimeValue>>(mlir::StringRef, std::vector<RuntimeValue>)> call;
  /// Looks at an op that was evaluated; null if nobody does.
  std::function<void(mlir::Operation *, const Frame &)> observe;
};

class Frame {
public:
  explicit Frame(State &state) : state(state) {}

  const Tensor &tensor(mlir::Value value) const {
    return *std::get<std::shared_ptr<const Tensor>>(values.find(value)->second);
  }
  /// Null for an operand that is not there.
  const Tensor *optional(mlir::Value value) const { return value ? &tensor(value) : nullptr; }
  const Integers &integers(mlir::Value value) const {
    return *std::get<std::shared_ptr<const Integers>>(values.find(value)->second);
  }
  int64_t index(mlir::Value value) const { return std::get<int64_t>(values.find(value)->second); }
  const RuntimeValue &get(mlir::Value value) const { return values.find(value)->second; }

  /// Fails if the value is not of the SSA value's type.
  Status set(mlir::Value value, RuntimeValue result);
  Status set(mlir::Value value, Tensor result) { return set(value, evaluator::value(std::move(result))); }
  Status set(mlir::Value value, Integers result) { return set(value, evaluator::value(std::move(result))); }

  State &state;

private:
  llvm::DenseMap<mlir::Value, RuntimeValue> values;
};

} // namespace qwench::evaluator
