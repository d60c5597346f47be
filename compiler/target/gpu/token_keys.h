// Logits as what drawing a token compares and adds: integers in their order, and integer weights.
#pragma once

#include "compiler/target/gpu/kernel_builder.h"

#include <climits>

namespace qwench::gpu {

// Keys order logits, i32: those of -infinity, of infinity, and of what is no candidate.
constexpr int32_t kMinusInfinityKey = static_cast<int32_t>(0x807fffffu), kInfinityKey = 0x7f800000, kNoKey = INT_MIN;

/// `scalar` for each element of `shape` if that is a vector, else itself.
mlir::Value likeShape(KernelBuilder &b, mlir::Value shape, mlir::Value scalar);
/// An integer, or a vector of them, as i64.
mlir::Value toI64(KernelBuilder &b, mlir::Value integer);
/// first, first + 1, ... in a vector of kPiece elements of the type of `first`.
mlir::Value consecutive(KernelBuilder &b, mlir::Value first);

/// Keys of kPiece logits, tokens `firstId` on; ids from `candidates` on are none (i32).
mlir::Value tokenKeys(KernelBuilder &b, mlir::Value logits, mlir::Value firstId, mlir::Value candidates);
/// The logit of a key.
mlir::Value logitOfKey(KernelBuilder &b, mlir::Value key);

/// tokenWeight() of runtime/abi/token_weight.h, operation by operation, for the likeliest's logit `top` and an f32 `scale`.
struct TokenWeights {
  mlir::Value top, scale;
  /// i64 of logits up to `top`; 0 of -infinity and NaN, and some weight of logits above.
  mlir::Value of(KernelBuilder &b, mlir::Value logits) const;
};

} // namespace qwench::gpu
