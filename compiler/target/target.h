// What a hardware backend is: at most eight verbs. Everything before it is shared.
//
// To bring up a new one, implement Target, add it to the list in targets.cpp, and run the golden tests: they say what is
// wrong. Nothing asks a target who it is; passes ask for properties (passes/plan/target_properties.h).
#pragma once

#include "passes/plan/target_properties.h"
#include "runtime/abi/result.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/raw_ostream.h"

#include <memory>
#include <string>
#include <vector>

namespace qwench {

/// What the driver passes on to a target from its command line.
struct TargetOptions {
  std::string cpu = "native";        ///< LLVM's name of the CPU, or "native"
  std::vector<std::string> gpus;     ///< GPU architectures, best one chosen at start
  std::string schedule = "auto";     ///< of a GPU: how a step's launches run
  std::string matrixUnit = "auto";   ///< of a GPU: what multiplies tiles of many rows
  std::string dependentLaunch = "auto"; ///< of a GPU: whether launches begin before those before have ended
};

/// How far emission goes: rungs of `--emit` behind the target's lowering.
/// The last two are device code for one GPU architecture alone.
enum class EmitKind { LLVM, Assembly, Object, Ptx, Hsaco };

class Target {
public:
  virtual ~Target() = default;

  /// As `--target` names it: "x86-64".
  virtual llvm::StringRef name() const = 0;

  /// Layouts, element types and tile sizes that planning asks about.
  virtual TargetProperties properties() const = 0;

  /// An error that says what of a fused program this target cannot do; success otherwise.
  virtual Status supports(mlir::ModuleOp fused) const = 0;

  /// Planned stage to kernels stage: every tile program a function in vector, scf, memref and arith; qwen.launch calls.
  virtual void addKernelPasses(mlir::OpPassManager &passes) const = 0;

  /// Kernels stage to the LLVM dialect: the schedule, the entry points, and the `qwench_program` constant.
  virtual void addLoweringPasses(mlir::OpPassManager &passes) const = 0;

  /// Writes LLVM IR text, assembly or an object file of a lowered module.
  virtual Status emit(mlir::ModuleOp lowered, EmitKind kind, llvm::raw_pwrite_stream &out) const = 0;
};

struct TargetEntry {
  llvm::StringLiteral name;
  llvm::StringLiteral summary;
  Result<std::unique_ptr<Target>> (*create)(const TargetOptions &options);
};

/// All targets, in the order `--help` shows them.
llvm::ArrayRef<TargetEntry> targets();

/// The target of that name, or an error that lists those there are.
Result<std::unique_ptr<Target>> createTarget(llvm::StringRef name, const TargetOptions &options);

} // namespace qwench
