// Building kernels: arithmetic, loops, and the memory of a step, in arith, scf, vector and memref.
//
// A kernel is a function of (batch, [layer, instance,] scratch, tile). All memory is seen as flat buffers; rows are found
// by their stride. Widths are padded so that whole vectors of 16 f32 can always be read and written.
#pragma once

#include "dialects/Qwen.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace qwench::x86 {

/// f32 lanes of a vector register; wider or narrower machines split or pair them.
constexpr int64_t kLanes = 16;
/// Outputs in a weight panel: two vectors of accumulators for each row of a micro-kernel.
constexpr int64_t kPanel = 32;

/// Rows of activations in memory.
struct Rows {
  mlir::Value memory;      ///< memref<?xT>
  int64_t stride = 0;      ///< elements from row to row
  int64_t width = 0;       ///< elements of a row, all inner dimensions
  mlir::Type element;
};

/// A packed weight: one instance, in the weight section.
struct Weight {
  mlir::Value memory;      ///< memref<?xT>, starts at the instance
  qwen::LayoutAttr layout;
  mlir::RankedTensorType type;

  int64_t outputs() const { return type.getDimSize(type.getRank() - 2); }
  int64_t inputs() const { return type.getDimSize(type.getRank() - 1); }
  /// Panels of one matrix, padding included.
  int64_t panels() const { return layout.paddedOutputs(outputs()) / kPanel; }
  int64_t panelElements() const { return kPanel * layout.paddedInputs(inputs()); }
  int64_t matrixElements() const { return layout.matrixElements(outputs(), inputs()); }
};

class KernelBuilder : public mlir::ImplicitLocOpBuilder {
public:
  using Value = mlir::Value;
  using ValueRange = mlir::ValueRange;
  using Yield = llvm::SmallVector<mlir::Value>;

  /// The kernel's own parameters.
  Value batch, layer, instance, scratch, tile;
  /// Whether the CPU has a dot product of bf16 pairs.
  bool bf16Dot = false;
  mlir::ModuleOp module;

  KernelBuilder(mlir::Location loc, mlir::MLIRContext *context) : ImplicitLocOpBuilder(loc, context) {}

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

  // Floats, scalars and vectors of kLanes.
  mlir::VectorType lanes(mlir::Type element) { return mlir::VectorType::get({kLanes}, element); }
  Value f32(float value) { return mlir::arith::ConstantOp::create(*this, getF32FloatAttr(value)); }
  Value splat(float value) { return splat(f32(value)); }
  Value splat(Value scalar) { return mlir::vector::BroadcastOp::create(*this, lanes(scalar.getType()), scalar); }
  Value addf(Value a, Value b) { return mlir::arith::AddFOp::create(*this, a, b); }
  Value subf(Value a, Value b) { return mlir::arith::SubFOp::create(*this, a, b); }
  Value mulf(Value a, Value b) { return mlir::arith::MulFOp::create(*this, a, b); }
  Value divf(Value a, Value b) { return mlir::arith::DivFOp::create(*this, a, b); }
  Value maxf(Value a, Value b) { return mlir::arith::MaxNumFOp::create(*this, a, b); }
  Value fma(Value a, Value b, Value c) { return mlir::vector::FMAOp::create(*this, a, b, c); }
  Value exp(Value vector) { return mlir::math::ExpOp::create(*this, vector); }
  Value sum(Value vector) {
    return mlir::vector::ReductionOp::create(*this, mlir::vector::CombiningKind::ADD, vector,
                                             mlir::arith::FastMathFlags::reassoc);
  }
  Value largest(Value vector) {
    return mlir::vector::ReductionOp::create(*this, mlir::vector::CombiningKind::MAXNUMF, vector);
  }
  /// silu(gate) * up.
  Value swiglu(Value gate, Value up);

  // Memory: loads give f32 vectors, stores round to the buffer's element type (nearest even).
  Value load(Value memory, Value at);
  void store(Value vector, Value memory, Value at);
  /// An f32 vector in a narrower type. A CPU without conversions to bf16 rounds in integers: LLVM would call a function
  /// of compiler-rt for each lane.
  Value round(Value vector, mlir::Type element);
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

  // The step.
  mlir::MemRefType flat(mlir::Type element);
  Value field(qwen::StepField which, mlir::Type type) { return qwen::StepFieldOp::create(*this, type, batch, which); }
  Value rowCount() { return field(qwen::StepField::Rows, getIndexType()); }
  /// An i32 list of the step (tokens, positions, ...) at `row`, as index.
  Value item(qwen::StepField list, Value row);
  /// Bytes of flat memory seen as elements.
  Value view(Value bytes, Value byteOffset, mlir::Type element);
  /// Scratch from `byteOffset` on, as elements.
  Value scratchAt(int64_t byteOffset, mlir::Type element) { return view(scratch, index(byteOffset), element); }

  // Operands of planned ops.
  Rows rows(Value plannedBuffer);
  Weight weight(Value param);
  /// Number of rows of a planned buffer.
  Value rowsOf(Value plannedBuffer);

  /// [begin, end) of the rows of this tile, `perTile` rows each, `count` in all.
  std::pair<Value, Value> tileRange(Value index, Value count, int64_t perTile);

private:
  /// An index value of the planned function as this kernel's parameter or constant.
  Value planned(Value index);
};

} // namespace qwench::x86
