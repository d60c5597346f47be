// What codes and scales of quantized values mean: f32, or pairs of bf16 for matrix units.
#pragma once

#include "compiler/target/gpu/kernel_builder.h"

namespace qwench::gpu {

/// f32 of the elements of a vector of scales as bytes.
mlir::Value scalesToFloat(KernelBuilder &b, mlir::Value bytes, mlir::Type scale);

/// f32 of 8 codes: integers of `bits` 8 or 4 less `bias`, or e4m3 values times 1 / kE4M3Factor. Codes are the bytes of two
/// words, or their nibbles `nibble` (0 low, 1 high); or all low and then all high nibbles of one word.
constexpr double kE4M3Factor = 256;
mlir::Value integersToFloat(KernelBuilder &b, mlir::Value words, int64_t bits, int64_t nibble, double bias);
mlir::Value e4m3ToFloat(KernelBuilder &b, mlir::Value words);
/// Of e2m1, nibbles `nibble` of the bytes of two words, the values times 1 / kE2M1Factor.
constexpr double kE2M1Factor = 1 << 14;
mlir::Value e2m1ToFloat(KernelBuilder &b, mlir::Value words, int64_t nibble);

/// The same as vector<kPiece x bf16>, exact, in the order of kPairOrder: codes of a pair are 16 bits apart in their word, so that
/// one operation moves both. Integers are less 2^(bits - 1).
constexpr int64_t kPairOrder[kPiece] = {0, 2, 1, 3, 4, 6, 5, 7};
mlir::Value integersToPairs(KernelBuilder &b, mlir::Value words, int64_t bits, int64_t nibble);
mlir::Value e4m3ToPairs(KernelBuilder &b, mlir::Value words);
mlir::Value e2m1ToPairs(KernelBuilder &b, mlir::Value words, int64_t nibble);
/// Of e2m1 times a scale of theirs, of e4m3, without a sign: byte `which` of four, as a vector<4 x i8>.
mlir::Value e2m1ToPairs(KernelBuilder &b, mlir::Value words, int64_t nibble, mlir::Value scales, int64_t which);

} // namespace qwench::gpu
