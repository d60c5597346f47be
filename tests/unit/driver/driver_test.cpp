// Rungs by name, stages one after another, and what is said of sizes.
#include "compiler/driver/console.h"
#include "compiler/driver/pipeline.h"
#include "compiler/driver/rung.h"

#include "frontends/huggingface/import/import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace qwench;
using testing::HasSubstr;

TEST(Rung, NamesReadBack) {
  for (int i = 0; i <= static_cast<int>(Rung::Executable); i++) {
    Rung rung = static_cast<Rung>(i);
    Result<Rung> parsed = parseRung(name(rung));
    ASSERT_TRUE(parsed);
    EXPECT_EQ(*parsed, rung);
  }
  EXPECT_EQ(parseRung("elf").error().message, "--emit: expected one of model, fused, planned, kernels, llvm, asm, ptx, hsaco, obj, "
                                              "weights, shared, exe, found 'elf'");
}

TEST(Console, SizesAndTimesHaveThreeFigures) {
  EXPECT_EQ(formatBytes(0), "0 B");
  EXPECT_EQ(formatBytes(999), "999 B");
  EXPECT_EQ(formatBytes(1000), "1.00 kB");
  EXPECT_EQ(formatBytes(12345678), "12.3 MB");
  EXPECT_EQ(formatBytes(3441149952), "3.44 GB");
  EXPECT_EQ(formatSeconds(0.417), "0.42 s");
  EXPECT_EQ(formatSeconds(61.2), "61 s");
}

namespace {

struct Model {
  std::unique_ptr<mlir::MLIRContext> context = createContext();
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::unique_ptr<Target> target;
  PipelineOptions options;

  Model() {
    Result<hf::ModelConfig> config = hf::readConfig(QWENCH_SOURCE_DIR "/tests/golden/models/moe-base");
    module = importModel(*context, *config, {"moe-base", ElementType::BF16, CacheFormat::BF16, 256}).take();
    target = createTarget("x86-64", {"x86-64-v4", {}}).take();
    options.target = target.get();
    options.program = {"moe-base", 256};
  }
};

} // namespace

TEST(Pipeline, EveryStageFollowsTheOneBefore) {
  Model model;
  for (Stage stage : {Stage::Fused, Stage::Planned, Stage::Kernels, Stage::Lowered}) {
    Status done = advance(*model.module, static_cast<Stage>(static_cast<int>(stage) - 1), stage, model.options);
    ASSERT_TRUE(done) << done.error().message;
  }
  (*model.module)->walk([](mlir::Operation *op) {
    EXPECT_NE(op->getName().getDialectNamespace(), "qwen") << op->getName().getStringRef().str() << " is not lowered";
  });
}

TEST(Pipeline, ThePlanHashIsTheSameEachTimeAndFollowsThePlan) {
  auto hash = [](int64_t context) {
    Model model;
    model.options.program.maxContext = context;
    Status done = advance(*model.module, Stage::Model, Stage::Planned, model.options);
    EXPECT_TRUE(done);
    return (*model.module)->getAttrOfType<mlir::IntegerAttr>("qwen.plan_hash").getInt();
  };
  EXPECT_EQ(hash(256), hash(256));
  EXPECT_NE(hash(256), hash(512));
}

TEST(Pipeline, WhatAPassReportsIsOneLine) {
  Model model;
  model.options.fault = Error::Fault::User;
  // Fusing needs the model stage; a fused module is none.
  ASSERT_TRUE(advance(*model.module, Stage::Model, Stage::Planned, model.options));
  Status again = advance(*model.module, Stage::Model, Stage::Fused, model.options);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().fault, Error::Fault::User);
  EXPECT_THAT(again.error().message, HasSubstr("cannot compile to stage fused: "));
  EXPECT_EQ(again.error().message.find('\n'), std::string::npos);
}
