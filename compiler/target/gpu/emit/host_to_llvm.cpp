// gpu-host-to-llvm
// Assumes: host functions that call qwench_device_launch, (batch, layer, instance, team) for the entries; lowered
// gpu.modules. Guarantees: no qwen op or type; qwench_step_prefill and qwench_step_decode have the C signature of
// QwenchStepFunction; `qwench_program` points to the device program, which is declared.
#include "compiler/target/entry_points.h"
#include "compiler/target/gpu/emit/images.h"
#include "compiler/target/gpu/emit/passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

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
    declareDeviceProgram(getOperation());
    auto operands = [](ImplicitLocOpBuilder &b, func::FuncOp inner, const EntryArguments &entry) {
      Value zero = arith::ConstantIndexOp::create(b, 0);
      SmallVector<Value> all{entry.step, zero, zero, entry.team}; // threads are none of its matter
      all.truncate(inner.getNumArguments());
      return all;
    };
    if (failed(emitEntryPoints(getOperation(), {target, archs, "", kDeviceProgram.str()}, operands)))
      signalPassFailure();
  }

  std::string target, archs;
};

} // namespace

std::unique_ptr<Pass> createHostToLLVMPass(std::string target, std::string archs) {
  return std::make_unique<HostToLLVM>(std::move(target), std::move(archs));
}

} // namespace qwench::gpu
