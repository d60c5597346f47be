// Where the tensors of a function go: storages of one arena, and the views of them that values are.
#pragma once

#include "passes/plan/target_properties.h"

#include "llvm/ADT/DenseMap.h"

#include <vector>

namespace qwench {

/// Bytes from one element of a row to the next: 1 where a row of quantized elements is a run of bytes.
int64_t elementBytes(mlir::Type element);

/// The weights (or cache) element type that `use` multiplies its value with; null if it is no matrix product's input.
mlir::Type productElement(mlir::OpOperand &use);

/// How many rows a value has: a fixed number, or a multiple of the step's rows or output rows.
struct RowCount {
  enum Base { Fixed, Rows, Outputs } base = Rows;
  int64_t factor = 1;

  int64_t bound(int64_t rowBound) const { return base == Fixed ? factor : factor * rowBound; }
};

/// A piece of the arena, alive from one op of its function to another.
struct Storage {
  int64_t bytes = 0;
  int64_t first = 0, last = 0; ///< indices of ops in program order
  int64_t offset = -1;         ///< bytes from the start of the arena; -1 before assignment
};

/// A tensor value as a strided view of a storage.
struct View {
  int storage = -1;
  RowCount rows;
  int64_t rowStride = 0;     ///< elements, or bytes of quantized rows
  int64_t firstElement = 0;  ///< within the row
  mlir::Type element;
};

/// The storages and views of one function. Building it fails with a diagnostic on an op that planning does not know.
class FunctionStorage {
public:
  FunctionStorage(const TargetProperties &properties, int64_t rowBound) : properties(properties), rowBound(rowBound) {}

  /// Declares a function argument (or another function's value) that lives in this storage throughout.
  void pin(mlir::Value value, const View &view, int64_t offset, int64_t bytes);

  /// Finds storages for every tensor of the function's body.
  mlir::LogicalResult analyze(mlir::func::FuncOp function);

  /// Assigns offsets from `base` on to all that have none; storages alive at `barrier` (an op index, or -1) come first.
  /// Returns the end of what is alive at the barrier and the end of all.
  std::pair<int64_t, int64_t> assign(int64_t base, int64_t barrier = -1);

  const View *lookup(mlir::Value value) const;
  const Storage &storage(int index) const { return storages[index]; }
  int64_t indexOf(mlir::Operation *op) const { return order.lookup(op); }

private:
  mlir::LogicalResult addOp(mlir::Operation *op);
  mlir::LogicalResult addView(mlir::Operation *op, mlir::Value source, mlir::Value result, int64_t firstElement);
  void addResult(mlir::Operation *op, mlir::Value result, RowCount rows);
  mlir::Value reusable(mlir::Operation *op) const;
  mlir::Type elementOf(mlir::Value value) const;

  const TargetProperties &properties;
  int64_t rowBound;
  std::vector<Storage> storages;
  llvm::DenseMap<mlir::Value, View> views;
  llvm::DenseMap<mlir::Operation *, int64_t> order;
};

} // namespace qwench
