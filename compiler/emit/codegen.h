// From the LLVM dialect to text, assembly and object code.
#pragma once

#include "runtime/abi/result.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace qwench {

/// What LLVM generates code for.
struct CodegenTarget {
  std::string triple;
  std::string cpu;      ///< instructions that every CPU of the kind has: "x86-64"
  std::string tuneCpu;  ///< whose timing to schedule for: "znver4"
  std::string features; ///< instructions beyond those: "+avx2,+avx512bf16"
  std::vector<std::pair<std::string, std::string>> attributes = {}; ///< of every function: LLVM's names and values
  std::vector<std::pair<std::string, uint32_t>> moduleFlags = {};   ///< of the module: LLVM's names and values
  bool unrollLoops = true;                                          ///< whether LLVM may, of its own accord
};

enum class CodegenOutput { LLVM, Assembly, Object };

/// Optimises (-O3) and writes a module in the LLVM dialect: a builtin.module, or a gpu.module in a vendor's dialect besides.
/// Position-independent code. Internal error if LLVM refuses it.
Status generateCode(mlir::Operation *module, const CodegenTarget &target, CodegenOutput output,
                    llvm::raw_pwrite_stream &out);

} // namespace qwench
