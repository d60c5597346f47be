#include "compiler/target/gpu/matrix_unit.h"

#include "mlir/Dialect/AMDGPU/IR/AMDGPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace qwench::gpu {

Fragments::Fragments(KernelBuilder &b) : unit(b.device.matrix) {
  int64_t divisor = unit == MatrixUnit::MmaSync ? 4 : 16;
  low = b.rem(b.lane, divisor);
  high = b.div(b.lane, divisor);
}

int64_t Fragments::sums() const { return unit == MatrixUnit::MmaSync || unit == MatrixUnit::Mfma ? 4 : 8; }

Value Fragments::laneRow(KernelBuilder &b) const {
  return unit == MatrixUnit::Mfma ? b.mul(high, 4) : unit == MatrixUnit::Wmma12 ? b.mul(high, 8) : high;
}

int64_t Fragments::rowOffset(int64_t i) const {
  return unit == MatrixUnit::MmaSync ? i / 2 * 8 : unit == MatrixUnit::Wmma11 ? 2 * i : i;
}

Value Fragments::piece(KernelBuilder &b, Value memory, Value at, int64_t stride, Value row, Value input, int64_t count) const {
  Value place = b.add(b.add(at, b.mul(row, stride)), input);
  auto type = b.vectorOf(count, b.getBF16Type());
  int64_t bytes = std::min<int64_t>(count * 2, 16);
  return vector::LoadOp::create(b, type, memory, ValueRange{place}, false, llvm::MaybeAlign(bytes));
}

SmallVector<Value> Fragments::loadA(KernelBuilder &b, Value memory, Value at, int64_t stride) const {
  if (unit != MatrixUnit::MmaSync)
    return loadB(b, memory, at, stride);
  SmallVector<Value> pieces;
  for (int64_t i = 0; i < 4; ++i)
    pieces.push_back(piece(b, memory, at, stride, b.add(high, i % 2 * 8), b.add(b.mul(low, 2), i / 2 * 8), 2));
  return pieces;
}

SmallVector<Value> Fragments::loadB(KernelBuilder &b, Value memory, Value at, int64_t stride) const {
  switch (unit) {
  case MatrixUnit::MmaSync:
    return {piece(b, memory, at, stride, high, b.mul(low, 2), 2), piece(b, memory, at, stride, high, b.add(b.mul(low, 2), 8), 2)};
  case MatrixUnit::Mfma:
    return {piece(b, memory, at, stride, low, b.mul(high, 4), 4)};
  case MatrixUnit::Wmma11:
    return {piece(b, memory, at, stride, low, b.index(0), 16)};
  default:
    return {piece(b, memory, at, stride, low, b.mul(high, 8), 8)};
  }
}

/// mma.sync takes pairs of bf16 as i32 and single sums.
static Value multiplySync(KernelBuilder &b, ValueRange a, ValueRange bFragment, Value c) {
  auto words = [&](ValueRange pieces) {
    SmallVector<Value> result;
    for (Value pair : pieces)
      result.push_back(b.extract(vector::BitCastOp::create(b, b.vectorOf(1, b.getI32Type()), pair), 0));
    return result;
  };
  SmallVector<Value> sums, results;
  for (int64_t i = 0; i < 4; ++i)
    sums.push_back(b.extract(c, i));
  auto type = LLVM::LLVMStructType::getLiteral(b.getContext(), SmallVector<Type>(4, b.getF32Type()));
  Value product = NVVM::MmaOp::create(b, type, words(a), words(bFragment), sums, ArrayRef<int64_t>{16, 8, 16}, std::nullopt,
                                      std::nullopt, std::array{NVVM::MMATypes::bf16, NVVM::MMATypes::bf16},
                                      std::array{NVVM::MMALayout::row, NVVM::MMALayout::col});
  for (int64_t i = 0; i < 4; ++i)
    results.push_back(LLVM::ExtractValueOp::create(b, b.getF32Type(), product, ArrayRef<int64_t>{i}));
  return vector::FromElementsOp::create(b, b.floats(4), results);
}

Value Fragments::multiply(KernelBuilder &b, ValueRange a, ValueRange bFragment, Value c) const {
  if (unit == MatrixUnit::MmaSync)
    return multiplySync(b, a, bFragment, c);
  if (unit == MatrixUnit::Mfma)
    return amdgpu::MFMAOp::create(b, c.getType(), 16u, 16u, 16u, 1u, a[0], bFragment[0], c);
  return amdgpu::WMMAOp::create(b, c.getType(), 16u, 16u, 16u, a[0], bFragment[0], c);
}

} // namespace qwench::gpu
