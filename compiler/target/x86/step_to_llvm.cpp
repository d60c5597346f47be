// step-to-llvm
// Assumes: scheduled kernels. Guarantees: no qwen op or type; `prefill` and `decode` have the C signature of
// QwenchStepFunction, and the constant `qwench_program` describes the program (runtime/abi/program.h).
#include "compiler/target/entry_points.h"
#include "compiler/target/step_fields.h"
#include "compiler/target/x86/passes.h"
#include "dialects/Qwen.h"
#include "runtime/abi/program.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

#include <cstddef>

using namespace mlir;
using namespace qwench;
using namespace qwench::qwen;

namespace {

struct StepToLLVM : PassWrapper<StepToLLVM, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(StepToLLVM)

  StepToLLVM(std::string cpu, std::string features) : cpu(std::move(cpu)), features(std::move(features)) {}
  StringRef getArgument() const final { return "step-to-llvm"; }
  StringRef getDescription() const final { return "step members become loads; emits the program's description"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<func::FuncDialect, arith::ArithDialect, LLVM::LLVMDialect, memref::MemRefDialect>();
  }

  void runOnOperation() override {
    auto plan = getOperation()->getAttrOfType<PlanAttr>("qwen.plan");
    auto operands = [plan](ImplicitLocOpBuilder &b, func::FuncOp, const EntryArguments &entry) -> SmallVector<Value> {
      Value zero = arith::ConstantIndexOp::create(b, 0);
      auto toIndex = [&](Value v) -> Value { return arith::IndexCastOp::create(b, b.getIndexType(), v); };
      return {entry.step, zero, zero, entry.team, scratchOf(b, plan, entry), toIndex(entry.thread)};
    };
    if (failed(emitEntryPoints(getOperation(), {"x86-64", cpu, features, ""}, operands)))
      signalPassFailure();
  }

  /// A thread's scratch, behind the arena: memref<?xi8>.
  static Value scratchOf(ImplicitLocOpBuilder &b, PlanAttr plan, const EntryArguments &entry) {
    auto pointer = LLVM::LLVMPointerType::get(b.getContext());
    auto constant = [&](int64_t v) -> Value { return LLVM::ConstantOp::create(b, b.getI64Type(), b.getI64IntegerAttr(v)); };
    Value arena = loadAt(b, entry.step, offsetof(QwenchStep, arena), pointer);
    Value behind = LLVM::AddOp::create(b, constant(plan.getArenaBytes()),
                                       LLVM::MulOp::create(b, entry.thread, constant(plan.getThreadScratchBytes())));
    Value scratch = LLVM::GEPOp::create(b, pointer, b.getI8Type(), arena, ValueRange{behind});
    return flatMemref(b, scratch, MemRefType::get({ShapedType::kDynamic}, b.getI8Type()));
  }

  std::string cpu, features;
};

} // namespace

std::unique_ptr<Pass> qwench::x86::createStepToLLVMPass(std::string cpu, std::string features) {
  return std::make_unique<StepToLLVM>(std::move(cpu), std::move(features));
}
