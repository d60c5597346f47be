// What the fusions share.
#pragma once

#include "passes/Passes.h"

#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace qwench {

/// Applies `Patterns` to a module until none matches; ops whose results nobody reads any more go away with
/// it.
template <typename... Patterns> mlir::LogicalResult applyFusion(mlir::ModuleOp module) {
  mlir::RewritePatternSet patterns(module.getContext());
  patterns.add<Patterns...>(module.getContext());
  return mlir::applyPatternsGreedily(module, std::move(patterns));
}

/// The op of type `Op` that makes `value`; null if another op makes it, or if it works on buffers.
template <typename Op> Op tensorProducer(mlir::Value value) {
  auto op = value ? value.getDefiningOp<Op>() : Op();
  return op && !op.hasBufferSemantics() ? op : Op();
}

/// `like` with last extent `extent`.
inline mlir::RankedTensorType withLastExtent(mlir::Type like, int64_t extent) {
  auto type = mlir::cast<mlir::RankedTensorType>(like);
  llvm::SmallVector<int64_t> shape(type.getShape());
  shape.back() = extent;
  return mlir::RankedTensorType::get(shape, type.getElementType());
}

} // namespace qwench
