// The loops whose rates are this machine's limits: arithmetic from registers, and reading memory once
// through.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace qwench::limits {

/// A loop that reads (`read` set, work is bytes) or computes (`compute` set, work is operations of one
/// iteration, a multiply-add counting as two).
struct Loop {
  const char *name;    ///< on the command line and in JSON
  const char *title;   ///< for people
  const char *unit;    ///< of work per nanosecond: "GB/s", "GFLOP/s"
  const char *feature; ///< the CPU feature that it needs beyond AVX-512F, LLVM's name
  double work = 0;     ///< operations per iteration; unused by reads
  void (*compute)(int64_t iterations) = nullptr;
  void (*read)(const std::byte *data, size_t bytes) = nullptr; ///< 64-byte aligned, a multiple of 512 bytes
  bool hugePages = false;                                      ///< of the buffer that a read goes through
};

/// All loops, in the order they are shown.
std::span<const Loop> loops();

/// Whether this CPU (and its operating system) can run the loop.
bool supported(const Loop &loop);

} // namespace qwench::limits
