// What kernels and tile sizes depend on in a CPU.
#pragma once

#include <cstdint>

namespace qwench::x86 {

/// Units that kernels may use besides AVX-512 or less, which vectors of any width become.
struct Machine {
  int64_t registers = 16; ///< of vectors
  int64_t lanes = 8;      ///< f32 of a vector register
  bool bf16Dot = false;     ///< dot products of bf16 pairs: vdpbf16ps
  bool tiles = false;       ///< AMX tiles that multiply bf16
  bool byteTiles = false;   ///< AMX tiles that multiply bytes
  bool int8Dot = false;     ///< dot products of four bytes: vpdpbusd
  bool byteShuffle = false; ///< shuffles of 64 bytes: vpshufb of AVX-512BW
  bool byteTable = false;   ///< tables of 64 bytes, looked up by the low six bits of an index: vpermb of AVX-512VBMI
  int64_t firstLevel = 32 << 10;  ///< bytes of a core's first data cache
  /// Bytes that streams are asked for ahead of use: a core reads some 6 bytes a cycle and waits 400 cycles for memory. 0 where
  /// the CPU's own prefetchers do better alone.
  int64_t fetchAhead = 6 << 10;
  /// The same for codes of a quantized cache, whose blocks are asked for into the second cache: between two blocks of keys lie
  /// a softmax and a block of values, in which nothing else asks for the next.
  int64_t fetchCodesAhead = 14 << 10;
};

} // namespace qwench::x86
