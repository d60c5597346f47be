// Building functions over a step: index arithmetic, loops, the step's members, and the operands of planned ops, in arith,
// scf and memref. Backends add what their machine computes with.
//
// All memory is seen as flat buffers; rows are found by their stride.
#pragma once

#include "dialects/Qwen.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace qwench {

/// Rows of activations in memory.
struct Rows {
  mlir::Value memory;      ///< memref<?xT>; of bytes where elements are quantized
  int64_t stride = 0;      ///< elements (or bytes) from row to row
  int64_t width = 0;       ///< elements of a row, all inner dimensions
  mlir::Type element;
};

/// A packed weight: one instance, in the weight section.
struct PackedWeight {
  mlir::Value memory;      ///< memref<?xT>, starts at the instance; of bytes where elements are quantized
  qwen::LayoutAttr layout;
  mlir::RankedTensorType type;

  int64_t outputs() const { return type.getDimSize(type.getRank() - 2); }
  int64_t inputs() const { return type.getDimSize(type.getRank() - 1); }
  int64_t matrixElements() const { return layout.matrixElements(outputs(), inputs()); }
  /// Null where elements are not quantized.
  qwen::QuantType quant() const { return mlir::dyn_cast<qwen::QuantType>(type.getElementType()); }
  /// Elements of `memory` from one panel to the next, and from one matrix of a stack to the next.
  int64_t panelStride() const { return layout.panelBytes(inputs(), type.getElementType()) / unitBytes(); }
  int64_t matrixStride() const { return layout.matrixBytes(outputs(), inputs(), type.getElementType()) / unitBytes(); }

private:
  int64_t unitBytes() const { return quant() ? 1 : type.getElementTypeBitWidth() / 8; }
};

class StepBuilder : public mlir::ImplicitLocOpBuilder {
public:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;
  using Yield = llvm::SmallVector<mlir::Value>;

  /// The function's own parameters.
  Value batch, layer, instance;
  mlir::ModuleOp module;
  /// Memory space of a step's memory; null for the default one.
  mlir::Attribute memorySpace;

  StepBuilder(mlir::Location loc, mlir::MLIRContext *context) : ImplicitLocOpBuilder(loc, context) {}

  // Index arithmetic; constants fold.
  Value index(int64_t value) { return mlir::arith::ConstantIndexOp::create(*this, value); }
  Value add(Value a, Value b) { return createOrFold<mlir::arith::AddIOp>(a, b); }
  Value add(Value a, int64_t b) { return add(a, index(b)); }
  Value sub(Value a, Value b) { return createOrFold<mlir::arith::SubIOp>(a, b); }
  Value mul(Value a, Value b) { return createOrFold<mlir::arith::MulIOp>(a, b); }
  Value mul(Value a, int64_t b) { return mul(a, index(b)); }
  Value div(Value a, int64_t b) { return createOrFold<mlir::arith::DivUIOp>(a, index(b)); }
  Value rem(Value a, int64_t b) { return createOrFold<mlir::arith::RemUIOp>(a, index(b)); }
  Value ceilDiv(Value a, int64_t b) { return div(add(a, b - 1), b); }
  Value min(Value a, Value b) { return createOrFold<mlir::arith::MinSIOp>(a, b); }
  Value max(Value a, Value b) { return createOrFold<mlir::arith::MaxSIOp>(a, b); }
  Value less(Value a, Value b) {
    return createOrFold<mlir::arith::CmpIOp>(mlir::arith::CmpIPredicate::slt, a, b);
  }
  Value toIndex(Value integer) { return mlir::arith::IndexCastOp::create(*this, getIndexType(), integer); }
  Value toI32(Value idx) { return mlir::arith::IndexCastOp::create(*this, getI32Type(), idx); }

  Value loadScalar(Value memory, Value at) { return mlir::memref::LoadOp::create(*this, memory, ValueRange{at}); }
  void storeScalar(Value scalar, Value memory, Value at) {
    mlir::memref::StoreOp::create(*this, scalar, memory, ValueRange{at});
  }

  // Control flow.
  void loop(Value begin, Value end, int64_t step, llvm::function_ref<void(Value)> body);
  void loop(int64_t end, int64_t step, llvm::function_ref<void(Value)> body) { loop(index(0), index(end), step, body); }
  Yield loop(Value begin, Value end, int64_t step, ValueRange inits,
             llvm::function_ref<Yield(Value, ValueRange)> body);
  void when(Value condition, llvm::function_ref<void()> body);
  void choose(Value condition, llvm::function_ref<void()> yes, llvm::function_ref<void()> no);
  /// What `yes` or `no` gives: values of these types.
  Yield choose(Value condition, mlir::TypeRange types, llvm::function_ref<Yield()> yes, llvm::function_ref<Yield()> no);

  // The step.
  mlir::MemRefType flat(mlir::Type element);
  Value field(qwen::StepField which, mlir::Type type) { return qwen::StepFieldOp::create(*this, type, batch, which); }
  Value rowCount() { return field(qwen::StepField::Rows, getIndexType()); }
  /// An i32 list of the step (tokens, positions, ...) at `row`, as index.
  Value item(qwen::StepField list, Value row);
  /// Bytes of flat memory seen as elements.
  Value view(Value bytes, Value byteOffset, mlir::Type element);

  // Operands of planned ops.
  Rows rows(Value plannedBuffer);
  PackedWeight packedWeight(Value param);
  /// Number of rows of a planned buffer.
  Value rowsOf(Value plannedBuffer);

  /// [begin, end) of the rows of this tile, `perTile` rows each, `count` in all.
  std::pair<Value, Value> tileRange(Value index, Value count, int64_t perTile);

  /// Where the cache keeps the keys of a slot and head of this layer, and where the values: first elements, or bytes where the cache
  /// is quantized.
  std::pair<Value, Value> cachePlanes(qwen::CacheType type, Value slot, Value head);

  /// A constant table of `symbols`, as flat memory; tables of the same name are one.
  Value constantTable(mlir::Operation *symbols, llvm::StringRef name, llvm::ArrayRef<float> values);

private:
  /// An index value of the planned function as this function's parameter or constant.
  Value planned(Value index);
};

/// Tile sizes and dests of a planned op.
llvm::ArrayRef<int64_t> tileSizes(mlir::Operation *op);
mlir::Value dest(mlir::Operation *op, unsigned i = 0);

} // namespace qwench
