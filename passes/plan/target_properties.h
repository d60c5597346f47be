// What planning asks of a target. Properties, never identities.
#pragma once

#include "dialects/Qwen.h"

namespace qwench {

struct TargetProperties {
  /// Layout the target wants for a matrix of this element type, [N, K] or a stack of them; `pairHalves` for gate and up.
  qwen::LayoutAttr (*matrixLayout)(mlir::MLIRContext *context, mlir::Type element, bool pairHalves) = nullptr;
  /// Element type of activations that enter a matrix product with weights of this type (f32, or bf16 for a bf16 dot).
  mlir::Type (*matrixInput)(mlir::Type weightElement, bool dot) = nullptr;
  bool bf16Dot = false;               ///< the matrix unit takes pairs of bf16
  int64_t rowPadding = 32;            ///< elements that rows of activations are padded to
  int64_t cacheGranule = 64;          ///< positions that the cache's capacity is a multiple of
  int64_t prefillRows = 512;          ///< most rows of a prefill step
  int64_t decodeRows = 16;            ///< most rows of a decode step
  int64_t threadScratchBytes = 0;     ///< scratch of one thread, besides the arena
};

/// Totals and facts of the source that the emitted `qwench_program` repeats; the driver fills them in before planning.
struct ProgramOptions {
  std::string name;       ///< model name
  int64_t maxContext = 0; ///< positions, > 0
};

} // namespace qwench
