// The stages of compilation, and the passes between them: the whole way of a program in one place.
#pragma once

#include "compiler/target/target.h"
#include "passes/Pipelines.h"
#include "passes/plan/plan.h"
#include "runtime/abi/result.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"

#include <string>
#include <vector>

namespace qwench {

/// What a module holds. Each but the last can be printed and read back.
enum class Stage { Model, Fused, Planned, Kernels, Lowered };

/// A context with every dialect that a stage uses.
std::unique_ptr<mlir::MLIRContext> createContext();

struct PipelineOptions {
  const Target *target = nullptr;
  ProgramOptions program;
  std::vector<std::string> disabledFusions;
  WeightFormats formats;
  Error::Fault fault =
      Error::Fault::Internal; ///< whose it is when a pass fails: the user's, if the user wrote the module
  std::string printAfter;     ///< a pass's flag, "all", or empty; the module is printed to stderr
};

/// Passes from the stage before to `stage`.
Status buildStage(mlir::OpPassManager &passes, Stage stage, const PipelineOptions &options);

/// Runs the passes between the two stages. What a pass reports is the error, in one line.
Status advance(mlir::ModuleOp module, Stage from, Stage to, const PipelineOptions &options);

/// Reads a module that was printed at some stage, and finds out which.
struct ParsedModule {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  Stage stage = Stage::Model;
};
Result<ParsedModule> readModule(mlir::MLIRContext &context, const std::string &path);

} // namespace qwench
