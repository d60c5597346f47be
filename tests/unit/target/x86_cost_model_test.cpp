// Tile sizes that follow from caches and formats.
#include "compiler/target/x86/cost_model.h"
#include "compiler/target/x86/panel_product.h"

#include "dialects/Qwen.h"

#include <gtest/gtest.h>

using namespace mlir;
using namespace qwench;

namespace {

struct InputsPerPass : testing::Test {
  InputsPerPass() : context(MLIRContext::Threading::DISABLED) { context.loadDialect<qwen::QwenDialect>(); }

  Type bf16() { return BFloat16Type::get(&context); }
  Type f32() { return Float32Type::get(&context); }
  Type codes(int64_t group, bool rows = false) {
    Type storage = IntegerType::get(&context, rows ? 8 : 4);
    Type scale = rows ? f32() : Type(Float16Type::get(&context));
    return qwen::QuantType::get(&context, storage, group, scale, 1, false, false, 0);
  }

  MLIRContext context;
  x86::Machine machine;
};

} // namespace

TEST_F(InputsPerPass, FillTwoThirdsOfTheFirstCacheWithFloats) {
  machine.tiles = true;
  machine.firstLevel = 48 << 10;
  EXPECT_EQ(x86::inputsPerPass(machine, bf16(), bf16(), 4096), 512);
  EXPECT_EQ(x86::inputsPerPass(machine, codes(64), f32(), 4096), 256);
  machine.firstLevel = 32 << 10;
  EXPECT_EQ(x86::inputsPerPass(machine, bf16(), bf16(), 4096), 256);
}

TEST_F(InputsPerPass, FillThreeQuartersWithWholeGroupsOfCodes) {
  machine.firstLevel = 48 << 10;
  // A byte for each of 32 outputs by 64 inputs and 32 scales of 4 bytes: 2176 bytes; 36 KiB hold 16 groups.
  EXPECT_EQ(x86::inputsPerPass(machine, codes(64), codes(64, true), 4096), 16 * 64);
  machine.firstLevel = 32 << 10;
  EXPECT_EQ(x86::inputsPerPass(machine, codes(64), codes(64, true), 4096), 11 * 64);
  machine.firstLevel = 1;
  EXPECT_EQ(x86::inputsPerPass(machine, codes(64), codes(64, true), 4096), 64);
}

TEST_F(InputsPerPass, AreAllWherePanelsGoByAsTheyLie) {
  EXPECT_EQ(x86::inputsPerPass(machine, bf16(), bf16(), 4096), 4096);
  EXPECT_EQ(x86::inputsPerPass(machine, f32(), f32(), 100), 128);
}

TEST_F(InputsPerPass, AreNotMoreThanThereAre) {
  machine.tiles = true;
  EXPECT_EQ(x86::inputsPerPass(machine, bf16(), bf16(), 100), 128);
  EXPECT_EQ(x86::inputsPerPass(machine, codes(64), codes(64, true), 100), 128);
}

TEST_F(InputsPerPass, AreNoMoreThanThePiecesOfAPanelHold) {
  // int8 with a scale a row: no scales in the groups, so that 18 of them fit the cache's share.
  Type weight = qwen::QuantType::get(&context, IntegerType::get(&context, 8), 0, f32(), 1, false, false, 0);
  for (int64_t firstLevel : {32 << 10, 48 << 10, 1 << 20}) {
    machine.firstLevel = firstLevel;
    for (int64_t inputs : {1024, 1152, 2048, 12288})
      EXPECT_LE(x86::inputsPerPass(machine, weight, codes(64, true), inputs), x86::PanelProduct::kMaxInputs);
  }
  machine.firstLevel = 48 << 10;
  EXPECT_EQ(x86::inputsPerPass(machine, weight, codes(64, true), 2048), 1024);
}

TEST(FirstLevelCache, IsKnownOfNamedCpus) {
  EXPECT_EQ(x86::firstLevelCache("sapphirerapids"), 48 << 10);
  EXPECT_EQ(x86::firstLevelCache("znver4"), 32 << 10);
  EXPECT_EQ(x86::firstLevelCache("x86-64-v3"), 32 << 10);
}
