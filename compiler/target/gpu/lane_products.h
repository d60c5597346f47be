// Products of few rows of activations on a matrix unit: every lane has read 16 bytes of a few rows of weights, as they lie in
// memory.
//
// In products of many rows a fragment's columns are rows of activations. One row would leave all columns but one idle; so the inputs
// are cut into groups, of four pieces each, and a column is a row of activations at the pieces of one group:
//   A   row    (group, panel)   the weights of a panel (two rows of it at a time) at the pieces of a group
//   B   column (row, group)     a row of activations at the pieces of a group
//   C   the sums wanted are those where the groups are the same
// With `rows` rows there are as many panels and 8 / rows groups. The unit has nothing else to do; threads are spared a conversion
// and a multiplication for each weight. Which four inputs a lane has of a fragment's 16 does not matter as long as both have the same.
#pragma once

#include "compiler/target/gpu/matrix_unit.h"

namespace qwench::gpu {

class LaneProducts {
public:
  using Value = mlir::Value;
  using Values = llvm::SmallVector<Value>;
  /// Rows of weights that a fragment takes of a panel, and lanes, one after another, that have the pieces of a group.
  static constexpr int64_t kWeightRows = 2, kLanesOfGroup = 4;

  /// Whether a device's unit takes fragments so.
  static bool has(const Device &device) { return device.matrix == MatrixUnit::MmaSync || device.matrix == MatrixUnit::Wgmma; }

  /// `rows`: 1, 2 or 4.
  LaneProducts(KernelBuilder &b, int64_t rows) : fragments(b), rows(rows), groups(kColumns / rows) {}

  int64_t panels() const { return rows; }
  /// Pieces of a row that the lanes have together.
  int64_t pieces() const { return groups * kLanesOfGroup; }
  // What a lane reads: of the panels and pieces, and of the rows and pieces.
  Value panel(KernelBuilder &b) const { return b.rem(quad(b), rows); }
  Value weightPiece(KernelBuilder &b) const { return piece(b, b.div(quad(b), rows)); }
  Value row(KernelBuilder &b) const { return b.div(quad(b), groups); }
  Value inputPiece(KernelBuilder &b) const { return piece(b, b.rem(quad(b), groups)); }

  /// Of kWeightRows rows: a vector of f32.
  Value zeros(KernelBuilder &b) const { return b.splat(b.f32(0), fragments.sums()); }
  /// Lanes that went different ways come together: to be said before multiply(), which takes all of them at once.
  static void converge(KernelBuilder &b);
  /// `sums` and the products of kWeightRows rows of weights with the inputs: each the lane's piece, a vector of kPiece bf16.
  Value multiply(KernelBuilder &b, mlir::ValueRange weights, Value inputs, Value sums) const;
  /// What the lane's sums are to be multiplied by, where each of its rows of weights has a factor for the lane's group.
  Value factors(KernelBuilder &b, mlir::ValueRange ofRows) const;

  /// f32 of each of the lane's kWeightRows rows of weights, all groups together, with the row of activations resultRow().
  Values results(KernelBuilder &b, Value sums) const;
  Value resultRow(KernelBuilder &b) const { return b.div(b.rem(b.lane, kLanesOfGroup), kLanesOfGroup / rows); }
  /// Several lanes have the same results: whether this is the first of them.
  Value isFirst(KernelBuilder &b) const;

private:
  static constexpr int64_t kColumns = 8;

  Value quad(KernelBuilder &b) const { return b.div(b.lane, kLanesOfGroup); }
  Value piece(KernelBuilder &b, Value group) const { return b.add(b.mul(group, kLanesOfGroup), b.rem(b.lane, kLanesOfGroup)); }

  Fragments fragments;
  int64_t rows, groups;
};

} // namespace qwench::gpu
