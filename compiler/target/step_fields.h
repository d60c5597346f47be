// The step behind emitted code: QwenchStep of runtime/abi/program.h.
#pragma once

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"

namespace qwench {

/// The value of `type` that lies `offset` bytes behind the pointer `base`.
mlir::Value loadAt(mlir::ImplicitLocOpBuilder &b, mlir::Value base, int64_t offset, mlir::Type type);

/// A flat memref over the memory at `pointer`, of unlimited extent. The pointer's address space must be the one that the
/// memref's memory space is converted to.
mlir::Value flatMemref(mlir::ImplicitLocOpBuilder &b, mlir::Value pointer, mlir::MemRefType type);

/// In every function below `scope` (func.func or gpu.func), values of type !qwen.batch become pointers to a QwenchStep,
/// and qwen.step_field becomes a load of the member. Members that are memory in another than the default space are cast
/// to the address space `numbered` gives for it.
void lowerStepFields(mlir::Operation *scope,
                     llvm::function_ref<unsigned(mlir::Attribute space)> numbered = [](mlir::Attribute) { return 0; });

} // namespace qwench
