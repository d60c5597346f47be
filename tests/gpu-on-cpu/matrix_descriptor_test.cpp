// The examples of PTX ISA 9.0, "Canonical Layouts" (Figures 166 to 170): layouts that it writes out, beside its descriptors' fields.
#include "tests/gpu-on-cpu/matrix_descriptor.h"

#include <gtest/gtest.h>

namespace qwench::gpu_on_cpu {
namespace {

MatrixDescriptor descriptor(uint64_t mode, uint64_t leading, uint64_t stride) {
  return MatrixDescriptor(mode << 62 | stride >> 4 << 32 | leading >> 4 << 16);
}

/// Swizzle<bits, 4, 3> of a byte's address, bit by bit.
uint64_t swizzled(int bits, uint64_t at) {
  for (int i = 0; i < bits; ++i)
    if (at >> (7 + i) & 1)
      at ^= uint64_t(1) << (4 + i);
  return at;
}

TEST(matrix_descriptor, k_major_without_swizzle) { // tf32: ((8,2),(4,4)):((4,32),(1,64))
  for (uint64_t row = 0; row < 16; ++row)
    for (uint64_t piece = 0; piece < 4; ++piece)
      EXPECT_EQ(descriptor(0, 64 * 4, 32 * 4).kMajor(row, piece), 4 * (row % 8 * 4 + row / 8 * 32 + piece * 64));
}

TEST(matrix_descriptor, k_major_by_32_bytes) { // tf32: Swizzle<1,4,3> o ((8,2),(4,4)):((8,64),(1,4)), of two pieces here
  for (uint64_t row = 0; row < 16; ++row)
    for (uint64_t piece = 0; piece < 2; ++piece)
      EXPECT_EQ(descriptor(3, 16, 64 * 4).kMajor(row, piece), swizzled(1, 4 * (row % 8 * 8 + row / 8 * 64 + piece * 4)));
}

TEST(matrix_descriptor, mn_major_without_swizzle) { // bf16: ((8,1,2),(8,2)):((1,8,64),(8,128))
  for (uint64_t input = 0; input < 16; ++input)
    for (uint64_t piece = 0; piece < 2; ++piece)
      EXPECT_EQ(descriptor(0, 128 * 2, 64 * 2).mnMajor(piece, input), 2 * (piece * 64 + input % 8 * 8 + input / 8 * 128));
}

TEST(matrix_descriptor, mn_major_by_32_bytes) { // bf16: Swizzle<1,4,3> o ((8,2,2),(8,2)):((1,8,128),(16,256))
  for (uint64_t input = 0; input < 16; ++input)
    for (uint64_t piece = 0; piece < 4; ++piece)
      EXPECT_EQ(descriptor(3, 128 * 2, 256 * 2).mnMajor(piece, input),
                swizzled(1, 2 * (piece % 2 * 8 + piece / 2 * 128 + input % 8 * 16 + input / 8 * 256)));
}

TEST(matrix_descriptor, mn_major_by_64_bytes) { // bf16: Swizzle<2,4,3> o ((8,4,2),(8,2)):((1,8,256),(32,512))
  for (uint64_t input = 0; input < 16; ++input)
    for (uint64_t piece = 0; piece < 8; ++piece)
      EXPECT_EQ(descriptor(2, 256 * 2, 512 * 2).mnMajor(piece, input),
                swizzled(2, 2 * (piece % 4 * 8 + piece / 4 * 256 + input % 8 * 32 + input / 8 * 512)));
}

// The canonical layout ((T,8,m),(8,k)):((1,T,LBO),(8T,SBO)) of T = 8, with the distances of a panel of 64 inputs.
TEST(matrix_descriptor, mn_major_by_128_bytes) {
  for (uint64_t input = 0; input < 64; ++input)
    for (uint64_t piece = 0; piece < 16; ++piece)
      EXPECT_EQ(descriptor(1, 64 * 128, 8 * 128).mnMajor(piece, input),
                swizzled(3, 2 * (piece % 8 * 8 + piece / 8 * 4096 + input % 8 * 64 + input / 8 * 512)));
}

} // namespace
} // namespace qwench::gpu_on_cpu
