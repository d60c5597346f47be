// Building GPU kernels: what StepBuilder has, and threads of a block, their subgroups, and workgroup memory.
//
// A kernel is a gpu.func of (batch, layer, instance, tile); one block runs one tile. Rows of activations and weights
// start at multiples of kPiece elements. What pads a row is undefined, and is masked where it would be read.
#pragma once

#include "compiler/target/gpu/device.h"
#include "compiler/target/step_builder.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace qwench::gpu {

/// Elements that a thread reads at once: 16 bytes of bf16, twice that of f32.
constexpr int64_t kPiece = 8;
/// Smaller than any score, and the difference of two of them is 0, not NaN.
constexpr float kMasked = -1e30f;

/// A planned buffer, and how many elements can be read at once from any multiple of that many.
struct Buffer : Rows {
  int64_t vector = 1; ///< kPiece, or 1 if a row is not a whole number of pieces or not aligned to them
  bool aligned = false; ///< whether rows start at a multiple of 16 bytes
};

class KernelBuilder : public StepBuilder {
public:
  const Device &device;
  mlir::gpu::GPUFuncOp function;
  Value tile;             ///< index of the tile
  Value thread;           ///< in the block
  Value lane, subgroup;   ///< of the thread
  int64_t subgroups = 1;  ///< of the block

  /// A builder in the body of a new kernel in `kernels`.
  KernelBuilder(mlir::Location loc, mlir::gpu::GPUModuleOp kernels, const Device &device, llvm::StringRef name,
                int64_t subgroups);

  int64_t threads() const { return subgroups * device.subgroupSize; }

  // Floats: scalars and vectors alike.
  Value f32(double value) { return mlir::arith::ConstantOp::create(*this, getF32FloatAttr(value)); }
  Value i32(int64_t value) { return mlir::arith::ConstantOp::create(*this, getI32IntegerAttr(value)); }
  mlir::VectorType vectorOf(int64_t n, mlir::Type element) { return mlir::VectorType::get({n}, element); }
  mlir::VectorType floats(int64_t n) { return vectorOf(n, getF32Type()); }
  Value splat(Value scalar, int64_t n) {
    return mlir::vector::BroadcastOp::create(*this, vectorOf(n, scalar.getType()), scalar);
  }
  Value addf(Value a, Value b) { return mlir::arith::AddFOp::create(*this, a, b); }
  Value subf(Value a, Value b) { return mlir::arith::SubFOp::create(*this, a, b); }
  Value mulf(Value a, Value b) { return mlir::arith::MulFOp::create(*this, a, b); }
  Value divf(Value a, Value b) { return mlir::arith::DivFOp::create(*this, a, b); }
  Value maxf(Value a, Value b) { return mlir::arith::MaxNumFOp::create(*this, a, b); }
  Value fma(Value a, Value b, Value c) { return mlir::math::FmaOp::create(*this, a, b, c); }
  Value select(Value condition, Value a, Value b) { return mlir::arith::SelectOp::create(*this, condition, a, b); }
  Value equal(Value a, Value b) {
    return mlir::arith::CmpIOp::create(*this, mlir::arith::CmpIPredicate::eq, a, b);
  }
  Value both(Value a, Value b) { return mlir::arith::AndIOp::create(*this, a, b); }
  /// 2^x: one instruction on both vendors' machines.
  Value exp2(Value x) { return mlir::math::Exp2Op::create(*this, x); }
  /// e^x of a scalar or a vector.
  Value exp(Value x);
  /// silu(gate) * up, for scalars and vectors.
  Value swiglu(Value gate, Value up);
  /// Sum of a vector's elements.
  Value sum(Value vector);
  Value extract(Value vector, int64_t i) { return mlir::vector::ExtractOp::create(*this, vector, llvm::ArrayRef<int64_t>{i}); }

  // Memory: loads give f32, stores round to the buffer's element type (nearest even).
  Value load(Value memory, Value at);
  void store(Value value, Value memory, Value at);
  /// `n` elements from a multiple of n on, which is 16-byte aligned unless n is 1: vector<n x f32>.
  Value load(Value memory, Value at, int64_t n);
  void storeVector(Value vector, Value memory, Value at);
  /// kPiece elements as they are, 16-byte aligned.
  Value loadRaw(Value memory, Value at) {
    auto type = vectorOf(kPiece, mlir::cast<mlir::MemRefType>(memory.getType()).getElementType());
    return mlir::vector::LoadOp::create(*this, type, memory, ValueRange{at}, false, llvm::MaybeAlign(16));
  }
  void storeRaw(Value piece, Value memory, Value at) {
    mlir::vector::StoreOp::create(*this, piece, memory, ValueRange{at}, false, llvm::MaybeAlign(16));
  }
  /// Asks for the cache line of an element.
  void prefetch(Value memory, Value at) {
    mlir::memref::PrefetchOp::create(*this, memory, ValueRange{at}, /*isWrite=*/false, /*locality=*/2, /*isDataCache=*/true);
  }
  /// Elements k .. k + kPiece - 1 of the row of `width` elements that starts at `start`, as they are; zeros behind its end.
  Value inputPieceRaw(const Buffer &buffer, Value start, Value k, int64_t width);
  /// The same as f32.
  Value inputPiece(const Buffer &buffer, Value start, Value k, int64_t width);

  // The block.
  /// Workgroup memory of `count` elements or, to be whole granules, more, which starts at a multiple of `alignment` bytes.
  Value shared(int64_t count, mlir::Type element, int64_t alignment = kSharedGranule);
  int64_t sharedBytes = 0; ///< workgroup memory of the block so far
  void barrier() { mlir::gpu::BarrierOp::create(*this); }

  // Asynchronous copies to workgroup memory, on devices that have them.
  /// The token of a copy of kPiece elements, 16-byte aligned; where `inside` is false, of zeros, and nothing is read.
  Value copyPiece(Value memory, Value at, Value sharedMemory, Value target, Value inside);
  /// The token of a group of all copies so far that are in none.
  Value copyGroup(ValueRange copies);
  /// Goes on when at most `later` groups are on their way, `group` being the last one. A barrier shows the others' copies.
  void awaitCopies(Value group, int64_t later);

  /// Runs body(i) for i in [0, count): thread t takes t, t + threads(), ...
  void forThreads(Value count, llvm::function_ref<void(Value)> body) { loop(thread, count, threads(), body); }
  void forThreads(int64_t count, llvm::function_ref<void(Value)> body) { forThreads(index(count), body); }
  /// Runs body(i) for i in [0, count) on whole subgroups.
  void forSubgroups(Value count, llvm::function_ref<void(Value)> body) { loop(subgroup, count, subgroups, body); }
  void forSubgroups(int64_t count, llvm::function_ref<void(Value)> body) { forSubgroups(index(count), body); }
  /// Runs body(i) for i in [0, count): lane l takes l, l + subgroupSize, ...
  void forLanes(int64_t count, llvm::function_ref<void(Value)> body) { loop(lane, index(count), device.subgroupSize, body); }

  /// Keeps LLVM and assemblers from unrolling the loop with these results, of few steps even as a whole.
  void keepRolled(ValueRange loopResults);

  using Reduction = mlir::gpu::AllReduceOperation;
  /// Over clusters of `size` lanes, `stride` apart; all lanes of a subgroup must take part. 0: over the subgroup.
  Value reduce(Reduction how, Value value, int64_t size = 0, int64_t stride = 1);
  Value subgroupSum(Value value) { return reduce(Reduction::ADD, value); }
  /// Sum over the block, in all its threads. Holds barriers.
  Value blockSum(Value value);

  // Operands of planned ops.
  Buffer buffer(Value plannedBuffer);
  PackedWeight weight(Value param) { return packedWeight(param); }
  /// Elements of a table that all threads may read.
  Value constantTable(llvm::StringRef name, llvm::ArrayRef<float> values) {
    return StepBuilder::constantTable(function->getParentOfType<mlir::gpu::GPUModuleOp>(), name, values);
  }
};

/// Sine and cosine of an f32 angle, exact to f32 for angles up to 2^20: polynomials in f64, of no library.
std::pair<mlir::Value, mlir::Value> emitSineCosine(KernelBuilder &b, mlir::Value angle);
/// base^exponent for f64 base > 0, of no library.
mlir::Value emitPower(KernelBuilder &b, mlir::Value base, mlir::Value exponent);

} // namespace qwench::gpu
