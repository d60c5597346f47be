// Products of four subgroups together, a warpgroup, which go on beside them: NVIDIA's wgmma. Operands are rows of workgroup
// memory that the unit reads by itself, sums stay in registers. Source: PTX ISA 9.0, "Asynchronous Warpgroup Level Matrix
// Multiply-Accumulate Instructions".
#pragma once

#include "compiler/target/gpu/matrix_unit.h"

namespace qwench::gpu {

/// Sums of kRows rows by `columns` columns, a value for each product. Of subgroup s are rows 16 s to 16 s + 15, as fragments of
/// mma.sync (Fragments) from left to right. They can be read when the products have been awaited.
class WarpgroupUnit {
public:
  static constexpr int64_t kRows = 64, kSubgroups = 4;
  /// Where rows in workgroup memory start: at a multiple of what a swizzle repeats after.
  static constexpr int64_t kAlignment = 1024;

  explicit WarpgroupUnit(int64_t columns) : columns(columns) {}

  /// Zeros to begin with, of one sum: others have registers of their own.
  mlir::Value zeros(KernelBuilder &b) const;
  /// Begins a group of products: to sums[i] come those of rows kRows * i and following with all columns.
  llvm::SmallVector<mlir::Value> multiply(KernelBuilder &b, const StagedRows &rows, const StagedRows &weights,
                                          mlir::ValueRange sums) const;
  /// Fragment `j` of awaited sums.
  mlir::Value fragment(KernelBuilder &b, mlir::Value sums, int64_t j) const;

  /// Goes on when at most `later` groups are on their way.
  static void await(KernelBuilder &b, int64_t later);
  /// Behind a barrier, products see what this thread has written to workgroup memory.
  static void publish(KernelBuilder &b);

private:
  mlir::Type sumsType(KernelBuilder &b) const;

  int64_t columns;
};

} // namespace qwench::gpu
