// Fragments of matrix units: which lane holds what, and the product of two fragments. One form for all vendors: operands
// are pieces of rows with the inputs (K) one after another, sums are f32.
#pragma once

#include "compiler/target/gpu/kernel_builder.h"

namespace qwench::gpu {

/// Rows of bf16 in workgroup memory that fragments are loaded from. Eight rows' pieces of the same inputs, which are read at
/// once, lie in different banks: a row is an odd number of pieces, or four, piece p of row r at p ^ (r / 2 % 4), or eight,
/// piece p at p ^ (r % 8).
struct StagedRows {
  mlir::Value memory;
  mlir::Value start; ///< element at which row 0 starts
  int64_t stride;    ///< elements from row to row

  /// Element, from the start on, of a piece of a row.
  mlir::Value place(KernelBuilder &b, mlir::Value row, mlir::Value piece) const;
  /// The rows from `row` on, which is a multiple of 8.
  StagedRows from(KernelBuilder &b, mlir::Value row) const { return {memory, b.add(start, b.mul(row, stride)), stride}; }
};

/// The 32 bits of each pair of bf16.
llvm::SmallVector<mlir::Value> wordsOf(KernelBuilder &b, mlir::ValueRange pairs);

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

  /// The lane's part of kRows rows from `row` on, a multiple of 8, and of kInputs inputs from `input` on.
  llvm::SmallVector<mlir::Value> loadA(KernelBuilder &b, const StagedRows &rows, int64_t row, int64_t input) const;
  /// The same of kRows columns, which memory has as rows: fragments of columns() each.
  llvm::SmallVector<llvm::SmallVector<mlir::Value>> loadB(KernelBuilder &b, const StagedRows &rows, int64_t row,
                                                          int64_t input) const;

  /// Whether loadTransposed() and operandOf() are there.
  bool hasMatrixLoads() const { return unit == MatrixUnit::MmaSync; }
  /// B of kRows columns from `column` on, where memory has a row for each input: those from `input` on.
  llvm::SmallVector<llvm::SmallVector<mlir::Value>> loadTransposed(KernelBuilder &b, const StagedRows &rows, int64_t input,
                                                                   int64_t column) const;
  /// A whose inputs are the columns of C's fragments, kInputs of them, rounded to bf16.
  llvm::SmallVector<mlir::Value> operandOf(KernelBuilder &b, mlir::ValueRange sums) const;

  /// a * b^T + c.
  mlir::Value multiply(KernelBuilder &b, mlir::ValueRange a, mlir::ValueRange bFragment, mlir::Value c) const;

private:
  llvm::SmallVector<mlir::Value> loadVector(KernelBuilder &b, const StagedRows &rows, int64_t row, int64_t input) const;

  MatrixUnit unit;
  mlir::Value row, part; ///< of operands: the lane's index modulo 16, and the quotient
  mlir::Value low, high; ///< of C: the same; for mma.sync remainder and quotient by 4
};

} // namespace qwench::gpu
