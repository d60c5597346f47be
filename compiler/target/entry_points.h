// The end of a backend's lowering of host code: entry points for the runtime, and nothing of the qwen dialect.
#pragma once

#include "compiler/target/program_constant.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"

namespace qwench {

/// What a QwenchStepFunction (runtime/abi/program.h) is called with.
struct EntryArguments {
  mlir::Value step;            ///< !llvm.ptr to a QwenchStep
  mlir::Value thread; ///< i64
  mlir::Value team;            ///< !llvm.ptr, the step's
};

/// Builds the operands with which an entry point calls the function behind it.
using EntryOperands = llvm::function_ref<llvm::SmallVector<mlir::Value>(
    mlir::ImplicitLocOpBuilder &b, mlir::func::FuncOp inner, const EntryArguments &arguments)>;

/// Step members become loads; `prefill`, `decode` and `sample` (where there is one) are called by entry points of the C signature
/// `void qwench_step_<entry>(const QwenchStep *, int64_t thread, int64_t threads)`; every func.func with a body is internal;
/// `qwench_program` describes the program; the module's qwen attributes, which `operands` may still read, are gone.
/// Fails on a module that was not planned.
llvm::LogicalResult emitEntryPoints(mlir::ModuleOp module, const ProgramFacts &facts, EntryOperands operands);

/// What is left of host code, without loops, becomes the LLVM dialect; check-lowered holds it to that.
void addHostLowering(mlir::OpPassManager &passes);

} // namespace qwench
