// Building kernels: what StepBuilder has, and vectors.
//
// A kernel is a function of (batch, [layer, instance,] scratch, tile). Widths are padded so that whole vectors of 16 f32
// can always be read and written.
#pragma once

#include "compiler/target/step_builder.h"
#include "compiler/target/x86/machine.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace qwench::x86 {

/// f32 lanes of a vector register; wider or narrower machines split or pair them.
constexpr int64_t kLanes = 16;
/// Outputs in a weight panel: two vectors of accumulators for each row of a micro-kernel.
constexpr int64_t kPanel = 32;

using qwench::Rows;

/// A packed weight whose matrices are in panels.
struct Weight : PackedWeight {
  /// Panels of one matrix, padding included.
  int64_t panels() const { return layout.paddedOutputs(outputs()) / kPanel; }
  /// Columns that a product with rows of floats takes: rows are written up to a multiple of kPanel, and what lies behind may
  /// be anything, also where groups pad the panel further; groups of 16 may pad it less.
  int64_t columns() const {
    return std::min<int64_t>(llvm::alignTo(inputs(), kPanel), layout.paddedInputs(inputs()));
  }
};

class KernelBuilder : public StepBuilder {
public:
  using StepBuilder::StepBuilder;
  /// A builder at the same place.
  explicit KernelBuilder(const StepBuilder &other) : StepBuilder(other) {}

  /// Parameters that only kernels have.
  Value scratch, tile;
  Machine machine;

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
  /// The larger of numbers: one instruction, where IEEE's maximum takes three for the sake of NaN.
  Value larger(Value a, Value b) {
    Value greater = mlir::arith::CmpFOp::create(*this, mlir::arith::CmpFPredicate::OGT, a, b);
    return mlir::arith::SelectOp::create(*this, greater, a, b);
  }
  Value smaller(Value a, Value b) {
    Value less = mlir::arith::CmpFOp::create(*this, mlir::arith::CmpFPredicate::OLT, a, b);
    return mlir::arith::SelectOp::create(*this, less, a, b);
  }
  Value fma(Value a, Value b, Value c) { return mlir::vector::FMAOp::create(*this, a, b, c); }
  /// 2^x for x < 127, within 2e-7 relatively; below 2^-126 that. About 12 instructions.
  Value exp2(Value x);
  /// e^x for x < 88, relatively within 4e-7 for |x| up to 10 and 1.4e-6 up to 87; below -87 that of -87.
  Value exp(Value x);
  Value sum(Value vector) {
    return mlir::vector::ReductionOp::create(*this, mlir::vector::CombiningKind::ADD, vector,
                                             mlir::arith::FastMathFlags::reassoc);
  }
  /// The largest element, of those that are numbers. Halves meet: LLVM reduces maxima with NaN one element after the other.
  Value largest(Value vector);
  /// silu(gate) * up.
  Value swiglu(Value gate, Value up);

  // Memory: loads give f32 vectors, stores round to the buffer's element type (nearest even).
  Value load(Value memory, Value at);
  void store(Value vector, Value memory, Value at);
  /// An f32 vector in a narrower type. A CPU without conversions to bf16 rounds in integers: LLVM would call a function
  /// of compiler-rt for each lane.
  Value round(Value vector, mlir::Type element);

  /// Scratch from `byteOffset` on, as elements.
  Value scratchAt(int64_t byteOffset, mlir::Type element) { return view(scratch, index(byteOffset), element); }

  Weight weight(Value param) { return {packedWeight(param)}; }

  /// Calls the module's private function `name` with these operands. Its first call has `body` emit it; as it is never
  /// inlined, all kernels share its code.
  void callShared(llvm::StringRef name, ValueRange operands,
                  llvm::function_ref<void(KernelBuilder &b, ValueRange arguments)> body);
};

} // namespace qwench::x86
