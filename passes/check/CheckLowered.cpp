// check-lowered: what the lowered stage promises.
//
// Does: fails unless every op is of the LLVM dialect, every call is direct, every function without a body is in
//   the ABI list below, and the module defines the constant qwench_program.
// Assumes: the module verifies.
// Guarantees: what passes translates to LLVM IR and links against the runtime and libc alone; model mathematics
//   is code of the module itself. It changes nothing.
#include "passes/check/Check.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace qwench {
#define GEN_PASS_DEF_CHECKLOWERED
#include "passes/Passes.h.inc"

namespace {

/// Functions outside the module that generated code may call: the runtime's (runtime/abi/program.h), and libc's.
constexpr llvm::StringLiteral abiFunctions[] = {"qwench_team_barrier", "qwench_device_launch", "sinf",   "cosf",
                                                "sincosf",             "powf",                 "expf",   "memcpy",
                                                "memset",              "memmove",              "fmaf"};

struct CheckLowered : impl::CheckLoweredBase<CheckLowered> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    bool failed = false;
    auto error = [&](Operation *op) {
      failed = true;
      return emitError(op->getLoc());
    };
    module.walk([&](Operation *op) {
      if (op == module)
        return;
      if (!isa<LLVM::LLVMDialect>(op->getDialect()))
        error(op) << "expected an op of the LLVM dialect in the lowered stage, found " << op->getName();
      else if (auto function = dyn_cast<LLVM::LLVMFuncOp>(op))
        checkFunction(function, error);
      else if (auto call = dyn_cast<LLVM::CallOp>(op); call && !call.getCallee())
        error(op) << "expected a call of a named function in the lowered stage, found an indirect one";
      else if (isa<LLVM::InlineAsmOp>(op))
        error(op) << "expected no inline assembly in the lowered stage";
    });
    auto program = module.lookupSymbol<LLVM::GlobalOp>("qwench_program");
    if (!program || !program.getConstant() || (!program.getValueOrNull() && program.getInitializerRegion().empty()))
      error(module) << "expected a constant qwench_program in the lowered stage";
    if (failed)
      signalPassFailure();
  }

  template <typename Error> static void checkFunction(LLVM::LLVMFuncOp function, Error error) {
    StringRef name = function.getSymName();
    if (function.isExternal() && !name.starts_with("llvm.") && !llvm::is_contained(abiFunctions, name))
      error(function) << "expected a body, or a function of the ABI list (" << llvm::join(ArrayRef(abiFunctions), ", ")
                      << "), found a declaration of " << name;
  }
};

} // namespace
} // namespace qwench
