// Placement of activations: what is written is still there when it is read, and the arena is used again.
#include "passes/plan/storage.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

using namespace mlir;
using namespace qwench;

namespace {

constexpr int64_t kRows = 4;

TargetProperties properties() {
  TargetProperties p;
  p.matrixInput = [](Type element, int64_t) { return element; };
  p.rowStride = [](int64_t width, int64_t) { return (width + 31) / 32 * 32; };
  return p;
}

/// A function of `length` random ops: maps to other widths, norms, sums (which may go over their first operand) and
/// products, of values made anywhere before.
std::string randomFunction(std::mt19937 &random, int length) {
  auto below = [&](int n) { return static_cast<int>(random() % n); };
  const int widths[] = {32, 64, 160};
  std::string text = "qwen.weight @table : tensor<9x64xf32> instances 1 layers [] source \"table\"\n";
  for (int from : widths) {
    std::string f = std::to_string(from);
    text += "qwen.weight @g" + f + " : tensor<" + f + "xf32> instances 1 layers [] source \"g\"\n";
    for (int to : widths)
      text += "qwen.weight @w" + f + "_" + std::to_string(to) + " : tensor<" + std::to_string(to) + "x" + f +
              "xbf16> instances 1 layers [] source \"w\"\n";
  }
  text += "func.func @f(%batch: !qwen.batch) {\n%c0 = arith.constant 0 : index\n"
          "%table = qwen.param @table[%c0] : tensor<9x64xf32>\n"
          "%v0 = qwen.embedding(%batch, %table) : (!qwen.batch, tensor<9x64xf32>) -> tensor<?x64xf32>\n";
  std::vector<int> made = {64};
  auto tensor = [](int width) { return "tensor<?x" + std::to_string(width) + "xf32>"; };
  for (int i = 1; i < length; i++) {
    // Mostly recent values, sometimes old ones.
    int a = below(4) ? static_cast<int>(made.size()) - 1 - below(std::min<int>(3, made.size())) : below(made.size());
    int width = made[a], to = widths[below(3)];
    std::string f = std::to_string(width), n = std::to_string(i), va = "%v" + std::to_string(a);
    std::vector<int> same;
    for (size_t v = 0; v < made.size(); v++)
      if (made[v] == width)
        same.push_back(v);
    std::string vb = "%v" + std::to_string(same[below(same.size())]);
    switch (below(4)) {
    case 0:
      text += "%w" + n + " = qwen.param @w" + f + "_" + std::to_string(to) + "[%c0] : tensor<" + std::to_string(to) + "x" + f +
              "xbf16>\n%v" + n + " = qwen.linear(" + va + ", %w" + n + ") : (" + tensor(width) + ", tensor<" +
              std::to_string(to) + "x" + f + "xbf16>) -> " + tensor(to) + "\n";
      width = to;
      break;
    case 1:
      text += "%g" + n + " = qwen.param @g" + f + "[%c0] : tensor<" + f + "xf32>\n%v" + n + " = qwen.rms_norm(" + va + ", %g" +
              n + ") {eps = 1.0e-06 : f32} : (" + tensor(width) + ", tensor<" + f + "xf32>) -> " + tensor(width) + "\n";
      break;
    default:
      text += "%v" + n + " = qwen." + (below(2) ? "add" : "swiglu") + "(" + va + ", " + vb + ") : (" + tensor(width) + ", " +
              tensor(width) + ") -> " + tensor(width) + "\n";
    }
    made.push_back(width);
  }
  return text + "return\n}\n";
}

struct Planned {
  explicit Planned(const std::string &text) : context(MLIRContext::Threading::DISABLED) {
    context.loadDialect<func::FuncDialect, arith::ArithDialect, qwen::QwenDialect>();
    module = parseSourceString<ModuleOp>(text, &context);
    if (!module)
      return;
    function = *module->getOps<func::FuncOp>().begin();
    ok = succeeded(storage.analyze(function));
    end = storage.assign(0).second;
  }

  std::pair<int64_t, int64_t> bytes(Value value) {
    const View *view = storage.lookup(value);
    const Storage &s = storage.storage(view->storage);
    return {s.offset, s.offset + s.bytes};
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  func::FuncOp function;
  TargetProperties target = properties();
  FunctionStorage storage{target, kRows};
  bool ok = false;
  int64_t end = 0;
};

/// Walks the function as a machine would: every op reads its operands, then writes its result.
void expectNothingIsLost(Planned &planned, const std::string &text) {
  std::map<int64_t, Value> owner; // of each 32 bytes of the arena
  for (Operation &op : planned.function.getBody().front()) {
    if (op.getNumResults() != 1 || !planned.storage.lookup(op.getResult(0)))
      continue;
    auto [begin, end] = planned.bytes(op.getResult(0));
    ASSERT_GE(begin, 0);
    ASSERT_LE(end, planned.end);
    auto type = cast<ShapedType>(op.getResult(0).getType());
    const View *result = planned.storage.lookup(op.getResult(0));
    ASSERT_GE(end - begin, kRows * type.getDimSize(1) * result->element.getIntOrFloatBitWidth() / 8);
    for (OpOperand &operand : op.getOpOperands()) {
      const View *view = planned.storage.lookup(operand.get());
      if (!view)
        continue;
      auto [first, last] = planned.bytes(operand.get());
      for (int64_t at = first; at < last; at += 32)
        ASSERT_TRUE(owner[at] == operand.get()) << "byte " << at << " was overwritten before it was read in\n" << text;
      bool inPlace = isa<qwen::AddOp>(op) && op.getOperand(0) == operand.get() && view->storage == result->storage;
      ASSERT_TRUE(inPlace || last <= begin || end <= first) << "a result over an operand in\n" << text;
    }
    for (int64_t at = begin; at < end; at += 32)
      owner[at] = op.getResult(0);
  }
}

} // namespace

TEST(Storage, WhatIsWrittenIsThereWhenItIsRead) {
  std::mt19937 random(7);
  for (int i = 0; i < 200; i++) {
    std::string text = randomFunction(random, 2 + i / 4);
    Planned planned(text);
    ASSERT_TRUE(planned.ok) << text;
    expectNothingIsLost(planned, text);
    if (HasFatalFailure())
      return;
  }
}

TEST(Storage, AChainNeedsTwoPlaces) {
  std::string text = "qwen.weight @table : tensor<9x64xf32> instances 1 layers [] source \"table\"\n"
                     "func.func @f(%batch: !qwen.batch, %c0: index) {\n"
                     "%table = qwen.param @table[%c0] : tensor<9x64xf32>\n"
                     "%v0 = qwen.embedding(%batch, %table) : (!qwen.batch, tensor<9x64xf32>) -> tensor<?x64xf32>\n";
  for (int i = 1; i < 20; i++)
    text += "%v" + std::to_string(i) + " = qwen.swiglu(%v" + std::to_string(i - 1) + ", %v" + std::to_string(i - 1) +
            ") : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>\n";
  Planned planned(text + "return\n}\n");
  ASSERT_TRUE(planned.ok);
  EXPECT_EQ(planned.end, 2 * kRows * 64 * 4);
}

TEST(Storage, ASumGoesOverItsFirstOperandUnlessThatIsReadLater) {
  auto sum = [](const std::string &more) {
    return "qwen.weight @table : tensor<9x64xf32> instances 1 layers [] source \"table\"\n"
           "func.func @f(%batch: !qwen.batch, %c0: index) {\n"
           "%table = qwen.param @table[%c0] : tensor<9x64xf32>\n"
           "%a = qwen.embedding(%batch, %table) : (!qwen.batch, tensor<9x64xf32>) -> tensor<?x64xf32>\n"
           "%b = qwen.swiglu(%a, %a) : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>\n"
           "%c = qwen.add(%a, %b) : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>\n" +
           more + "return\n}\n";
  };
  Planned over(sum(""));
  ASSERT_TRUE(over.ok);
  EXPECT_EQ(over.end, 2 * kRows * 64 * 4);
  Planned apart(sum("%d = qwen.swiglu(%a, %c) : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>\n"));
  ASSERT_TRUE(apart.ok);
  EXPECT_GE(apart.end, 3 * kRows * 64 * 4);
}
