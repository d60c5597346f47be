#include "compiler/target/entry_points.h"

#include "compiler/target/step_fields.h"
#include "passes/Passes.h"
#include "runtime/abi/program.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Transforms/Passes.h"

#include <cstddef>

using namespace mlir;

namespace qwench {

namespace {

void emitEntryPoint(func::FuncOp inner, EntryOperands operands) {
  ImplicitLocOpBuilder b(inner.getLoc(), inner);
  auto pointer = LLVM::LLVMPointerType::get(b.getContext());
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()),
                                          {pointer, b.getI64Type(), b.getI64Type()});
  auto outer = LLVM::LLVMFuncOp::create(b, ("qwench_step_" + inner.getSymName()).str(), type);
  Block *body = outer.addEntryBlock(b);
  b.setInsertionPointToStart(body);
  Value step = body->getArgument(0), team = loadAt(b, step, offsetof(QwenchStep, team), pointer);
  func::CallOp::create(b, inner, operands(b, inner, {step, body->getArgument(1), team}));
  LLVM::ReturnOp::create(b, ValueRange());
}

} // namespace

LogicalResult emitEntryPoints(ModuleOp module, const ProgramFacts &facts, EntryOperands operands) {
  if (failed(checkProgramAttributes(module)))
    return failure();
  lowerStepFields(module);
  for (StringRef entry : {"prefill", "decode", "sample"})
    if (auto function = module.lookupSymbol<func::FuncOp>(entry))
      emitEntryPoint(function, operands);
  auto internal = LLVM::LinkageAttr::get(module.getContext(), LLVM::Linkage::Internal);
  for (auto function : module.getOps<func::FuncOp>())
    if (!function.isDeclaration())
      function->setAttr("llvm.linkage", internal);
  emitProgramConstant(module, facts);
  for (NamedAttribute attribute : llvm::to_vector(module->getAttrs()))
    if (attribute.getName().getValue().starts_with("qwen."))
      module->removeAttr(attribute.getName());
  return success();
}

void addHostLowering(OpPassManager &passes) {
  passes.addPass(memref::createExpandStridedMetadataPass());
  passes.addPass(createLowerAffinePass());
  passes.addPass(createConvertToLLVMPass());
  passes.addPass(createReconcileUnrealizedCastsPass());
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  passes.addPass(createCheckLowered());
}

} // namespace qwench
