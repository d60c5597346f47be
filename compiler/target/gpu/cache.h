// The KV cache in a GPU's memory: [slots][layers][heads][keys, values], each a plane of `capacity` positions.
//
// A plane of floats is [capacity, D]. A plane of codes is [capacity, D] codes, then [capacity, groups] scales and, with them,
// [capacity, groups] zero points of one byte; i8 is stored plus 128, and of 8 columns of 4-bit codes byte i has columns i
// (low) and 4 + i (high). So a piece is 8 or 4 bytes, pieces of a position follow one another, and no byte is of two positions.
#pragma once

#include "compiler/target/gpu/kernel_builder.h"

namespace qwench::gpu {

/// The keys, or the values, of one slot, layer and head.
class CachePlane {
public:
  using Value = mlir::Value;

  CachePlane() = default;
  /// `start`: the plane's first element, or byte where it is quantized.
  CachePlane(KernelBuilder &b, qwen::CacheType type, Value start, Value capacity);

  /// kPiece elements of a position, from column `column` (a multiple of kPiece) on: vector<kPiece x f32>.
  Value load(KernelBuilder &b, Value position, Value column) const;
  /// The same in bf16.
  Value loadBF16(KernelBuilder &b, Value position, Value column) const;

  /// The memory of floats, and where a position starts in it.
  Value memory;
  Value place(KernelBuilder &b, Value position) const { return b.add(start, b.mul(position, dim)); }

  /// Quantizes one vector, all lanes of a subgroup together: `piece` gives kPiece of its f32 from a column on.
  void quantize(KernelBuilder &b, Value position, llvm::function_ref<Value(Value column)> piece) const;

private:
  int64_t groups() const { return dim / quant.groupColumns(dim); }
  Value codeWord(KernelBuilder &b, Value position, Value column) const;
  Value group(KernelBuilder &b, Value position, Value column) const;

  int64_t dim = 0;
  qwen::QuantType quant;
  Value start;
  Value words, scales, bytes;             ///< the whole cache
  Value firstWord, firstScale, firstZero; ///< of the plane
};

struct CacheHead {
  CachePlane keys, values;
};
CacheHead cacheHead(KernelBuilder &b, qwen::CacheType type, mlir::Value slot, mlir::Value head);

} // namespace qwench::gpu
