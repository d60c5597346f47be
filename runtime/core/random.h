// Pseudo-random numbers: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
// 2014).
#pragma once

#include <cstdint>

namespace qwench {

/// A bijection of 64-bit words whose every output bit depends on every input bit.
inline uint64_t mix64(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ull;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

/// The generator behind sampling: the same seed gives the same numbers on every machine.
class Random {
public:
  explicit Random(uint64_t seed = 0) : state(mix64(seed + kIncrement)) {}

  uint64_t next() { return mix64(state += kIncrement); }
  /// Uniform in [0, 1), 53 bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

private:
  static constexpr uint64_t kIncrement = 0x9e3779b97f4a7c15ull;
  uint64_t state;
};

} // namespace qwench
