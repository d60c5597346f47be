// Evaluates a function given as text.
#pragma once

#include "dialects/evaluator/Evaluator.h"

#include "mlir/Parser/Parser.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include <string>

namespace qwench::evaluator {

/// A module of `text`, with its context, and an evaluator whose weights are tensors by name.
class Program {
public:
  explicit Program(const std::string &text, std::map<std::string, std::vector<float>> tensors = {})
      : weights([tensors](const std::string &name) -> Result<std::vector<float>> {
          auto found = tensors.find(name);
          return found == tensors.end() ? Result<std::vector<float>>(userError("no tensor " + name))
                                        : found->second;
        }) {
    context.loadDialect<qwen::QwenDialect, mlir::func::FuncDialect, mlir::arith::ArithDialect,
                        mlir::tensor::TensorDialect>();
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    if (module)
      evaluator.emplace(*module, weights);
  }

  Result<std::vector<RuntimeValue>> run(std::vector<RuntimeValue> arguments, const BatchRows &batch = {},
                                        const char *function = "f") {
    if (!evaluator)
      return userError("the module does not parse");
    return evaluator->call(function, std::move(arguments), batch);
  }

private:
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  NamedWeights weights;
  std::optional<Evaluator> evaluator;
};

inline RuntimeValue floats(std::vector<int64_t> shape, std::vector<float> data) {
  return value(Tensor(std::move(shape), std::move(data)));
}
inline RuntimeValue ints(std::vector<int64_t> shape, std::vector<int32_t> data) {
  return value(Integers(std::move(shape), std::move(data)));
}

/// Rows of one sequence in slot 0 from position `first`; context length as given, all rows wanted.
inline BatchRows rowsOf(std::vector<int32_t> tokens, int32_t first = 0, int32_t context = 0) {
  BatchRows batch;
  for (size_t i = 0; i < tokens.size(); ++i) {
    batch.positions.push_back(first + static_cast<int32_t>(i));
    batch.slots.push_back(0);
    batch.contextLengths.push_back(context);
    batch.outputRows.push_back(static_cast<int32_t>(i));
  }
  batch.tokens = std::move(tokens);
  return batch;
}

/// Result `i` is this array of floats, up to `tolerance`.
inline void expectFloats(const Result<std::vector<RuntimeValue>> &results, std::vector<int64_t> shape,
                         std::vector<float> data, float tolerance = 1e-6f, size_t i = 0) {
  ASSERT_TRUE(results) << results.error().message;
  ASSERT_LT(i, (*results).size());
  auto array = std::get<std::shared_ptr<const Tensor>>((*results)[i]);
  EXPECT_EQ(array->shape, shape);
  EXPECT_THAT(array->data, testing::Pointwise(testing::FloatNear(tolerance), data));
}

inline void expectInts(const Result<std::vector<RuntimeValue>> &results, std::vector<int64_t> shape,
                       std::vector<int32_t> data, size_t i = 0) {
  ASSERT_TRUE(results) << results.error().message;
  ASSERT_LT(i, (*results).size());
  auto array = std::get<std::shared_ptr<const Integers>>((*results)[i]);
  EXPECT_EQ(array->shape, shape);
  EXPECT_EQ(array->data, data);
}

} // namespace qwench::evaluator
