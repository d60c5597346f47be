// Each op of the model level does what its documentation says, on numbers that can be checked by hand.
#include "tests/unit/evaluator/evaluate.h"

#include "mlir/AsmParser/AsmParser.h"

#include <cmath>

namespace qwench::evaluator {
namespace {

TEST(embedding, takes_rows_of_the_table_by_token) {
  Program program(R"(
    qwen.weight @table : tensor<3x2xf32> instances 1 layers [] source "table"
    func.func @f(%batch: !qwen.batch) -> tensor<?x2xf32> {
      %c0 = arith.constant 0 : index
      %t = qwen.param @table[%c0] : tensor<3x2xf32>
      %y = qwen.embedding(%batch, %t) : (!qwen.batch, tensor<3x2xf32>) -> tensor<?x2xf32>
      return %y : tensor<?x2xf32>
    })",
                  {{"table", {1, 2, 3, 4, 5, 6}}});
  expectFloats(program.run({std::monostate()}, rowsOf({2, 0, 2})), {3, 2}, {5, 6, 1, 2, 5, 6});
}

TEST(param, reads_the_layer_of_an_instance_and_rounds_to_the_weight_type) {
  Program program(R"(
    qwen.weight @w : tensor<2xbf16> instances 2 layers [3, 5] source "layers.{layer}.w"
    func.func @f(%i: index) -> tensor<2xbf16> {
      %w = qwen.param @w[%i] : tensor<2xbf16>
      return %w : tensor<2xbf16>
    })",
                  {{"layers.3.w", {1, 2}},
                   {"layers.5.w", {1.00390625f, -3.0f}}}); // 1 + 2^-8 lies between bf16's 1 and 1 + 2^-7
  expectFloats(program.run({int64_t(0)}), {2}, {1, 2}, 0);
  expectFloats(program.run({int64_t(1)}), {2}, {1, -3}, 0);
}

TEST(param, stacks_experts) {
  Program program(R"(
    qwen.weight @w : tensor<2x1x2xf32> instances 1 layers [4] source "layers.{layer}.experts.{expert}.w"
    func.func @f(%i: index) -> tensor<2x1x2xf32> {
      %w = qwen.param @w[%i] : tensor<2x1x2xf32>
      return %w : tensor<2x1x2xf32>
    })",
                  {{"layers.4.experts.0.w", {1, 2}}, {"layers.4.experts.1.w", {3, 4}}});
  expectFloats(program.run({int64_t(0)}), {2, 1, 2}, {1, 2, 3, 4}, 0);
}

TEST(param, concatenates_parts_along_outputs) {
  Program program(R"(
    qwen.weight @a : tensor<2x1x2xf32> instances 1 layers [0] source "a.{expert}"
    qwen.weight @b : tensor<2x2x2xf32> instances 1 layers [0] source "b.{expert}"
    qwen.weight @ab : tensor<2x3x2xf32> instances 1 layers [0] parts [@a, @b]
    func.func @f(%i: index) -> tensor<2x3x2xf32> {
      %w = qwen.param @ab[%i] : tensor<2x3x2xf32>
      return %w : tensor<2x3x2xf32>
    })",
                  {{"a.0", {1, 2}}, {"a.1", {3, 4}}, {"b.0", {10, 11, 12, 13}}, {"b.1", {20, 21, 22, 23}}});
  expectFloats(program.run({int64_t(0)}), {2, 3, 2}, {1, 2, 10, 11, 12, 13, 3, 4, 20, 21, 22, 23}, 0);
}

TEST(batch_size, counts_rows_and_output_rows) {
  Program program(R"(
    func.func @f(%batch: !qwen.batch) -> (index, index) {
      %t = qwen.batch_size %batch
      %o = qwen.batch_size outputs %batch
      return %t, %o : index, index
    })");
  BatchRows batch = rowsOf({7, 8, 9});
  batch.outputRows = {2};
  auto results = program.run({std::monostate()}, batch);
  ASSERT_TRUE(results) << results.error().message;
  EXPECT_EQ(std::get<int64_t>((*results)[0]), 3);
  EXPECT_EQ(std::get<int64_t>((*results)[1]), 1);
}

std::string ropeTable(const std::string &rotary, int columns) {
  std::string type = "tensor<?x" + std::to_string(columns) + "xf32>";
  return "qwen.rotary @r " + rotary + "\nfunc.func @f(%batch: !qwen.batch) -> " + type +
         " {\n %y = qwen.rope_table(%batch) @r : (!qwen.batch) -> " + type + "\n return %y : " + type + "\n}";
}

TEST(rope_table, holds_scaled_cosines_and_sines_of_positions) {
  Program program(ropeTable("fixed scaling 2.0 {inv_freq = array<f32: 1.0, 0.5>}", 4));
  expectFloats(program.run({std::monostate()}, rowsOf({0, 0}, 3)), {2, 4},
               {2 * std::cos(3.f), 2 * std::cos(1.5f), 2 * std::sin(3.f), 2 * std::sin(1.5f), //
                2 * std::cos(4.f), 2 * std::cos(2.f), 2 * std::sin(4.f), 2 * std::sin(2.f)});
}

TEST(rope_table, longrope_switches_behind_the_original_context) {
  Program program(
      ropeTable("longrope scaling 1.0 {inv_freq = array<f32: 1.0>, long_inv_freq = array<f32: 0.25>, "
                "original_context = 8}",
                2));
  expectFloats(program.run({std::monostate()}, rowsOf({0}, 2, 8)), {1, 2}, {std::cos(2.f), std::sin(2.f)});
  expectFloats(program.run({std::monostate()}, rowsOf({0}, 2, 9)), {1, 2}, {std::cos(.5f), std::sin(.5f)});
}

TEST(rope_table, dynamic_stretches_the_base_behind_the_original_context) {
  Program program(
      ropeTable("dynamic scaling 1.0 {inv_freq = array<f32: 1.0, 0.1>, original_context = 8, theta = 100.0, "
                "factor = 2.0}",
                4));
  expectFloats(program.run({std::monostate()}, rowsOf({0}, 2, 8)), {1, 4},
               {std::cos(2.f), std::cos(.2f), std::sin(2.f), std::sin(.2f)});
  // L = 16: base 100 * (2 * 16 / 8 - 1) ^ (4 / 2) = 900, inv_freq 1 and 900 ^ -1/2 = 1/30.
  expectFloats(program.run({std::monostate()}, rowsOf({0}, 2, 16)), {1, 4},
               {std::cos(2.f), std::cos(2 / 30.f), std::sin(2.f), std::sin(2 / 30.f)});
}

TEST(rms_norm, divides_by_the_root_mean_square_of_each_row_or_head) {
  Program rows(R"(func.func @f(%x: tensor<?x2xf32>, %w: tensor<2xf32>) -> tensor<?x2xf32> {
    %y = qwen.rms_norm(%x, %w) {eps = 0.0 : f32} : (tensor<?x2xf32>, tensor<2xf32>) -> tensor<?x2xf32>
    return %y : tensor<?x2xf32>
  })");
  float root = std::sqrt(12.5f); // mean(9, 16)
  expectFloats(rows.run({floats({2, 2}, {3, 4, -2, 2}), floats({2}, {1, 10})}), {2, 2},
               {3 / root, 40 / root, -1, 10});
  Program heads(R"(func.func @f(%x: tensor<?x2x2xf32>, %w: tensor<2xf32>) -> tensor<?x2x2xf32> {
    %y = qwen.rms_norm(%x, %w) {eps = 1.5 : f32} : (tensor<?x2x2xf32>, tensor<2xf32>) -> tensor<?x2x2xf32>
    return %y : tensor<?x2x2xf32>
  })");
  expectFloats(heads.run({floats({1, 2, 2}, {3, 2, 0, 1}), floats({2}, {1, 1})}), {1, 2, 2},
               {3 / std::sqrt(8.f), 2 / std::sqrt(8.f), 0, 1 / std::sqrt(2.f)});
}

TEST(linear, multiplies_by_the_transposed_weight_and_adds_the_bias) {
  Program program(
      R"(func.func @f(%x: tensor<?x2xf32>, %w: tensor<3x2xf32>, %b: tensor<3xf32>) -> (tensor<?x3xf32>, tensor<?x3xf32>) {
    %y = qwen.linear(%x, %w) : (tensor<?x2xf32>, tensor<3x2xf32>) -> tensor<?x3xf32>
    %z = qwen.linear(%x, %w, %b) : (tensor<?x2xf32>, tensor<3x2xf32>, tensor<3xf32>) -> tensor<?x3xf32>
    return %y, %z : tensor<?x3xf32>, tensor<?x3xf32>
  })");
  auto results = program.run(
      {floats({2, 2}, {1, 2, 3, 4}), floats({3, 2}, {1, 0, 0, 1, 1, -1}), floats({3}, {.5f, 0, 10})});
  expectFloats(results, {2, 3}, {1, 2, -1, 3, 4, -1});
  expectFloats(results, {2, 3}, {1.5f, 2, 9, 3.5f, 4, 9}, 1e-6f, 1);
}

TEST(split_heads, and_merge_heads_only_change_the_shape) {
  Program program(R"(func.func @f(%x: tensor<?x4xf32>) -> (tensor<?x2x2xf32>, tensor<?x4xf32>) {
    %y = qwen.split_heads %x : tensor<?x4xf32> -> tensor<?x2x2xf32>
    %z = qwen.merge_heads %y : tensor<?x2x2xf32> -> tensor<?x4xf32>
    return %y, %z : tensor<?x2x2xf32>, tensor<?x4xf32>
  })");
  auto results = program.run({floats({1, 4}, {1, 2, 3, 4})});
  expectFloats(results, {1, 2, 2}, {1, 2, 3, 4});
  expectFloats(results, {1, 4}, {1, 2, 3, 4}, 0, 1);
}

TEST(extract_slice, takes_columns) {
  Program program(R"(func.func @f(%x: tensor<?x4xf32>, %rows: index) -> tensor<?x2xf32> {
    %y = tensor.extract_slice %x[0, 1] [%rows, 2] [1, 1] : tensor<?x4xf32> to tensor<?x2xf32>
    return %y : tensor<?x2xf32>
  })");
  expectFloats(program.run({floats({2, 4}, {1, 2, 3, 4, 5, 6, 7, 8}), int64_t(2)}), {2, 2}, {2, 3, 6, 7});
  EXPECT_FALSE(program.run({floats({2, 4}, {1, 2, 3, 4, 5, 6, 7, 8}), int64_t(3)}));
}

TEST(rope, rotates_halves_of_each_head_by_the_rows_angle) {
  Program program(R"(func.func @f(%x: tensor<?x2x4xf32>, %t: tensor<?x4xf32>) -> tensor<?x2x4xf32> {
    %y = qwen.rope(%x, %t) : (tensor<?x2x4xf32>, tensor<?x4xf32>) -> tensor<?x2x4xf32>
    return %y : tensor<?x2x4xf32>
  })");
  // cos (0, 1), sin (1, 0): the first pair turns by 90 degrees, the second stays.
  expectFloats(program.run({floats({1, 2, 4}, {1, 2, 3, 4, 5, 6, 7, 8}), floats({1, 4}, {0, 1, 1, 0})}),
               {1, 2, 4}, {-3, 2, 1, 4, -7, 6, 5, 8});
}

TEST(swiglu, is_silu_of_gate_times_up) {
  Program program(R"(func.func @f(%g: tensor<?x2xf32>, %u: tensor<?x2xf32>) -> tensor<?x2xf32> {
    %y = qwen.swiglu(%g, %u) : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
    return %y : tensor<?x2xf32>
  })");
  expectFloats(program.run({floats({1, 2}, {0, std::log(3.f)}), floats({1, 2}, {5, 2})}), {1, 2},
               {0, 1.5f * std::log(3.f)});
}

TEST(add, adds) {
  Program program(R"(func.func @f(%a: tensor<?x2xf32>, %b: tensor<?x2xf32>) -> tensor<?x2xf32> {
    %y = qwen.add(%a, %b) : (tensor<?x2xf32>, tensor<?x2xf32>) -> tensor<?x2xf32>
    return %y : tensor<?x2xf32>
  })");
  expectFloats(program.run({floats({1, 2}, {1, 2}), floats({1, 2}, {10, -2})}), {1, 2}, {11, 0});
}

std::string routerText(const char *normalize) {
  return std::string(R"(func.func @f(%l: tensor<?x4xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>) {
    %w, %e = qwen.router(%l) {top_k = 2, normalize = )") +
         normalize +
         R"(} : (tensor<?x4xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
    return %w, %e : tensor<?x2xf32>, tensor<?x2xi32>
  })";
}

/// What a cache of this element holds of a key.
std::vector<float> held(const char *element, std::vector<float> key) {
  mlir::MLIRContext context;
  context.loadDialect<qwen::QwenDialect>();
  std::string text = "!qwen.cache<layers = 1, heads = 1, dim = " + std::to_string(key.size()) + ", " + element + ">";
  roundVector(mlir::cast<qwen::CacheType>(mlir::parseType(text, &context)), key.data());
  return key;
}

TEST(cache_write, gives_each_vector_its_scale) {
  std::vector<float> key = {127, -63.4f, 0.5f, 1.5f, 2.6f, 0, -0.4f, 3};
  EXPECT_EQ(held("!qwen.quant<i8, group = 0, scale = f32>", key), (std::vector<float>{127, -63, 0, 2, 3, 0, 0, 3}));
  EXPECT_EQ(held("!qwen.quant<i8, group = 0, scale = f32>", std::vector<float>(8)), std::vector<float>(8));
  // Scale 2: e4m3 has the steps 16 from 128 on, 2^-9 at 0.
  key = {896, 2 * 135, -2 * 137, 2, 0x1p-9f, 0x1p-8f, -0x1.8p-8f, 0};
  EXPECT_EQ(held("!qwen.quant<f8E4M3FN, group = 0, scale = f32>", key),
            (std::vector<float>{896, 2 * 128, -2 * 144, 2, 0, 0x1p-8f, -0x1p-7f, 0}));
}

TEST(cache_write, of_4_bits_has_a_zero_point_for_each_group) {
  std::vector<float> key(32);
  key[0] = -3, key[1] = 12, key[2] = 0.4f, key[3] = 5.5f;    // scale 1, zero 3
  key[16] = 30, key[17] = 3, key[18] = 1.1f, key[19] = 0.9f; // scale 2, zero 0
  std::vector<float> expected(32);
  expected[0] = -3, expected[1] = 12, expected[2] = 0, expected[3] = 6;
  expected[16] = 30, expected[17] = 4, expected[18] = 2, expected[19] = 0;
  EXPECT_EQ(held("!qwen.quant<i4, group = 16, scale = f16, zero_points = true>", key), expected);
}

TEST(router, gives_the_likeliest_experts_the_lower_index_first_among_equals) {
  RuntimeValue logits = floats({2, 4}, {0, std::log(2.f), std::log(4.f), 0, 1, 1, 1, 1});
  Program plain(routerText("false")), normalized(routerText("true"));
  auto results = plain.run({logits});
  expectFloats(results, {2, 2}, {.5f, .25f, .25f, .25f});
  expectInts(results, {2, 2}, {2, 1, 0, 1}, 1);
  expectFloats(normalized.run({logits}), {2, 2}, {2 / 3.f, 1 / 3.f, .5f, .5f});
}

TEST(sample, takes_a_token_of_each_draw) {
  Program program(R"(
    func.func @f(%l: tensor<?x5xf32>, %batch: !qwen.batch) -> tensor<?xi32> {
      %y = qwen.sample(%l, %batch) : (tensor<?x5xf32>, !qwen.batch) -> tensor<?xi32>
      return %y : tensor<?xi32>
    })");
  const float ln2 = 0.69314718f, ln5 = 1.60943791f, none = -INFINITY;
  auto logits = floats({2, 5}, {0, ln2, NAN, ln5, 0, none, NAN, none, none, none}); // weights 1, 2, -, 5, 1
  BatchRows batch;
  auto draw = [&](double row, double candidates, double uniform, double temperature, double k, double p, double least) {
    batch.draws.push_back({row, candidates, uniform, temperature, k, p, least});
  };
  draw(0, 5, 0.99, 0, 0, 1, 0);     // the likeliest: 3
  draw(0, 5, 0.5 / 9, 1, 0, 1, 0);  // 0
  draw(0, 5, 1.5 / 9, 1, 0, 1, 0);  // 1
  draw(0, 5, 8.5 / 9, 1, 0, 1, 0);  // 4
  draw(0, 3, 2.5 / 3, 1, 0, 1, 0);  // 1 of 0 and 1
  draw(0, 5, 1.5 / 7, 1, 2, 1, 0);  // 1 of 1 and 3
  draw(0, 5, 0.5 / 8, 1, 3, 1, 0);  // 0 of 0, 1 and 3: 4 is equal and higher
  draw(0, 5, 0.1, 1, 0, 0.5, 0);    // 3 alone: 5/9 are enough
  draw(0, 5, 0.1, 1, 0, 0, 0);      // 3
  draw(0, 5, 1.5 / 7, 1, 0, 1, 0.39);     // 1 of 1 and 3: 2/5 is enough
  draw(0, 5, 1.5 / 31, 0.5, 0, 1, 0);     // squares, 1, 4, 25, 1: 1
  draw(1, 5, 0.5, 1, 0, 1, 0);      // no candidate
  expectInts(program.run({logits, std::monostate()}, batch), {12}, {3, 0, 1, 4, 1, 1, 0, 3, 3, 1, 1, -1});
}

TEST(output_rows, takes_the_rows_wanted) {
  Program program(R"(func.func @f(%batch: !qwen.batch, %x: tensor<?x2xf32>) -> tensor<?x2xf32> {
    %y = qwen.output_rows(%x, %batch) : (tensor<?x2xf32>, !qwen.batch) -> tensor<?x2xf32>
    return %y : tensor<?x2xf32>
  })");
  BatchRows batch = rowsOf({0, 0, 0});
  batch.outputRows = {2, 0};
  expectFloats(program.run({std::monostate(), floats({3, 2}, {1, 2, 3, 4, 5, 6})}, batch), {2, 2},
               {5, 6, 1, 2});
}

const char *attentionText =
    R"(func.func @f(%batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 1, dim = 2, f32>, %q: tensor<?x2x2xf32>, %k: tensor<?x1x2xf32>, %v: tensor<?x1x2xf32>) -> tensor<?x2x2xf32> {
    %c0 = arith.constant 0 : index
    qwen.cache_write(%k, %v, %batch) into %cache[%c0] : tensor<?x1x2xf32>, tensor<?x1x2xf32>, !qwen.cache<layers = 1, heads = 1, dim = 2, f32>
    %y = qwen.attention(%q, %batch) over %cache[%c0] {scale = 0.5 : f32 WINDOW} : (tensor<?x2x2xf32>, !qwen.cache<layers = 1, heads = 1, dim = 2, f32>, index, !qwen.batch) -> tensor<?x2x2xf32>
    return %y : tensor<?x2x2xf32>
  })";

std::string attention(const std::string &window) {
  std::string text = attentionText;
  return text.replace(text.find("WINDOW"), 6, window);
}

// Keys (0, 0) and (2 ln 3, 0): a query of (1, 0) weighs position 1 three times position 0, a query of (0, 1)
// equally.
const float key1 = 2 * std::log(3.f);

TEST(attention, sees_positions_up_to_its_own_and_shares_key_heads) {
  Program program(attention(""));
  auto results = program.run({std::monostate(), std::monostate(), floats({2, 2, 2}, {1, 0, 0, 1, 1, 0, 0, 1}),
                              floats({2, 1, 2}, {0, 0, key1, 0}), floats({2, 1, 2}, {4, 8, 8, 0})},
                             rowsOf({0, 0}));
  expectFloats(results, {2, 2, 2}, {4, 8, 4, 8, 7, 2, 6, 4});
}

TEST(attention, over_the_cache_of_earlier_steps_and_of_its_slot_only) {
  Program program(attention(""));
  RuntimeValue query = floats({1, 2, 2}, {1, 0, 0, 1});
  BatchRows first = rowsOf({0}), other = rowsOf({0}), second = rowsOf({0}, 1);
  other.slots = {1};
  auto step = [&](const BatchRows &batch, std::vector<float> key, std::vector<float> value) {
    return program.run(
        {std::monostate(), std::monostate(), query, floats({1, 1, 2}, key), floats({1, 1, 2}, value)}, batch);
  };
  expectFloats(step(first, {0, 0}, {4, 8}), {1, 2, 2}, {4, 8, 4, 8});
  expectFloats(step(other, {5, 5}, {100, 100}), {1, 2, 2}, {100, 100, 100, 100});
  expectFloats(step(second, {key1, 0}, {8, 0}), {1, 2, 2}, {7, 2, 6, 4});
}

TEST(attention, sees_no_further_back_than_its_window) {
  Program program(attention(", window = 2"));
  auto results = program.run(
      {std::monostate(), std::monostate(), floats({3, 2, 2}, {1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1}),
       floats({3, 1, 2}, {9, 9, 0, 0, key1, 0}), floats({3, 1, 2}, {1, 1, 4, 8, 8, 0})},
      rowsOf({0, 0, 0}));
  ASSERT_TRUE(results) << results.error().message;
  std::vector<float> all = std::get<std::shared_ptr<const Tensor>>((*results)[0])->data;
  EXPECT_THAT(std::vector<float>(all.begin() + 8, all.end()),
              testing::Pointwise(testing::FloatNear(1e-5f), std::vector<float>{7, 2, 6, 4}));
}

// Blocks of one position: run 0 of 2 has position 0, run 1 position 1 (and of the first row, run 1 has all there is).
TEST(attention, in_runs_gives_the_parts_of_the_whole) {
  std::string text = attention(", splits = 2, split_keys = 1");
  for (auto [from, to] :
       {std::pair<std::string, std::string>("%y = qwen.attention", "%y, %s = qwen.attention"),
        {"index, !qwen.batch) -> tensor<?x2x2xf32>", "index, !qwen.batch) -> (tensor<?x2x2x2xf32>, tensor<?x2x2x2xf32>)"},
        {"tensor<?x1x2xf32>) -> tensor<?x2x2xf32>", "tensor<?x1x2xf32>) -> (tensor<?x2x2x2xf32>, tensor<?x2x2x2xf32>)"},
        {"return %y : tensor<?x2x2xf32>", "return %y, %s : tensor<?x2x2x2xf32>, tensor<?x2x2x2xf32>"}})
    text.replace(text.find(from), from.size(), to);
  Program program(text);
  auto results = program.run({std::monostate(), std::monostate(), floats({2, 2, 2}, {1, 0, 0, 1, 1, 0, 0, 1}),
                              floats({2, 1, 2}, {0, 0, key1, 0}), floats({2, 1, 2}, {4, 8, 8, 0})},
                             rowsOf({0, 0}));
  float ln3 = std::log(3.f);
  expectFloats(results, {2, 2, 2, 2}, {0, 0, 0, 0, 4, 8, 4, 8, 4, 8, 4, 8, 8, 0, 8, 0}); // row, run, head
  expectFloats(results, {2, 2, 2, 2}, {0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, ln3, 1, 0, 1}, 1e-6f, 1);
}

TEST(attention_combine, weighs_runs_by_their_maxima_and_leaves_those_without_keys_out) {
  Program program(R"(func.func @f(%v: tensor<?x3x1x2xf32>, %s: tensor<?x3x1x2xf32>) -> tensor<?x1x2xf32> {
    %y = qwen.attention_combine(%v, %s) : (tensor<?x3x1x2xf32>, tensor<?x3x1x2xf32>) -> tensor<?x1x2xf32>
    return %y : tensor<?x1x2xf32>
  })");
  // 2 of weight 1 and 3 of weight 1/3: (6 + 1 * 9) / (2 + 1), (2 + 1 * 1) / (2 + 1).
  expectFloats(program.run({floats({1, 3, 1, 2}, {6, 2, HUGE_VALF, HUGE_VALF, 27, 3}),
                            floats({1, 3, 1, 2}, {std::log(3.f), 2, 99, 0, 0, 3})}),
               {1, 1, 2}, {5, 1});
}

TEST(cache_write, rounds_to_the_caches_type_to_nearest_even) {
  std::string text = attention("");
  for (size_t at; (at = text.find("dim = 2, f32")) != std::string::npos;)
    text.replace(at, 12, "dim = 2, bf16");
  Program program(text);
  // Between 1 and 1 + 2^-7 lies the even 1; just above it is 1 + 2^-7; 1 + 3 * 2^-8 goes to the even 1 +
  // 2^-6.
  expectFloats(program.run({std::monostate(), std::monostate(), floats({1, 2, 2}, {0, 0, 0, 0}),
                            floats({1, 1, 2}, {0, 0}), floats({1, 1, 2}, {1 + 0x1p-8f, 1 + 3 * 0x1p-8f})},
                           rowsOf({0})),
               {1, 2, 2}, {1, 1 + 0x1p-6f, 1, 1 + 0x1p-6f}, 0);
}

TEST(experts, sums_weighted_experts) {
  // Expert e multiplies by e + 1 in gate, 1 in up and 10 in down: weight * 10 * silu((e + 1) x) x.
  Program program(
      R"(func.func @f(%x: tensor<?x1xf32>, %w: tensor<?x2xf32>, %e: tensor<?x2xi32>, %g: tensor<3x1x1xf32>, %u: tensor<3x1x1xf32>, %d: tensor<3x1x1xf32>) -> tensor<?x1xf32> {
    %y = qwen.experts(%x, %w, %e, %g, %u, %d) : (tensor<?x1xf32>, tensor<?x2xf32>, tensor<?x2xi32>, tensor<3x1x1xf32>, tensor<3x1x1xf32>, tensor<3x1x1xf32>) -> tensor<?x1xf32>
    return %y : tensor<?x1xf32>
  })");
  auto silu = [](float x) { return x / (1 + std::exp(-x)); };
  expectFloats(program.run({floats({2, 1}, {1, 2}), floats({2, 2}, {.75f, .25f, .5f, .5f}),
                            ints({2, 2}, {2, 0, 1, 2}), floats({3, 1, 1}, {1, 2, 3}),
                            floats({3, 1, 1}, {1, 1, 1}), floats({3, 1, 1}, {10, 10, 10})}),
               {2, 1}, {7.5f * silu(3) + 2.5f * silu(1), 10 * silu(4) + 10 * silu(6)}, 1e-5f);
}

TEST(layers, hand_the_layer_and_the_instance_to_each_callee) {
  // @a adds layer + 10 * instance, @b 100 * instance, both through weights.
  Program program(R"(
    qwen.weight @layer : tensor<1xf32> instances 3 layers [0, 1, 2] source "layer.{layer}"
    qwen.weight @tens : tensor<1xf32> instances 2 layers [0, 2] source "tens.{layer}"
    func.func @a(%x: tensor<?x1xf32>, %r: tensor<?x2xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 3, heads = 1, dim = 2, f32>, %layer: index, %instance: index) -> tensor<?x1xf32> {
      %one = qwen.param @ones[%layer] : tensor<1x1xf32>
      %l = qwen.param @layer[%layer] : tensor<1xf32>
      %t = qwen.param @tens[%instance] : tensor<1xf32>
      %y = qwen.linear(%x, %one, %l) : (tensor<?x1xf32>, tensor<1x1xf32>, tensor<1xf32>) -> tensor<?x1xf32>
      %z = qwen.linear(%y, %one, %t) : (tensor<?x1xf32>, tensor<1x1xf32>, tensor<1xf32>) -> tensor<?x1xf32>
      return %z : tensor<?x1xf32>
    }
    qwen.weight @ones : tensor<1x1xf32> instances 3 layers [0, 1, 2] source "one"
    func.func @b(%x: tensor<?x1xf32>, %r: tensor<?x2xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 3, heads = 1, dim = 2, f32>, %layer: index, %instance: index) -> tensor<?x1xf32> {
      %y = qwen.add(%x, %x) : (tensor<?x1xf32>, tensor<?x1xf32>) -> tensor<?x1xf32>
      return %y : tensor<?x1xf32>
    }
    func.func @f(%batch: !qwen.batch, %cache: !qwen.cache<layers = 3, heads = 1, dim = 2, f32>, %x: tensor<?x1xf32>, %r: tensor<?x2xf32>) -> tensor<?x1xf32> {
      %y = qwen.layers(%x, %r, %batch, %cache) through [@a, @b, @a] : (tensor<?x1xf32>, tensor<?x2xf32>, !qwen.batch, !qwen.cache<layers = 3, heads = 1, dim = 2, f32>) -> tensor<?x1xf32>
      return %y : tensor<?x1xf32>
    })",
                  {{"layer.0", {0}},
                   {"layer.1", {1}},
                   {"layer.2", {2}},
                   {"tens.0", {10}},
                   {"tens.2", {20}},
                   {"one", {1}}});
  // ((1 + 0 + 10) * 2) + 2 + 20
  expectFloats(program.run({std::monostate(), std::monostate(), floats({1, 1}, {1}), floats({1, 2}, {0, 0})},
                           rowsOf({0})),
               {1, 1}, {44});
}

} // namespace
} // namespace qwench::evaluator
