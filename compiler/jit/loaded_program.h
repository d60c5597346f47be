// Emitted code in this process: what tests and benchmarks of single kernels call.
#pragma once

#include "compiler/target/target.h"
#include "runtime/abi/program.h"
#include "runtime/abi/result.h"

#include "llvm/ExecutionEngine/Orc/LLJIT.h"

#include <memory>

namespace qwench {

class LoadedProgram {
public:
  /// What stands for qwench_device_launch (runtime/abi/program.h).
  using Launch = decltype(qwench_device_launch);

  /// Lowers a planned module with the entries @prefill and @decode for `target`, and loads the object; the module is spent. Its
  /// context has all dialects. Code for a CPU calls the process's own qwench_team functions, a GPU's host code `launch`. An error
  /// says which stage failed.
  static Result<std::unique_ptr<LoadedProgram>> load(mlir::ModuleOp planned, const Target &target, Launch *launch = nullptr);

  /// The caller checks its CPU features before it calls an entry.
  const QwenchProgram &program() const { return *description; }

private:
  std::unique_ptr<llvm::orc::LLJIT> jit;
  const QwenchProgram *description = nullptr;
};

} // namespace qwench
