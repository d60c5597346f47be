// check-lowered: what the lowered stage promises.
//
// Does: fails unless every op is of the LLVM dialect (in a gpu.module: of that or a GPU vendor's), every call is direct,
//   every function without a body is in the ABI list below (in a gpu.module: an intrinsic), and the module defines the
//   constant qwench_program.
// Assumes: the module verifies.
// Guarantees: what passes translates to LLVM IR and links against the runtime and libc alone; model mathematics
//   is code of the module itself. It changes nothing.
#include "passes/check/Check.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/LLVMIR/ROCDLDialect.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace qwench {
#define GEN_PASS_DEF_CHECKLOWERED
#include "passes/Passes.h.inc"

namespace {

/// Functions outside the module that generated code may call: the runtime's (runtime/abi/program.h), and libc's.
constexpr llvm::StringLiteral abiFunctions[] = {"qwench_team_share",    "qwench_team_take", "qwench_team_barrier",
                                                "qwench_device_launch", "sinf",             "cosf",
                                                "sincosf",              "powf",             "expf",
                                                "memcpy",               "memset",           "memmove",
                                                "fmaf"};

struct CheckLowered : impl::CheckLoweredBase<CheckLowered> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    bool failed = false;
    auto error = [&](Operation *op) {
      failed = true;
      return emitError(op->getLoc());
    };
    auto checkDevice = [&](gpu::GPUModuleOp kernels) {
      kernels.walk([&](Operation *op) {
        if (op != kernels && !isa<LLVM::LLVMDialect, NVVM::NVVMDialect, ROCDL::ROCDLDialect>(op->getDialect()))
          error(op) << "expected an op of the LLVM, NVVM or ROCDL dialect in a lowered gpu.module, found " << op->getName();
        else if (auto function = dyn_cast<LLVM::LLVMFuncOp>(op);
                 function && function.isExternal() && !function.getSymName().starts_with("llvm."))
          error(op) << "expected a body, found a declaration of " << function.getSymName();
      });
      return WalkResult::skip();
    };
    module.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (op == module)
        return WalkResult::advance();
      if (auto kernels = dyn_cast<gpu::GPUModuleOp>(op))
        return checkDevice(kernels);
      if (!isa<LLVM::LLVMDialect>(op->getDialect()))
        error(op) << "expected an op of the LLVM dialect in the lowered stage, found " << op->getName();
      else if (auto function = dyn_cast<LLVM::LLVMFuncOp>(op))
        checkFunction(function, error);
      else if (auto call = dyn_cast<LLVM::CallOp>(op); call && !call.getCallee())
        error(op) << "expected a call of a named function in the lowered stage, found an indirect one";
      else if (isa<LLVM::InlineAsmOp>(op))
        error(op) << "expected no inline assembly in the lowered stage";
      return WalkResult::advance();
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
