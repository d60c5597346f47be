// The way of queries, keys and values from their projections to attention.
#pragma once

#include "dialects/Qwen.h"

namespace qwench {

/// `projection -> split_heads [-> rms_norm] [-> rope]`, as far as it is there; `projection` is null if no
/// split_heads is.
struct HeadPath {
  mlir::Value projection;
  qwen::SplitHeadsOp split;
  qwen::RmsNormOp norm;
  qwen::RopeOp rope;
};

/// What makes the heads [T, heads, D] of `value`.
HeadPath traceHeads(mlir::Value value);

/// The first attention behind `write` in its block over the same layer of the same cache and batch; null if
/// none.
qwen::AttentionOp attentionBehind(qwen::CacheWriteOp write);

/// Whether `value` is there before `op`: an argument of its block, or the result of an earlier op of it.
bool isDefinedBefore(mlir::Value value, mlir::Operation *op);

} // namespace qwench
