// What planning asks of a target. Properties, never identities.
#pragma once

#include "dialects/Qwen.h"

#include <functional>

namespace qwench {

/// How attention cuts the keys of a row: see qwen.attention.
struct AttentionSplit {
  int64_t splits = 1, keys = 64;
};

struct TargetProperties {
  /// Layout of a matrix of this element type, [N, K] or a stack of them; `pairHalves` for gate and up in one.
  std::function<qwen::LayoutAttr(mlir::Type element, bool pairHalves)> matrixLayout;
  /// Layout of a vector (norm weight, bias), and of a table that is only looked up by rows.
  std::function<qwen::LayoutAttr(mlir::MLIRContext *)> rowsLayout;
  /// Element type in which activations enter a product with weights (or a cache) of this type, in steps of at most
  /// `rowBound` rows: few rows are bound by reading the weights, many by arithmetic. Where many rows want quantized
  /// activations, few want the same.
  std::function<mlir::Type(mlir::Type weightElement, int64_t rowBound)> matrixInput;
  /// Element type in which queries meet a quantized cache, which becomes floats for it, in models whose weights are no f32.
  std::function<mlir::Type(mlir::MLIRContext *context, int64_t rowBound)> quantizedCacheInput =
      [](mlir::MLIRContext *context, int64_t) { return mlir::Float32Type::get(context); };
  /// Whether products take weights of this quantized type. Not set: of none, and the weights of quantized checkpoints are
  /// imported as floats.
  std::function<bool(qwen::QuantType weight)> quantizedProducts;
  /// Tile sizes of an op whose rows number at most `rowBound`, in the order of its documented tile space.
  std::function<llvm::SmallVector<int64_t>(mlir::Operation *op, int64_t rowBound)> tile;
  /// Elements from one row of activations to the next, for rows of `width` elements of `bytes` bytes.
  std::function<int64_t(int64_t width, int64_t bytes)> rowStride;
  /// Scratch of one thread (or block), besides the arena.
  int64_t threadScratchBytes = 0;
  /// Whether, in steps of at most `rowBound` rows, a norm in front of linear maps is computed within the maps' tiles, and not once
  /// per row by an op of its own. Not set: no.
  std::function<bool(int64_t rowBound)> normInTiles;
  /// Whether, in steps of at most `rowBound` rows, experts' results are written for each pair of row and expert and combined
  /// by an op of its own, and not within a tile's columns. Not set: no.
  std::function<bool(int64_t rowBound)> combineApart;
  /// Whether a router's logits are computed by a linear map of its own, with the tiles of one.
  bool routerApart = false;
  /// Whether, in steps of at most `rowBound` rows that choose `k` experts each, the choice and the dispatch are one op. Not set: no.
  std::function<bool(int64_t rowBound, int64_t k)> dispatchInRouter;
  /// Whether logits stay in the memory of a device, and an entry @sample draws tokens there.
  bool drawsTokens = false;
  int64_t weightAlignment = 128; ///< bytes; every weight starts at a multiple
  int64_t cacheGranule = 64;     ///< positions; the cache's capacity is a multiple
  /// Runs that attention over contexts of at most `maxContext` positions cuts its keys into, in steps of at most `rowBound`
  /// rows, and the positions of a block that no run divides; 1 run: attention is one op. Not set: 1 run.
  std::function<AttentionSplit(qwen::AttentionOp op, int64_t rowBound, int64_t maxContext)> attentionSplit;
  int64_t prefillRows = 512;     ///< most rows of a prefill step
  int64_t decodeRows = 16;       ///< most rows of a decode step
};

/// Facts of the source that the emitted `qwench_program` repeats.
struct ProgramOptions {
  std::string name;       ///< model name
  int64_t maxContext = 0; ///< positions, > 0
};

} // namespace qwench
