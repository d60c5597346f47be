// Products of four subgroups together, a warpgroup, which go on beside them: NVIDIA's wgmma. Operands are rows of workgroup
// memory that the unit reads by itself, or for A registers; sums stay in registers. Source: PTX ISA 9.0, "Asynchronous Warpgroup
// Level Matrix Multiply-Accumulate Instructions".
#pragma once

#include "compiler/target/gpu/matrix_unit.h"

namespace qwench::gpu {

/// Rows of bf16 in workgroup memory that are longer than a swizzle: panels of so many inputs, of all rows one after another.
struct StagedPanels {
  mlir::Value memory;
  mlir::Value start;   ///< element at which the first panel starts
  int64_t rows, width; ///< of a panel; a width that StagedRows exchanges pieces of

  StagedRows panel(KernelBuilder &b, int64_t i) const { return {memory, b.add(start, i * rows * width), width}; }
  /// Element, from the start of the memory on, of a piece that begins with element `element` of a row.
  mlir::Value place(KernelBuilder &b, mlir::Value row, mlir::Value element) const;
};

/// Sums of kRows rows by `columns` columns, a value for each product. Of subgroup s are rows 16 s to 16 s + 15, as fragments of
/// mma.sync (Fragments) from left to right. They can be read when the products have been awaited.
class WarpgroupUnit {
public:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;
  using Values = llvm::SmallVector<Value>;

  static constexpr int64_t kRows = 64, kSubgroups = 4;
  /// Where rows in workgroup memory start: at a multiple of what a swizzle repeats after.
  static constexpr int64_t kAlignment = 1024;

  explicit WarpgroupUnit(int64_t columns) : columns(columns) {}

  /// Zeros to begin with, of one sum: others have registers of their own.
  Value zeros(KernelBuilder &b) const;
  /// A group of products: to sums[i] come those of rows kRows * i and following with all columns.
  Values multiply(KernelBuilder &b, const StagedRows &rows, const StagedRows &weights, ValueRange sums) const;

  // The same step by step. Products between begin() and commit() are a group. No value instead of a sum: 0.
  static void begin(KernelBuilder &b);
  static void commit(KernelBuilder &b);
  Values add(KernelBuilder &b, const StagedRows &rows, const StagedRows &weights, ValueRange sums) const;
  /// Those of rows in registers, kWords of hold() for each kInputs inputs, with columns that lie side by side in memory, a row
  /// for each input. The words stay what they are until the products have been awaited.
  Value addHeld(KernelBuilder &b, llvm::ArrayRef<Value> words, const StagedPanels &inputs, Value sum) const;
  static constexpr int64_t kWords = 4; ///< of a lane: fragments of mma.sync, two bf16 each

  /// Fragment `j` of awaited sums.
  Value fragment(KernelBuilder &b, Value sums, int64_t j) const;
  /// All fragments. No read of theirs comes before what stands before.
  Values fragments(KernelBuilder &b, Value sums) const;
  /// Sums of such fragments. What sets their registers stands before, and so before the fence of begin().
  Value sumsOf(KernelBuilder &b, ValueRange fragments) const;
  /// Pairs of bf16 as words in registers of their own, which are set before.
  static Values hold(KernelBuilder &b, ValueRange pairs);

  /// Goes on when at most `later` groups are on their way.
  static void await(KernelBuilder &b, int64_t later);
  /// Behind a barrier, products see what this thread has written to workgroup memory.
  static void publish(KernelBuilder &b);

private:
  int64_t registers(KernelBuilder &b) const { return kRows * columns / (kSubgroups * b.device.subgroupSize); }
  mlir::Type sumsType(KernelBuilder &b) const;

  int64_t columns;
};

} // namespace qwench::gpu
