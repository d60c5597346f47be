// What a target refuses, in a module that every other room accepts.
#include "compiler/driver/pipeline.h"

#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

using namespace qwench;

namespace {

/// What supports() of x86-64 says to a fused module with this function; "" if nothing.
std::string refusal(const std::string &function) {
  auto context = createContext();
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::parseSourceString<mlir::ModuleOp>(function, context.get());
  EXPECT_TRUE(module) << function;
  auto target = createTarget("x86-64", {"x86-64-v4", {}});
  if (!module || !target)
    return "no module or no target";
  Status status = (*target)->supports(*module);
  return status ? "" : status.error().message;
}

/// The same of the driver, which goes on from the module as from text that was read back.
std::string refusalOfText(const std::string &function) {
  auto context = createContext();
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::parseSourceString<mlir::ModuleOp>(function, context.get());
  auto target = createTarget("x86-64", {"x86-64-v4", {}});
  PipelineOptions options;
  options.target = target->get();
  Status status = advance(*module, Stage::Fused, Stage::Planned, options);
  return status ? "" : status.error().message;
}

std::string linear(const std::string &bias, const std::string &activation) {
  return "func.func @f(%x: tensor<?x64xf32>, %w: tensor<128x64xf32>, %b: tensor<128xf32>) {"
         "  %y = qwen.fused_linear(%x, %w)" +
         bias + " {activation = " + (activation == "swiglu" ? "1" : "0") +
         " : i32} : (tensor<?x64xf32>, tensor<128x64xf32>" + (bias.empty() ? "" : ", tensor<128xf32>") +
         ") -> tensor<?x" + (activation == "swiglu" ? "64" : "128") + "xf32> return }";
}

std::string attention(int heads, int kvHeads, int dim) {
  std::string query = "tensor<?x" + std::to_string(heads) + "x" + std::to_string(dim) + "xf32>";
  std::string cache = "!qwen.cache<layers = 1, heads = " + std::to_string(kvHeads) +
                      ", dim = " + std::to_string(dim) + ", bf16>";
  return "func.func @f(%q: " + query + ", %batch: !qwen.batch, %cache: " + cache + ", %layer: index) {" +
         "  %a = qwen.attention(%q, %batch) over %cache[%layer] {scale = 0.1 : f32} : (" + query + ", " +
         cache + ", index, !qwen.batch) -> " + query + " return }";
}

std::string router(int experts) {
  std::string weight = "tensor<" + std::to_string(experts) + "x64xf32>";
  return "func.func @f(%x: tensor<?x64xf32>, %w: " + weight + ") {" +
         "  %p:2 = qwen.fused_router(%x, %w) {normalize = true, top_k = 2 : i64} : (tensor<?x64xf32>, " +
         weight + ") -> (tensor<?x2xf32>, tensor<?x2xi32>) return }";
}

} // namespace

TEST(X86Supports, RefusesABiasOnGateAndUp) {
  EXPECT_EQ(refusal(linear(" bias(%b)", "swiglu")),
            "expected no bias on a gate and up projection for x86-64, found one");
  EXPECT_EQ(refusal(linear(" bias(%b)", "none")), "");
  EXPECT_EQ(refusal(linear("", "swiglu")), "");
}

TEST(X86Supports, IsAskedAboutTextOfTheFusedStageToo) {
  EXPECT_EQ(refusalOfText(linear(" bias(%b)", "swiglu")),
            "expected no bias on a gate and up projection for x86-64, found one");
}

TEST(X86Supports, RefusesHeadsThatItsKernelsDoNotCut) {
  const std::string expected =
      "expected a head_dim that is a multiple of 32 up to 256 and at most 128 heads per kv "
      "head for x86-64, found ";
  EXPECT_EQ(refusal(attention(4, 2, 48)), expected + "48 and 2");
  EXPECT_EQ(refusal(attention(4, 2, 288)), expected + "288 and 2");
  EXPECT_EQ(refusal(attention(129, 1, 32)), expected + "32 and 129");
  EXPECT_EQ(refusal(attention(128, 1, 256)), "");
}

TEST(X86Supports, RefusesMoreExpertsThanARouterHolds) {
  EXPECT_EQ(refusal(router(1000000)), "expected at most 2048 experts for x86-64, found 1000000");
  EXPECT_EQ(refusal(router(128)), "");
}
