// The constants by which a compiled model describes itself: `qwench_program` of runtime/abi/program.h and what it points to.
#pragma once

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

#include <functional>
#include <string>

namespace qwench {

/// Emits a constant struct member by member, as C lays it out.
class StructWriter {
public:
  explicit StructWriter(mlir::ModuleOp module);

  void number(unsigned bits, uint64_t value);
  /// The address of a NUL-terminated text; `name` makes its symbol unique.
  void text(llvm::StringRef name, llvm::StringRef value);
  void address(llvm::StringRef symbol);
  void null();
  /// Emits the global, after whatever it points to.
  void finish(llvm::StringRef symbol, bool external);

private:
  using Emit = std::function<mlir::Value(mlir::ImplicitLocOpBuilder &)>;

  mlir::ImplicitLocOpBuilder b;
  mlir::ModuleOp module;
  llvm::SmallVector<std::pair<mlir::Type, Emit>> members;
};

/// Emits a private constant of bytes, `alignment` aligned; `symbol` names it.
void emitBytes(mlir::ModuleOp module, llvm::StringRef symbol, llvm::StringRef bytes, unsigned alignment);

/// What a backend adds to the facts of a planned module.
struct ProgramFacts {
  std::string target, cpu, features; ///< as in QwenchProgram
  std::string device;                ///< symbol of a QwenchDeviceProgram; empty: none
};

/// Fails, and says what is missing, unless a module has what emitProgramConstant() reads.
llvm::LogicalResult checkProgramAttributes(mlir::ModuleOp module);

/// Emits `qwench_program` from the module's qwen.plan, qwen.program and qwen.plan_hash; the entry points are the functions
/// qwench_step_prefill and qwench_step_decode.
void emitProgramConstant(mlir::ModuleOp module, const ProgramFacts &facts);

} // namespace qwench
