// step-to-llvm
// Assumes: scheduled kernels. Guarantees: no qwen op or type; `prefill` and `decode` have the C signature of
// QwenchStepFunction, and the constant `qwench_program` describes the program (runtime/abi/program.h).
#include "compiler/target/program_constant.h"
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
    lowerStepFields(getOperation());
    for (StringRef entry : {"prefill", "decode"})
      if (auto function = getOperation().lookupSymbol<func::FuncOp>(entry))
        emitEntry(function);
    auto internal = LLVM::LinkageAttr::get(&getContext(), LLVM::Linkage::Internal);
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isDeclaration())
        function->setAttr("llvm.linkage", internal);
    emitProgramConstant(getOperation(), {"x86-64", cpu, features, ""});
    for (NamedAttribute attribute : llvm::to_vector(getOperation()->getAttrs()))
      if (attribute.getName().getValue().starts_with("qwen."))
        getOperation()->removeAttr(attribute.getName());
  }

  /// `void qwench_step_<entry>(const QwenchStep *, int64_t thread, int64_t threads)`.
  void emitEntry(func::FuncOp inner) {
    ImplicitLocOpBuilder b(inner.getLoc(), inner);
    auto pointer = LLVM::LLVMPointerType::get(&getContext());
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(&getContext()),
                                            {pointer, b.getI64Type(), b.getI64Type()});
    auto outer = LLVM::LLVMFuncOp::create(b, ("qwench_step_" + inner.getSymName()).str(), type);
    Block *body = outer.addEntryBlock(b);
    b.setInsertionPointToStart(body);
    Value step = body->getArgument(0), thread = body->getArgument(1), threads = body->getArgument(2);
    auto plan = getOperation()->getAttrOfType<PlanAttr>("qwen.plan");
    auto constant = [&](int64_t v) -> Value { return LLVM::ConstantOp::create(b, b.getI64Type(), b.getI64IntegerAttr(v)); };
    Value arena = loadAt(b, step, offsetof(QwenchStep, arena), pointer);
    Value behind = LLVM::AddOp::create(b, constant(plan.getArenaBytes()),
                                       LLVM::MulOp::create(b, thread, constant(plan.getThreadScratchBytes())));
    Value scratch = LLVM::GEPOp::create(b, pointer, b.getI8Type(), arena, ValueRange{behind});
    Value scratchMemory = flatMemref(b, scratch, MemRefType::get({ShapedType::kDynamic}, b.getI8Type()));
    Value team = loadAt(b, step, offsetof(QwenchStep, team), pointer);
    Value zero = arith::ConstantIndexOp::create(b, 0);
    auto toIndex = [&](Value v) -> Value { return arith::IndexCastOp::create(b, b.getIndexType(), v); };
    func::CallOp::create(b, inner, ValueRange{step, zero, zero, team, scratchMemory, toIndex(thread), toIndex(threads)});
    LLVM::ReturnOp::create(b, ValueRange());
  }

  std::string cpu, features;
};

} // namespace

std::unique_ptr<Pass> qwench::x86::createStepToLLVMPass(std::string cpu, std::string features) {
  return std::make_unique<StepToLLVM>(std::move(cpu), std::move(features));
}
