// Each op of the fused level does what its documentation says, on numbers that can be checked by hand.
#include "tests/unit/evaluator/evaluate.h"

#include <cmath>

namespace qwench::evaluator {
namespace {

float silu(float x) { return x / (1 + std::exp(-x)); }

TEST(fused_linear, norms_multiplies_adds_bias_activates_and_adds_the_residual) {
  Program program(
      R"(func.func @f(%x: tensor<?x2xf32>, %w: tensor<2x2xf32>, %b: tensor<2xf32>, %n: tensor<2xf32>, %r: tensor<?x1xf32>) -> tensor<?x1xf32> {
    %y = qwen.fused_linear(%x, %w) bias(%b) norm(%n) residual(%r) {eps = 0.0 : f32, activation = 1 : i32} : (tensor<?x2xf32>, tensor<2x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<?x1xf32>) -> tensor<?x1xf32>
    return %y : tensor<?x1xf32>
  })");
  // Normed row: (2, -2) / 2 * (1, 3) = (1, -3); gate 1 * 1 + 1 = 2, up -3 * 2 - 1 = -7.
  expectFloats(program.run({floats({1, 2}, {2, -2}), floats({2, 2}, {1, 0, 0, 2}), floats({2}, {1, -1}),
                            floats({2}, {1, 3}), floats({1, 1}, {100})}),
               {1, 1}, {100 - 7 * silu(2)}, 1e-5f);
}

TEST(fused_linear, with_nothing_around_it_is_linear) {
  Program program(R"(func.func @f(%x: tensor<?x2xf32>, %w: tensor<2x2xf32>) -> tensor<?x2xf32> {
    %y = qwen.fused_linear(%x, %w) : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
    return %y : tensor<?x2xf32>
  })");
  expectFloats(program.run({floats({1, 2}, {2, 3}), floats({2, 2}, {1, 1, 1, -1})}), {1, 2}, {5, -1});
}

TEST(qk_norm_rope_cache, gives_queries_and_stores_keys_and_values) {
  // The projection holds two query heads, a key head and a value head of two elements each. The table turns
  // by 90 degrees.
  Program program(
      R"(func.func @f(%batch: !qwen.batch, %cache: !qwen.cache<layers = 2, heads = 1, dim = 2, f32>, %qkv: tensor<?x8xf32>, %nq: tensor<2xf32>, %nk: tensor<2xf32>, %t: tensor<?x2xf32>, %probe: tensor<?x2x2xf32>) -> (tensor<?x2x2xf32>, tensor<?x2x2xf32>) {
    %c1 = arith.constant 1 : index
    %q = qwen.qk_norm_rope_cache(%qkv, %nq, %nk, %t, %batch) into %cache[%c1] {eps = 0.0 : f32} : (tensor<?x8xf32>, tensor<2xf32>, tensor<2xf32>, tensor<?x2xf32>, !qwen.cache<layers = 2, heads = 1, dim = 2, f32>, index, !qwen.batch) -> tensor<?x2x2xf32>
    %a = qwen.attention(%probe, %batch) over %cache[%c1] {scale = 1.0 : f32} : (tensor<?x2x2xf32>, !qwen.cache<layers = 2, heads = 1, dim = 2, f32>, index, !qwen.batch) -> tensor<?x2x2xf32>
    return %q, %a : tensor<?x2x2xf32>, tensor<?x2x2xf32>
  })");
  std::vector<RuntimeValue> arguments = {std::monostate(),
                                         std::monostate(),
                                         floats({2, 8}, {2, 2, -3, 3, 5, -5, 1, 0, //
                                                         1, 1, 1, 1, 1, 1, 0, 1}),
                                         floats({2}, {1, 2}),
                                         floats({2}, {4, 8}),
                                         floats({2, 2}, {0, 1, 0, 1}),
                                         floats({2, 2, 2}, {0, 0, 0, 0, .125f, 0, 0, .25f})};
  auto results = program.run(arguments, rowsOf({0, 0}));
  // Normed q: (1, 2), (-1, 2); turned (a, b) becomes (-b, a).
  expectFloats(results, {2, 2, 2}, {-2, 1, -2, -1, -2, 1, -2, 1});
  // Keys normed (4, -8), (4, 8), turned (8, 4), (-8, 4). The probe of row 1, head 0 scores 1 and -1, head 1
  // scores equally.
  float e = std::exp(2.f) / (1 + std::exp(2.f));
  expectFloats(results, {2, 2, 2}, {1, 0, 1, 0, e, 1 - e, .5f, .5f}, 1e-6f, 1);
}

TEST(quantize, rounds_to_multiples_of_each_groups_scale) {
  Program program(R"(func.func @f(%x: tensor<?x18xf32>) -> tensor<?x18x!qwen.quant<i8, group = 16, scale = f32>> {
    %q = qwen.quantize(%x) : (tensor<?x18xf32>) -> tensor<?x18x!qwen.quant<i8, group = 16, scale = f32>>
    return %q : tensor<?x18x!qwen.quant<i8, group = 16, scale = f32>>
  })");
  // The first group's scale is 2, the second's 1; 3 is between two codes, and goes to the even one.
  std::vector<float> x = {-254, 3, 5, 4.9f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 127, 2.4f};
  std::vector<float> rounded = {-254, 4, 4, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 127, 2};
  expectFloats(program.run({floats({1, 18}, x)}), {1, 18}, rounded);
}

TEST(fused_router, projects_and_chooses) {
  Program program(
      R"(func.func @f(%x: tensor<?x1xf32>, %w: tensor<4x1xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>) {
    %w2, %e = qwen.fused_router(%x, %w) {top_k = 2, normalize = true} : (tensor<?x1xf32>, tensor<4x1xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
    return %w2, %e : tensor<?x2xf32>, tensor<?x2xi32>
  })");
  auto results = program.run({floats({2, 1}, {1, -1}), floats({4, 1}, {0, std::log(2.f), std::log(4.f), 0})});
  expectFloats(results, {2, 2}, {2 / 3.f, 1 / 3.f, .5f, .5f});
  expectInts(results, {2, 2}, {2, 1, 0, 3}, 1);
}

TEST(dispatch, sorts_pairs_by_expert_and_keeps_their_order) {
  Program program(R"(func.func @f(%e: tensor<?x2xi32>) -> (tensor<5xi32>, tensor<?xi32>) {
    %o, %p = qwen.dispatch(%e) : (tensor<?x2xi32>) -> (tensor<5xi32>, tensor<?xi32>)
    return %o, %p : tensor<5xi32>, tensor<?xi32>
  })");
  auto results = program.run({ints({3, 2}, {3, 1, 0, 3, 1, 3})});
  expectInts(results, {5}, {0, 1, 3, 3, 6});
  expectInts(results, {6}, {2, 1, 4, 0, 3, 5}, 1);
}

TEST(router_dispatch, chooses_and_sorts) {
  Program program(R"(func.func @f(%l: tensor<?x4xf32>) -> (tensor<?x2xf32>, tensor<5xi32>, tensor<?xi32>) {
    %w, %o, %p = qwen.router_dispatch(%l) {top_k = 2, normalize = true} : (tensor<?x4xf32>) -> (tensor<?x2xf32>, tensor<5xi32>, tensor<?xi32>)
    return %w, %o, %p : tensor<?x2xf32>, tensor<5xi32>, tensor<?xi32>
  })");
  auto results = program.run({floats({2, 4}, {0, std::log(2.f), std::log(4.f), 0, 1, 0, 0, 1})}); // experts 2 and 1, 0 and 3
  expectFloats(results, {2, 2}, {2 / 3.f, 1 / 3.f, .5f, .5f});
  expectInts(results, {5}, {0, 1, 2, 3, 4}, 1);
  expectInts(results, {4}, {2, 1, 0, 3}, 2);
}

std::string grouped(const char *attributes, int inputs, int outputs, int results) {
  std::string x = "tensor<?x" + std::to_string(inputs) + "xf32>",
              y = "tensor<?x" + std::to_string(results) + "xf32>";
  std::string w = "tensor<2x" + std::to_string(outputs) + "x" + std::to_string(inputs) + "xf32>";
  return "func.func @f(%x: " + x + ", %w: " + w + ", %o: tensor<3xi32>, %p: tensor<?xi32>) -> " + y +
         " {\n%y = qwen.grouped_linear(%x, %w, %o, %p) {" + attributes + "} : (" + x + ", " + w +
         ", tensor<3xi32>, tensor<?xi32>) -> " + y + "\nreturn %y : " + y + "\n}";
}

// Three rows, two choices each: expert 0 has pairs 1, 2, 4 and expert 1 has 0, 3, 5.
const RuntimeValue offsets = ints({3}, {0, 3, 6}), pairs = ints({6}, {1, 2, 4, 0, 3, 5});

TEST(grouped_linear, gathers_the_rows_of_pairs) {
  Program program(grouped("top_k = 2, gather", 1, 1, 1));
  expectFloats(program.run({floats({3, 1}, {1, 2, 3}), floats({2, 1, 1}, {10, 100}), offsets, pairs}), {6, 1},
               {10, 20, 30, 100, 200, 300});
}

TEST(grouped_linear, takes_rows_as_they_stand_without_gather) {
  Program program(grouped("top_k = 2", 1, 1, 1));
  expectFloats(
      program.run({floats({6, 1}, {1, 2, 3, 4, 5, 6}), floats({2, 1, 1}, {10, 100}), offsets, pairs}), {6, 1},
      {10, 20, 30, 400, 500, 600});
}

TEST(grouped_linear, activates_halves) {
  Program program(grouped("top_k = 2, gather, activation = 1 : i32", 1, 2, 1));
  expectFloats(
      program.run({floats({3, 1}, {1, 2, 3}), floats({2, 2, 1}, {1, 10, 2, 100}), offsets, pairs}), {6, 1},
      {10 * silu(1), 20 * silu(2), 30 * silu(3), 100 * silu(2), 200 * silu(4), 300 * silu(6)}, 1e-3f);
}

TEST(grouped_linear, normalizes_rows) {
  Program program(R"(func.func @f(%x: tensor<?x1xf32>, %w: tensor<2x1x1xf32>, %o: tensor<3xi32>, %p: tensor<?xi32>, %n: tensor<1xf32>) -> tensor<?x1xf32> {
    %y = qwen.grouped_linear(%x, %w, %o, %p) norm(%n) {top_k = 2, gather, eps = 1.0e-12 : f32} : (tensor<?x1xf32>, tensor<2x1x1xf32>, tensor<3xi32>, tensor<?xi32>, tensor<1xf32>) -> tensor<?x1xf32>
    return %y : tensor<?x1xf32>
  })");
  expectFloats(program.run({floats({3, 1}, {1, -2, 3}), floats({2, 1, 1}, {10, 100}), offsets, pairs, floats({1}, {2})}), {6, 1},
               {20, -20, 20, 200, -200, 200});
}

const RuntimeValue weights = floats({3, 2}, {.5f, .25f, 1, 2, 3, 4}),
                   residual = floats({3, 1}, {1000, 2000, 3000});

TEST(combine, weights_and_sums_the_pairs_of_a_row) {
  Program program(
      R"(func.func @f(%x: tensor<?x1xf32>, %w: tensor<?x2xf32>, %o: tensor<3xi32>, %p: tensor<?xi32>, %r: tensor<?x1xf32>) -> (tensor<?x1xf32>, tensor<?x1xf32>) {
    %y = qwen.combine(%x, %w, %o, %p) : (tensor<?x1xf32>, tensor<?x2xf32>, tensor<3xi32>, tensor<?xi32>) -> tensor<?x1xf32>
    %z = qwen.combine(%x, %w, %o, %p) residual(%r) : (tensor<?x1xf32>, tensor<?x2xf32>, tensor<3xi32>, tensor<?xi32>, tensor<?x1xf32>) -> tensor<?x1xf32>
    return %y, %z : tensor<?x1xf32>, tensor<?x1xf32>
  })");
  auto results = program.run({floats({6, 1}, {1, 2, 3, 4, 5, 6}), weights, offsets, pairs, residual});
  // Row 0: pair 0 is row 3 of x, pair 1 row 0. Row 1: pair 2 is row 1, pair 3 row 4. Row 2: pair 4 is row 2,
  // pair 5 row 5.
  expectFloats(results, {3, 1}, {.5f * 4 + .25f * 1, 1 * 2 + 2 * 5, 3 * 3 + 4 * 6});
  expectFloats(results, {3, 1}, {1002.25f, 2012, 3033}, 1e-6f, 1);
}

TEST(grouped_linear_combine, is_combine_of_grouped_linear) {
  Program program(
      R"(func.func @f(%x: tensor<?x1xf32>, %d: tensor<2x1x1xf32>, %w: tensor<?x2xf32>, %o: tensor<3xi32>, %p: tensor<?xi32>, %r: tensor<?x1xf32>) -> tensor<?x1xf32> {
    %y = qwen.grouped_linear_combine(%x, %d, %w, %o, %p) residual(%r) : (tensor<?x1xf32>, tensor<2x1x1xf32>, tensor<?x2xf32>, tensor<3xi32>, tensor<?xi32>, tensor<?x1xf32>) -> tensor<?x1xf32>
    return %y : tensor<?x1xf32>
  })");
  expectFloats(program.run({floats({6, 1}, {1, 2, 3, 4, 5, 6}), floats({2, 1, 1}, {1, 10}), weights, offsets,
                            pairs, residual}),
               {3, 1}, {1000 + .5f * 40 + .25f, 2000 + 2 + 2 * 50, 3000 + 9 + 4 * 60});
}

} // namespace
} // namespace qwench::evaluator
