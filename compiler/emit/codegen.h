// From the LLVM dialect to text, assembly and object code.
#pragma once

#include "runtime/abi/result.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/raw_ostream.h"

#include <string>

namespace qwench {

/// What LLVM generates code for.
struct CodegenTarget {
  std::string triple;
  std::string cpu;      ///< instructions that every CPU of the kind has: "x86-64"
  std::string tuneCpu;  ///< whose timing to schedule for: "znver4"
  std::string features; ///< instructions beyond those: "+avx2,+avx512bf16"
};

enum class CodegenOutput { LLVM, Assembly, Object };

/// Optimises (-O3) and writes a module in the LLVM dialect. Position-independent code. Internal error if LLVM refuses it.
Status generateCode(mlir::ModuleOp module, const CodegenTarget &target, CodegenOutput output,
                    llvm::raw_pwrite_stream &out);

} // namespace qwench
