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
  int64_t firstLevel = 32 << 10;  ///< bytes of a core's first data cache
  /// Bytes that streams are asked for ahead of use: a core reads some 6 bytes a cycle and waits 400 cycles for memory. 0 where
  /// the CPU's own prefetchers do better alone.
  int64_t fetchAhead = 6 << 10;
};

} // namespace qwench::x86
