// The pipelines, as short visible lists, and the names that switch their fusions off.
#pragma once

#include "runtime/abi/result.h"

#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <string>

namespace qwench {

/// Names of the fusions in the order they run: the flags of their passes, and what `--disable-fusion` takes.
llvm::ArrayRef<llvm::StringLiteral> fusionNames();

/// Formats of weights, as the options of quantize-weights spell them.
struct WeightFormats {
  std::string dtype, dtypeFor;
  int64_t groupSize = 0;
};

/// Model stage to fused stage, with the checks of both. `passes` must be anchored on builtin.module. Weights are quantized
/// in front of the fusions, so that those see which weights can become one. Fails if `disabled` holds a name that
/// fusionNames() does not.
Status buildFusePipeline(mlir::OpPassManager &passes, llvm::ArrayRef<std::string> disabled,
                         const WeightFormats &formats = {});

/// Registers every pass, and the pipelines: `--qwen-fuse="disable=NAME,..."`.
void registerQwenchPasses();

} // namespace qwench
