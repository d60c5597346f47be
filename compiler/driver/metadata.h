// The metadata section (docs/bundle.md): what a compiled model says about itself.
#pragma once

#include "compiler/driver/model_source.h"
#include "runtime/abi/result.h"

#include "mlir/IR/BuiltinOps.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace qwench {

struct MetadataOptions {
  std::string target, cpu;            ///< as given on the command line
  std::vector<std::string> gpus;      ///< likewise
  std::string schedule;               ///< likewise, of the GPUs
  std::string matrixUnit;             ///< likewise
  std::string dependentLaunch;        ///< likewise
  std::optional<uint64_t> randomSeed; ///< of --random-weights
  std::string externalWeights;        ///< file name beside the executable; empty: none
};

/// JSON, the same text for the same input. `planned` places the weights that --random-weights fills in.
Result<std::string> makeMetadata(const ModelSource &source, const Extras &extras, mlir::ModuleOp planned,
                                 const MetadataOptions &options);

} // namespace qwench
