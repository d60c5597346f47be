// One function for each op. They may rely on what checkOperands in Evaluator.cpp checked: ints where an op
// reads ints, static extents but the first.
#pragma once

#include "dialects/evaluator/Frame.h"

namespace qwench::evaluator {

Status evaluate(mlir::arith::ConstantOp op, Frame &frame);
Status evaluate(mlir::tensor::ExtractSliceOp op, Frame &frame);

// Model level.
Status evaluate(qwen::ParamOp op, Frame &frame);
Status evaluate(qwen::LayersOp op, Frame &frame);
Status evaluate(qwen::BatchSizeOp op, Frame &frame);
Status evaluate(qwen::EmbeddingOp op, Frame &frame);
Status evaluate(qwen::RopeTableOp op, Frame &frame);
Status evaluate(qwen::RmsNormOp op, Frame &frame);
Status evaluate(qwen::LinearOp op, Frame &frame);
Status evaluate(qwen::SplitHeadsOp op, Frame &frame);
Status evaluate(qwen::MergeHeadsOp op, Frame &frame);
Status evaluate(qwen::RopeOp op, Frame &frame);
Status evaluate(qwen::CacheWriteOp op, Frame &frame);
Status evaluate(qwen::AttentionOp op, Frame &frame);
Status evaluate(qwen::AttentionCombineOp op, Frame &frame);
Status evaluate(qwen::SwigluOp op, Frame &frame);
Status evaluate(qwen::AddOp op, Frame &frame);
Status evaluate(qwen::RouterOp op, Frame &frame);
Status evaluate(qwen::ExpertsOp op, Frame &frame);
Status evaluate(qwen::OutputRowsOp op, Frame &frame);
Status evaluate(qwen::SampleOp op, Frame &frame);

// Fused level.
Status evaluate(qwen::FusedLinearOp op, Frame &frame);
Status evaluate(qwen::QkNormRopeCacheOp op, Frame &frame);
Status evaluate(qwen::FusedRouterOp op, Frame &frame);
Status evaluate(qwen::QuantizeOp op, Frame &frame);
Status evaluate(qwen::DispatchOp op, Frame &frame);
Status evaluate(qwen::RouterDispatchOp op, Frame &frame);
Status evaluate(qwen::GroupedLinearOp op, Frame &frame);
Status evaluate(qwen::CombineOp op, Frame &frame);
Status evaluate(qwen::GroupedLinearCombineOp op, Frame &frame);

/// Fails unless `found` is `expected`; `what` names both.
Status expectCount(mlir::Operation *op, const char *what, int64_t expected, int64_t found);

/// Writes key and value, each T rows of heads * D elements, to the batch's slots and positions of a layer.
Status writeCache(mlir::Operation *op, Frame &frame, int64_t layer, const Tensor &key, const Tensor &value);

} // namespace qwench::evaluator
