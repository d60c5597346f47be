// Vectors of integers, kLanes words of 32 bits for the most part.
#pragma once

#include "compiler/target/x86/kernel_builder.h"

namespace qwench::x86 {

/// 1.5 * 2^23: what is added to it, a float of magnitude below 2^22, is rounded to an integer in the low bits of the sum.
constexpr float kRounder = 0x1.8p23f;
constexpr uint32_t kRounderBits = 0x4b400000;

/// `v` in all elements.
inline mlir::Value integers(KernelBuilder &b, mlir::VectorType type, uint64_t v) {
  llvm::APInt value(type.getElementTypeBitWidth(), v);
  return mlir::arith::ConstantOp::create(b, mlir::DenseElementsAttr::get(type, value));
}
inline mlir::VectorType wordVector(KernelBuilder &b) { return b.lanes(b.getI32Type()); }
inline mlir::Value words(KernelBuilder &b, uint32_t v) { return integers(b, wordVector(b), v); }
/// 0, 1, 2, ... : the number of each lane.
inline mlir::Value laneNumbers(KernelBuilder &b) {
  llvm::SmallVector<int32_t> numbers = llvm::to_vector(llvm::seq<int32_t>(0, kLanes));
  return mlir::arith::ConstantOp::create(b, mlir::DenseElementsAttr::get(wordVector(b), llvm::ArrayRef(numbers)));
}
inline mlir::Value addi(KernelBuilder &b, mlir::Value x, mlir::Value y) { return mlir::arith::AddIOp::create(b, x, y); }
inline mlir::Value subi(KernelBuilder &b, mlir::Value x, mlir::Value y) { return mlir::arith::SubIOp::create(b, x, y); }
inline mlir::Value ori(KernelBuilder &b, mlir::Value x, mlir::Value y) { return mlir::arith::OrIOp::create(b, x, y); }
inline mlir::Value minu(KernelBuilder &b, mlir::Value x, mlir::Value y) { return mlir::arith::MinUIOp::create(b, x, y); }
inline mlir::Value andi(KernelBuilder &b, mlir::Value x, uint32_t mask) {
  return mlir::arith::AndIOp::create(b, x, words(b, mask));
}
inline mlir::Value shru(KernelBuilder &b, mlir::Value x, int64_t bits) {
  return bits ? mlir::arith::ShRUIOp::create(b, x, words(b, bits)).getResult() : x;
}
inline mlir::Value shl(KernelBuilder &b, mlir::Value x, int64_t bits) {
  return bits ? mlir::arith::ShLIOp::create(b, x, words(b, bits)).getResult() : x;
}
/// The bits of floats, and back.
inline mlir::Value toBits(KernelBuilder &b, mlir::Value x) { return mlir::vector::BitCastOp::create(b, wordVector(b), x); }
inline mlir::Value toFloats(KernelBuilder &b, mlir::Value x) {
  return mlir::vector::BitCastOp::create(b, b.lanes(b.getF32Type()), x);
}
/// The numbers as floats.
inline mlir::Value convert(KernelBuilder &b, mlir::Value x) {
  return mlir::arith::SIToFPOp::create(b, b.lanes(b.getF32Type()), x);
}

/// A word of bytes in memory (memref<?xi8>), as i32.
inline mlir::Value wordOf(KernelBuilder &b, mlir::Value memory, mlir::Value at) {
  mlir::Value raw = mlir::vector::LoadOp::create(b, mlir::VectorType::get({4}, b.getI8Type()), memory, mlir::ValueRange{at});
  mlir::Value one = mlir::vector::BitCastOp::create(b, mlir::VectorType::get({1}, b.getI32Type()), raw);
  return mlir::vector::ExtractOp::create(b, one, llvm::ArrayRef<int64_t>{0});
}
/// The same, as `word` in every lane.
inline mlir::Value broadcastWord(KernelBuilder &b, mlir::Value memory, mlir::Value at, mlir::Type word) {
  mlir::Value raw = mlir::vector::LoadOp::create(b, mlir::VectorType::get({4}, b.getI8Type()), memory, mlir::ValueRange{at});
  mlir::Value one = mlir::vector::BitCastOp::create(b, mlir::VectorType::get({1}, word), raw);
  return mlir::vector::BroadcastOp::create(b, b.lanes(word), one);
}

/// x, a vector of kLanes, rounded to the 8 bits of a bf16, ties to even: by Veltkamp's splitting, whose instructions any port
/// takes, where vcvtneps2bf16 waits for one of them. Magnitudes are below 2^111.
inline mlir::Value roundToBF16(KernelBuilder &b, mlir::Value x) {
  mlir::Value large = b.mulf(x, b.splat(0x1p16f + 1));
  return b.subf(large, b.subf(large, x));
}
/// The same of x * y, which is not rounded before.
inline mlir::Value productAsBF16(KernelBuilder &b, mlir::Value x, mlir::Value y) {
  mlir::Value large = b.mulf(x, b.mulf(y, b.splat(0x1p16f + 1)));
  return b.addf(large, b.fma(x, y, mlir::arith::NegFOp::create(b, large)));
}
/// Floats of no more bits than a bf16 in turn: lane i of `even`, lane i of `odd`.
inline mlir::Value pairsOfBF16(KernelBuilder &b, mlir::Value even, mlir::Value odd) {
  mlir::Value words = ori(b, shru(b, toBits(b, even), 16), toBits(b, odd));
  return mlir::vector::BitCastOp::create(b, mlir::VectorType::get({2 * kLanes}, b.getBF16Type()), words);
}

} // namespace qwench::x86
