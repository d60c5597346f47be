#include "passes/check/Check.h"

using namespace mlir;

namespace qwench {

Type findBufferType(Operation *op) {
  SmallVector<Type> types(op->getOperandTypes());
  llvm::append_range(types, op->getResultTypes());
  if (auto function = dyn_cast<func::FuncOp>(op)) {
    llvm::append_range(types, function.getArgumentTypes());
    llvm::append_range(types, function.getResultTypes());
  }
  auto buffer = llvm::find_if(types, llvm::IsaPred<BaseMemRefType>);
  return buffer == types.end() ? Type() : *buffer;
}

LogicalResult checkTensorOps(ModuleOp module, StringRef stage, ArrayRef<llvm::StringLiteral> ops) {
  bool failed = false;
  module.walk([&](Operation *op) {
    if (op == module)
      return;
    if (!llvm::is_contained(ops, op->getName().getStringRef())) {
      emitError(op->getLoc()) << "expected an op of the " << stage << " stage, found " << op->getName();
      failed = true;
    } else if (Type buffer = findBufferType(op)) {
      emitError(op->getLoc()) << "expected only tensors in the " << stage << " stage, found " << buffer;
      failed = true;
    }
  });
  return failure(failed);
}

} // namespace qwench
