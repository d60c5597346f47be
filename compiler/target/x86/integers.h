// Vectors of kLanes 32-bit words.
#pragma once

#include "compiler/target/x86/kernel_builder.h"

namespace qwench::x86 {

inline mlir::VectorType wordVector(KernelBuilder &b) { return b.lanes(b.getI32Type()); }
inline mlir::Value words(KernelBuilder &b, uint32_t v) {
  return mlir::arith::ConstantOp::create(b, mlir::DenseElementsAttr::get(wordVector(b), llvm::APInt(32, v)));
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

} // namespace qwench::x86
