// One op of a real program: a configuration is imported, fused and planned as `qwench compile` does it, and of the planned
// program all but the op is taken away. Tiles, layouts and formats of activations are thus the target's own.
#pragma once

#include "compiler/target/target.h"
#include "runtime/abi/result.h"
#include "runtime/core/metadata.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <string>
#include <vector>

namespace qwench::kernels {

/// Where an op is found.
struct OpChoice {
  std::string config;         ///< path of a config.json
  std::string dtype = "bf16"; ///< of weights, as --dtype takes it
  std::string kvDtype;        ///< of the cache, as --kv-dtype takes it; empty: as dtype
  bool decode = false;        ///< which entry
  std::vector<std::string> ops; ///< mnemonics; of each the first op counts
  std::string weight = {};      ///< end of the name of a matrix that the first op must read; empty: any
  int64_t layers = 0;           ///< 0: as many as the configuration has
};

/// Arena offset of a buffer, and its bytes from row to row.
struct Place {
  int64_t offset = 0, stride = 0;
};

/// A planned program that does nothing but the chosen ops, `calls` times in a step: in each layer, or once where they stand
/// outside of the layers.
struct PlannedOp {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  RandomWeights weights; ///< of what the ops read
  int64_t calls = 1;
  // Of one call:
  int64_t weightBytes = 0;     ///< that a row reads of matrices and vectors
  int64_t heldBytes = 0;       ///< of these weights in memory: all experts, padding included
  int64_t rowBytes = 0;        ///< of a row of the first op's operands and results, and of a table that it looks up
  int64_t flops = 0;           ///< of a row, in products with weights
  int64_t attentionFlops = 0;  ///< for each pair of query and key
  int64_t cacheBytes = 0;      ///< of a position
  int64_t experts = 0, topK = 0; ///< 0 if there are none
  const char *unit = "f32";      ///< loop of qwench-limits beside which the arithmetic is set
  std::vector<Place> operands;   ///< of the first op, in order; {-1, 0} for those that are no buffers
};

/// `context` has all dialects.
Result<PlannedOp> planOp(mlir::MLIRContext &context, const Target &target, const OpChoice &choice);

} // namespace qwench::kernels
