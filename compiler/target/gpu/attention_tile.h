// A tile of attention on matrix units: up to 64 query vectors (rows by the heads of a key/value head's group), 16 to a subgroup,
// which pass over blocks of 64 keys. What its two forms, products of a subgroup and products of four together, have in common:
// whose rows are whose, which keys they see, and the streaming softmax in fragments.
#pragma once

#include "compiler/target/gpu/cache.h"
#include "compiler/target/gpu/matrix_unit.h"

#include <optional>

namespace qwench::gpu {

class AttentionTile {
public:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;
  using Values = llvm::SmallVector<Value>;

  static constexpr int64_t kQueries = 64, kKeyBlock = 64, kMaxDim = 128;

  AttentionTile(KernelBuilder &b, qwen::AttentionOp op);

  /// Runs `emit` for each run of the tile's rows that share a slot.
  void forRuns(KernelBuilder &b, qwen::AttentionOp op, llvm::function_ref<void()> emit);

protected:
  struct Maxima {
    Values maxima, sums; ///< of the lane's rows
  };

  /// Positions of the lane's rows, and what holds before the first key.
  Maxima beginRows(KernelBuilder &b);
  /// Keys that the run sees: from a multiple of kKeyBlock on.
  std::pair<Value, Value> keysOfRun(KernelBuilder &b) const;
  /// The pieces of 64 rows of `dim` elements, shared out among the threads.
  void forPieces(KernelBuilder &b, llvm::function_ref<void(Value row, Value element)> body) const;
  /// The queries as bf16: place(vector, element) is where a piece goes.
  void stageQueries(KernelBuilder &b, Value memory, llvm::function_ref<Value(Value vector, Value element)> place) const;
  /// Scores, fragments from left to right, become weights, relative to the maxima so far, which the sums follow. What products of
  /// the blocks before are to be scaled by, row by row. A row that no key of its first blocks is for has weights of 1 there, until
  /// the first key that is makes zeros of what they gave.
  Values softmax(KernelBuilder &b, Value base, Values &scores, Maxima &state) const;
  Value scaleRows(KernelBuilder &b, Value fragment, llvm::ArrayRef<Value> factors) const;
  /// To `memory`, as bf16: the subgroup's rows, fragments side by side.
  void stageFragments(KernelBuilder &b, llvm::ArrayRef<Value> sums, Value memory, int64_t rowStride) const;
  /// Products by the sums of their weights go out through `memory`, which nobody reads behind a barrier.
  void finish(KernelBuilder &b, llvm::ArrayRef<Value> products, llvm::ArrayRef<Value> sums, Value memory) const;

  qwen::CacheType type;
  Fragments fragments;
  int64_t dim;
  int64_t stride; ///< elements of a staged row of `dim` elements, for fragments
  Value first, last; ///< rows of the run: first .. last - 1
  CacheHead cache;   ///< of their slot

private:
  Value queryRow(KernelBuilder &b, Value vector) const { return b.min(b.add(first, b.div(vector, group)), b.sub(last, b.index(1))); }
  /// Element of the row of queries, or results, that element `element` of a vector is.
  Value column(KernelBuilder &b, Value vector, Value element) const {
    return b.add(b.mul(b.add(b.mul(head, group), b.rem(vector, group)), dim), element);
  }
  Value rowOfLane(KernelBuilder &b, int64_t i) const;

  std::optional<int64_t> window;
  double scale;
  Buffer query, out;
  int64_t group;
  Value head;    ///< key/value head of the tile
  Values limits; ///< positions of the lane's rows less the lane's first column, i32
};

} // namespace qwench::gpu
