// Every rung of --emit prints, and what it prints reads back: going on from the text gives the same code.
#include "tests/e2e/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

using namespace qwench::e2e;
using testing::HasSubstr;
using testing::Not;

namespace {

std::string emit(const std::string &model, const std::string &rung, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"compile", model, "--emit", rung};
  arguments.insert(arguments.end(), more.begin(), more.end());
  Outcome outcome = runTool(arguments);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return outcome.out;
}

} // namespace

TEST(Rungs, TextReadsBackAndGivesTheSameCode) {
  Scratch scratch;
  for (std::string model : {"dense-base", "moe-mlp-only"}) {
    std::string assembly = emit(goldenModel(model), "asm");
    EXPECT_THAT(assembly, HasSubstr("qwench_program"));
    for (std::string rung : {"model", "fused", "planned", "kernels"}) {
      writeFile(scratch / "text.mlir", emit(goldenModel(model), rung));
      EXPECT_TRUE(emit(scratch / "text.mlir", "asm") == assembly) << model << " from " << rung;
    }
  }
}

TEST(Rungs, EachSaysWhatItIs) {
  std::string model = goldenModel("moe-base");
  EXPECT_THAT(emit(model, "model"), HasSubstr("qwen.experts"));
  std::string fused = emit(model, "fused");
  EXPECT_THAT(fused, HasSubstr("qwen.grouped_linear"));
  EXPECT_THAT(fused, Not(HasSubstr("qwen.experts(")));
  EXPECT_THAT(emit(model, "planned"), HasSubstr("qwen.plan = #qwen.plan<"));
  EXPECT_THAT(emit(model, "kernels"), HasSubstr("qwen.launch"));
  EXPECT_THAT(emit(model, "llvm"), HasSubstr("@qwench_program"));
}

TEST(Rungs, ObjectsNeedAFile) {
  Scratch scratch;
  emit(goldenModel("dense-base"), "obj", {"-o", scratch / "model.o"});
  EXPECT_THAT(readFile(scratch / "model.o"), testing::StartsWith("\x7f"
                                                                 "ELF"));
  emit(goldenModel("dense-base"), "weights", {"-o", scratch / "model.weights"});
  Outcome outcome = runTool({"inspect", scratch / "model.weights"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("weights"));
}

TEST(Rungs, TextHasNoWeights) {
  Scratch scratch;
  writeFile(scratch / "text.mlir", emit(goldenModel("dense-base"), "fused"));
  Outcome outcome = runTool({"compile", scratch / "text.mlir", "-o", scratch / "out"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("has no weights: give a model directory, or --random-weights SEED"));
  outcome = runTool({"compile", scratch / "text.mlir", "-o", scratch / "out", "--random-weights", "3"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
}

TEST(Rungs, BadTextIsTheUsersMistake) {
  Scratch scratch;
  writeFile(scratch / "text.mlir", "func.func @forward() { return 1 }\n");
  Outcome outcome = runTool({"compile", scratch / "text.mlir", "--emit", "asm"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("text.mlir:1:"));
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
}

TEST(Rungs, FusionsSwitchOffAndPassesPrint) {
  std::string model = goldenModel("dense-base");
  EXPECT_THAT(emit(model, "fused"), HasSubstr("qwen.qk_norm_rope_cache"));
  EXPECT_THAT(emit(model, "fused", {"--disable-fusion", "fuse-rope-cache,fuse-norm"}),
              Not(HasSubstr("qwen.qk_norm_rope_cache")));
  Outcome twice = runTool({"compile", "--disable-fusion", "fuse-rope-cache", "--disable-fusion", "fuse-norm", model,
                           "--emit", "fused"});
  EXPECT_THAT(twice.out, Not(HasSubstr("qwen.qk_norm_rope_cache"))) << twice.err;
  EXPECT_EQ(twice.out, emit(model, "fused", {"--disable-fusion", "fuse-rope-cache,fuse-norm"}));
  Outcome outcome = runTool({"compile", model, "--emit", "fused", "--print-after", "fuse-qkv"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("IR Dump After"));
  EXPECT_THAT(outcome.err, HasSubstr("(fuse-qkv)"));
}
