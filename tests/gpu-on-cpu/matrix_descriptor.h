// Where a product of a warpgroup finds an operand in workgroup memory: fields of PTX ISA 9.0, "Matrix Descriptor Format", and its
// canonical layouts, "Strides" and "Canonical Layouts", in elements of 128 bits as there.
#pragma once

#include <cstdint>

namespace qwench::gpu_on_cpu {

struct MatrixDescriptor {
  uint64_t start, leading, stride, baseOffset, swizzle;

  explicit MatrixDescriptor(uint64_t bits)
      : start((bits & 0x3fff) << 4), leading((bits >> 16 & 0x3fff) << 4), stride((bits >> 32 & 0x3fff) << 4),
        baseOffset(bits >> 49 & 7), swizzle(bits >> 62) {}

  /// Byte of 8 inputs of a row (K-major), the `piece`th of the row's.
  uint64_t kMajor(uint64_t row, uint64_t piece) const {
    if (swizzle == 0)
      return start + row / 8 * stride + row % 8 * 16 + piece * leading;
    return exchanged(start + row / 8 * stride + row % 8 * span() + piece * 16);
  }

  /// Byte of 8 rows of an input (MN-major), the `piece`th of the input's.
  uint64_t mnMajor(uint64_t piece, uint64_t input) const {
    if (swizzle == 0)
      return start + piece * stride + input / 8 * leading + input % 8 * 16;
    const uint64_t pieces = span() / 16;
    return exchanged(start + piece / pieces * leading + piece % pieces * 16 + input / 8 * stride + input % 8 * span());
  }

private:
  /// Bytes that a swizzle exchanges pieces of: mode 1 is 128, 2 is 64, 3 is 32.
  uint64_t span() const { return 256u >> swizzle; }
  /// Swizzle<n, 4, 3> of 2^n pieces: n bits of the address from bit 4 on, by those from bit 7 on.
  uint64_t exchanged(uint64_t at) const { return at ^ (at >> 7 & (span() / 16 - 1)) << 4; }
};

} // namespace qwench::gpu_on_cpu
