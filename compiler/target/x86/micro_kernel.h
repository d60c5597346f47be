// The one inner loop of every product: linear maps, grouped linear maps, attention scores and attention values.
#pragma once

#include "compiler/target/x86/kernel_builder.h"

namespace qwench::x86 {

/// Operands of C[rows, 32] (+)= A[rows, K] B[K, 32], B in panels of steps.
struct Product {
  mlir::Value a;          ///< memref<?xT>: activations
  mlir::Value rowOffsets; ///< memref<?xi64>: where row i of A starts, in elements of `a`
  mlir::Value b;          ///< memref<?xT>: packed weights or cache
  mlir::Value bStart;     ///< elements of `b` before the first step
  int64_t stepStride;     ///< elements of `b` from one step of K to the next
  int64_t blockStride;    ///< elements of `b` from the first 16 columns of a step to the other 16
  int64_t depth;          ///< K of a step: 2 for bf16, 1 for f32
  int64_t steps;          ///< steps of K, a multiple of 4
  mlir::Value c;          ///< memref<?xf32>
  int64_t cStride;        ///< elements from row to row of C
  bool accumulate;        ///< add to C instead of overwriting it
  bool stream = false;    ///< B comes from memory: few rows fetch what follows ahead of use
  mlir::Value fewerSteps = {}; ///< of micro-kernels, where only the first columns of A and rows of B count; a multiple of 4
  int64_t nextPanel = 0;  ///< bytes to the next panel: a block of many rows asks for its codes while it multiplies with this one
};

/// Rows of the largest micro-kernel there is on any machine.
constexpr int64_t kMaxRowBlock = 12;

/// Rows of the micro-kernels for a machine, largest first: accumulators of a row, `sets` of 32 columns, fill three quarters of
/// the registers; weights, activations and scales have the rest. With AVX-512 and one set 12 rows by 2 vectors fill 24 of 32,
/// with AVX2 3 rows by 4 vectors 12 of 16. Latency 4 to 5 at one product per cycle needs at least 5 accumulators.
llvm::SmallVector<int64_t> rowBlocks(const Machine &machine, int64_t sets = 1);

/// Independent accumulators of one sum in a micro-kernel of so many rows, 1 to 4: few rows need several to hide the latency
/// of a product, as far as registers go.
int64_t accumulatorsPerSum(const Machine &machine, int64_t rows, int64_t sets = 1);

/// Asks for what is `ahead` bytes behind the `bytes` bytes from element `at` on, into that level of the cache; for nothing if
/// `ahead` is 0.
void prefetch(KernelBuilder &b, mlir::Value memory, mlir::Value at, int64_t bytes, int64_t ahead, int cacheLevel = 1);
/// Machine::fetchAhead bytes behind them.
void prefetch(KernelBuilder &b, mlir::Value memory, mlir::Value at, int64_t bytes);

/// Covers rows [begin, end) with blocks of these sizes, largest first and the others powers of two that sum up to every
/// smaller number, and calls body(first row, rows of the block).
void forRowBlocks(KernelBuilder &b, mlir::Value begin, mlir::Value end, llvm::ArrayRef<int64_t> blocks,
                  llvm::function_ref<void(mlir::Value row, int64_t rows)> body);
inline void forRowBlocks(KernelBuilder &b, mlir::Value begin, mlir::Value end,
                         llvm::function_ref<void(mlir::Value row, int64_t rows)> body) {
  forRowBlocks(b, begin, end, rowBlocks(b.machine), body);
}

/// Emits C[row .. row + rows, column of C `cStart`] for rows of A listed from `row` on. `cStart` is in elements of `c`.
void emitProduct(KernelBuilder &b, const Product &product, mlir::Value row, int64_t rows, mlir::Value cStart);

} // namespace qwench::x86
