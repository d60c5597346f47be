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

namespace {

/// What supports() of a GPU target says to a weight, or a cache, of this element type; "" if nothing.
std::string gpuRefusal(const std::string &function) {
  auto context = createContext();
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::parseSourceString<mlir::ModuleOp>(function, context.get());
  EXPECT_TRUE(module) << function;
  auto target = createTarget("cuda", {"", {"sm_80"}});
  if (!module || !target)
    return "no module or no target";
  Status status = (*target)->supports(*module);
  return status ? "" : status.error().message;
}

std::string weightOf(const std::string &element) {
  return "qwen.weight @w : tensor<128x256x" + element + "> instances 1 layers [] source \"w\"";
}

std::string quantizedCache(int dim, const std::string &element) {
  std::string text = attention(4, 2, dim), quantized = "!qwen.quant<" + element + ">";
  for (size_t at; (at = text.find("bf16>")) != std::string::npos;)
    text.replace(at, 4, quantized);
  return text;
}

} // namespace

TEST(GpuSupports, TakesWeightsOfEveryQuantizedFormat) {
  for (const char *format : {"i8, group = 0, scale = f32", "i4, group = 64, scale = f16, zero_points = true",
                             "f4E2M1FN, group = 16, scale = f8E4M3FN, row_scales = true",
                             "f8E4M3FN, group = 128, scale = f32, group_rows = 128"})
    EXPECT_EQ(gpuRefusal(weightOf("!qwen.quant<" + std::string(format) + ">")), "") << format;
  EXPECT_EQ(gpuRefusal(weightOf("f16")), "expected weights of f32, bf16 or a quantized type for cuda, found f16");
}

TEST(GpuSupports, TakesCachesWhoseGroupsReduceTogether) {
  EXPECT_EQ(gpuRefusal(quantizedCache(128, "i8, group = 0, scale = f32")), "");
  EXPECT_EQ(gpuRefusal(quantizedCache(96, "i4, group = 32, scale = f16, zero_points = true")), "");
  EXPECT_EQ(gpuRefusal(quantizedCache(96, "i8, group = 48, scale = f16")),
            "expected a cache whose groups are a power of two or all of a head for cuda, found "
            "!qwen.quant<i8, group = 48, scale = f16>");
}
