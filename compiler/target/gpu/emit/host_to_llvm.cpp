// gpu-host-to-llvm
// Assumes: host functions that call qwench_device_launch, (batch, layer, instance, team) for the entries; lowered
// gpu.modules. Guarantees: no qwen op or type; qwench_step_prefill and qwench_step_decode have the C signature of
// QwenchStepFunction; `qwench_program` points to the device program, which is declared.
#include "compiler/target/gpu/emit/images.h"
#include "compiler/target/gpu/emit/passes.h"
#include "compiler/target/program_constant.h"
#include "compiler/target/step_fields.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

#include <cstddef>

using namespace mlir;

namespace qwench::gpu {

namespace {

struct HostToLLVM : PassWrapper<HostToLLVM, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(HostToLLVM)

  HostToLLVM(std::string target, std::string archs) : target(std::move(target)), archs(std::move(archs)) {}
  StringRef getArgument() const final { return "gpu-host-to-llvm"; }
  StringRef getDescription() const final { return "host functions become entry points; emits the program's description"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<func::FuncDialect, arith::ArithDialect, LLVM::LLVMDialect>();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    lowerStepFields(module);
    for (StringRef entry : {"prefill", "decode"})
      if (auto function = module.lookupSymbol<func::FuncOp>(entry))
        emitEntry(function);
    auto internal = LLVM::LinkageAttr::get(&getContext(), LLVM::Linkage::Internal);
    for (auto function : module.getOps<func::FuncOp>())
      if (!function.isDeclaration())
        function->setAttr("llvm.linkage", internal);
    declareDeviceProgram(module);
    emitProgramConstant(module, {target, archs, "", kDeviceProgram.str()});
    for (NamedAttribute attribute : llvm::to_vector(module->getAttrs()))
      if (attribute.getName().getValue().starts_with("qwen."))
        module->removeAttr(attribute.getName());
  }

  /// `void qwench_step_<entry>(const QwenchStep *, int64_t thread, int64_t threads)`; the threads are none of its matter.
  void emitEntry(func::FuncOp inner) {
    ImplicitLocOpBuilder b(inner.getLoc(), inner);
    auto pointer = LLVM::LLVMPointerType::get(&getContext());
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(&getContext()),
                                            {pointer, b.getI64Type(), b.getI64Type()});
    auto outer = LLVM::LLVMFuncOp::create(b, ("qwench_step_" + inner.getSymName()).str(), type);
    Block *body = outer.addEntryBlock(b);
    b.setInsertionPointToStart(body);
    Value step = body->getArgument(0), zero = arith::ConstantIndexOp::create(b, 0);
    Value team = loadAt(b, step, offsetof(QwenchStep, team), pointer);
    SmallVector<Value> operands{step, zero, zero, team};
    func::CallOp::create(b, inner, ArrayRef<Value>(operands).take_front(inner.getNumArguments()));
    LLVM::ReturnOp::create(b, ValueRange());
  }

  std::string target, archs;
};

} // namespace

std::unique_ptr<Pass> createHostToLLVMPass(std::string target, std::string archs) {
  return std::make_unique<HostToLLVM>(std::move(target), std::move(archs));
}

} // namespace qwench::gpu
