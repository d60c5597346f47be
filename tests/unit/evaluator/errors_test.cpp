// The evaluator answers what it cannot evaluate with one line.
#include "tests/unit/evaluator/evaluate.h"

namespace qwench::evaluator {
namespace {

std::string errorOf(const Result<std::vector<RuntimeValue>> &results) {
  return results ? "no error" : results.error().message;
}

TEST(evaluator, rejects_ops_of_later_stages) {
  Program program("func.func @f() {\n %x = qwen.buffer at 0 : memref<4xf32>\n return\n}");
  EXPECT_EQ(errorOf(program.run({})), "expected an op of the model or fused stage, found qwen.buffer");
}

TEST(evaluator, rejects_buffers) {
  Program program(R"(func.func @f(%x: memref<?x2xf32>) {
    qwen.add(%x, %x) outs(%x) : (memref<?x2xf32>, memref<?x2xf32>, memref<?x2xf32>) -> ()
    return
  })");
  EXPECT_EQ(errorOf(program.run({floats({1, 2}, {1, 2})})),
            "argument: expected a value of type memref<?x2xf32>, found another shape");
}

TEST(evaluator, rejects_a_missing_function_and_missing_arguments) {
  Program program("func.func @g(%i: index) {\n return\n}");
  EXPECT_EQ(errorOf(program.run({})), "expected a function @f of one block");
  EXPECT_EQ(errorOf(program.run({}, {}, "g")), "expected 1 arguments of @g, found 0");
}

TEST(evaluator, rejects_integers_where_floats_are_read) {
  Program program(R"(func.func @f(%x: tensor<?x2xi32>) -> tensor<?x2xi32> {
    %y = qwen.add(%x, %x) : (tensor<?x2xi32>, tensor<?x2xi32>) -> tensor<?x2xi32>
    return %y : tensor<?x2xi32>
  })");
  EXPECT_EQ(errorOf(program.run({ints({1, 2}, {1, 2})})),
            "qwen.add: expected float tensors with static extents but the first, found tensor<?x2xi32>");
}

TEST(evaluator, rejects_rows_that_do_not_match) {
  Program program(R"(func.func @f(%x: tensor<?x2xf32>, %y: tensor<?x2xf32>) -> tensor<?x2xf32> {
    %z = qwen.add(%x, %y) : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
    return %z : tensor<?x2xf32>
  })");
  EXPECT_EQ(errorOf(program.run({floats({1, 2}, {1, 2}), floats({2, 2}, {1, 2, 3, 4})})),
            "qwen.add: expected 2 elements of the right side, found 4");
}

TEST(evaluator, rejects_a_weight_that_is_not_there_and_an_instance_beyond_the_last) {
  Program program(R"(
    qwen.weight @w : tensor<2xf32> instances 2 layers [3, 5] source "layers.{layer}.w"
    func.func @f(%i: index) -> tensor<2xf32> {
      %w = qwen.param @w[%i] : tensor<2xf32>
      return %w : tensor<2xf32>
    })",
                  {{"layers.3.w", {1, 2, 3}}});
  EXPECT_EQ(errorOf(program.run({int64_t(0)})), "expected 2 elements of layers.3.w, found 3");
  EXPECT_EQ(errorOf(program.run({int64_t(1)})), "no tensor layers.5.w");
  EXPECT_EQ(errorOf(program.run({int64_t(2)})), "expected an instance below 2 of @w, found 2");
}

TEST(evaluator, rejects_parts_that_do_not_fill_the_weight) {
  Program program(R"(
    qwen.weight @a : tensor<2x1xf32> instances 1 layers [] source "a"
    qwen.weight @aa : tensor<3x1xf32> instances 1 layers [] parts [@a]
    func.func @f(%i: index) -> tensor<3x1xf32> {
      %w = qwen.param @aa[%i] : tensor<3x1xf32>
      return %w : tensor<3x1xf32>
    })",
                  {{"a", {1, 2}}});
  EXPECT_EQ(errorOf(program.run({int64_t(0)})), "expected the parts of @aa to fill it along N");
}

TEST(evaluator, rejects_positions_beyond_the_next_and_layers_beyond_the_last) {
  Program program(
      R"(func.func @f(%batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 1, dim = 2, f32>, %k: tensor<?x1x2xf32>, %layer: index) {
    qwen.cache_write(%k, %k, %batch) into %cache[%layer] : tensor<?x1x2xf32>, tensor<?x1x2xf32>, !qwen.cache<layers = 1, heads = 1, dim = 2, f32>
    return
  })");
  RuntimeValue key = floats({1, 1, 2}, {1, 2});
  EXPECT_EQ(errorOf(program.run({std::monostate(), std::monostate(), key, int64_t(0)}, rowsOf({0}, 1))),
            "expected position 0 next in slot 0, found 1");
  EXPECT_EQ(errorOf(program.run({std::monostate(), std::monostate(), key, int64_t(1)}, rowsOf({0}))),
            "expected a layer below 1, found 1");
  EXPECT_EQ(errorOf(program.run({std::monostate(), std::monostate(), key, int64_t(0)}, rowsOf({0, 0}))),
            "qwen.cache_write: expected 2 rows, found 1");
}

TEST(evaluator, rejects_a_batch_whose_rows_disagree) {
  Program program("func.func @f() {\n return\n}");
  BatchRows batch = rowsOf({1, 2});
  batch.slots.pop_back();
  EXPECT_EQ(errorOf(program.run({}, batch)),
            "expected 2 positions, slots and context lengths, found 2, 1 and 2");
  batch = rowsOf({1});
  batch.outputRows = {1};
  EXPECT_EQ(errorOf(program.run({}, batch)), "expected output rows below 1, found 1");
}

TEST(evaluator, rejects_segments_that_leave_the_pairs) {
  Program program(
      R"(func.func @f(%x: tensor<?x1xf32>, %w: tensor<2x1x1xf32>, %o: tensor<3xi32>, %p: tensor<?xi32>) -> tensor<?x1xf32> {
    %y = qwen.grouped_linear(%x, %w, %o, %p) {top_k = 1, gather} : (tensor<?x1xf32>, tensor<2x1x1xf32>, tensor<3xi32>, tensor<?xi32>) -> tensor<?x1xf32>
    return %y : tensor<?x1xf32>
  })");
  RuntimeValue x = floats({2, 1}, {1, 2}), w = floats({2, 1, 1}, {1, 2});
  EXPECT_EQ(errorOf(program.run({x, w, ints({3}, {0, 1, 3}), ints({2}, {0, 1})})),
            "qwen.grouped_linear: expected offsets that ascend from 0 to 2");
  EXPECT_EQ(errorOf(program.run({x, w, ints({3}, {0, 1, 2}), ints({2}, {0, 2})})),
            "qwen.grouped_linear: expected pairs below 2, found 2");
}

} // namespace
} // namespace qwench::evaluator
