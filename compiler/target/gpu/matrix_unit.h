// Fragments of matrix units: which lane holds what, and the product of two fragments. One form for all vendors: operands
// are pieces of rows with the inputs (K) one after another, sums are f32.
#pragma once

#include "compiler/target/gpu/kernel_builder.h"

namespace qwench::gpu {

/// Lanes' places in the fragments of a device's matrix unit: A is 16 rows by 16 inputs, B `columns` columns by 16 inputs,
/// C 16 rows by `columns`. Sources: PTX ISA, "Matrix Fragments for mma.m16n8k16"; AMD CDNA3, RDNA3 and RDNA4 ISA guides.
class Fragments {
public:
  static constexpr int64_t kRows = 16, kInputs = 16;

  explicit Fragments(KernelBuilder &b);

  /// Columns of B and C.
  int64_t columns() const { return unit == MatrixUnit::MmaSync ? 8 : 16; }
  /// Elements of C that a lane holds.
  int64_t sums() const;
  /// Whether both halves of a subgroup hold the operands.
  bool repeatsOperands() const { return unit == MatrixUnit::Wmma11; }
  mlir::Type sumType(KernelBuilder &b) const { return b.floats(sums()); }
  /// Row and column of C that a lane's element `i` is of: of its first, which differ from lane to lane, and from there on.
  mlir::Value laneRow(KernelBuilder &b) const;
  mlir::Value laneColumn(KernelBuilder &b) const { return unit == MatrixUnit::MmaSync ? b.mul(low, 2) : low; }
  int64_t rowOffset(int64_t i) const;
  int64_t columnOffset(int64_t i) const { return unit == MatrixUnit::MmaSync ? i % 2 : 0; }

  /// Rows of C that a lane has elements of, and which of them element `i` is of; as many lanes, one after another, share
  /// the columns of a row.
  int64_t rowsOfLane() const { return unit == MatrixUnit::MmaSync ? 2 : sums(); }
  int64_t rowOfElement(int64_t i) const { return unit == MatrixUnit::MmaSync ? i / 2 : i; }
  int64_t lanesOfRow() const { return unit == MatrixUnit::MmaSync ? 4 : 16; }

  /// The lane's part of the 16 rows (columns() for B) from `at` on: bf16 memory whose rows are `stride` elements apart.
  llvm::SmallVector<mlir::Value> loadA(KernelBuilder &b, mlir::Value memory, mlir::Value at, int64_t stride) const;
  llvm::SmallVector<mlir::Value> loadB(KernelBuilder &b, mlir::Value memory, mlir::Value at, int64_t stride) const;

  /// a * b^T + c.
  mlir::Value multiply(KernelBuilder &b, mlir::ValueRange a, mlir::ValueRange bFragment, mlir::Value c) const;

private:
  mlir::Value piece(KernelBuilder &b, mlir::Value memory, mlir::Value at, int64_t stride, mlir::Value row, mlir::Value input,
                    int64_t count) const;

  MatrixUnit unit;
  mlir::Value low, high; ///< of the lane: index modulo 16 (8) and the quotient; for mma.sync quotient and remainder by 4
};

} // namespace qwench::gpu
