// Made-up panels of quantized weights for --random-weights: random codes under one scale.
#pragma once

#include "runtime/abi/result.h"

#include <cstdint>
#include <nlohmann/json_fwd.hpp>

namespace qwench {

/// How the panels of a tensor lie (the layout of quantized weights, docs/bundle.md), and what they are filled with. The
/// runtime need not know what a code means: the compiler says which bytes are plausible.
struct RandomPanels {
  uint64_t matrices = 0, rows = 0, columns = 0, paddedColumns = 0, width = 0, depth = 0;
  uint64_t group = 0; ///< columns that share a scale
  bool pairHalves = false, zeroPoints = false, rowScales = false;
  bool planes = false; ///< all codes of a panel, then its row scales, scales and zero points
  uint64_t codeBits = 8, codeMask = 0xff, codeBase = 0, zeroCode = 0; ///< a code is a random byte & mask | base
  uint64_t zeroPoint = 0;
  uint64_t scaleBytes = 0, scale = 0, rowScale = 0; ///< bits of the scales, little endian

  uint64_t panels() const; ///< of a matrix
  uint64_t panelBytes() const;
};

/// Reads and checks the object `panels` of a tensor of `bytes` bytes.
Status readRandomPanels(const nlohmann::json &object, uint64_t bytes, RandomPanels &out);

/// Writes panel `index`, counted over all matrices, as a function of the key alone. Lanes and groups behind the last row
/// and column have scale 0, padding within a group the zero code.
void fillRandomPanel(const RandomPanels &panels, uint64_t index, uint32_t key, uint8_t *at);

/// A 32-bit finaliser (xor, shift and multiply), good enough for weights and four times as fast as a 64-bit one in vectors.
inline uint32_t scramble(uint32_t x) {
  x ^= x >> 16;
  x *= 0x21f0aaadu;
  x ^= x >> 15;
  x *= 0x735a2d97u;
  return x ^ (x >> 15);
}

} // namespace qwench
