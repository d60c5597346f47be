// --random-weights: any shape can be compiled and timed without files. Counter-based, so every thread count
// and every machine makes the same bytes.
#include "runtime/core/random.h"
#include "runtime/core/weights.h"

#include <algorithm>
#include <atomic>
#include <bit>

namespace qwench {

namespace {

constexpr uint64_t kBlockElements = 1u << 20;

/// The sum of four bytes, centred: mean 0, deviation sqrt(4 (256^2 - 1) / 12) = 147.80.
inline float centred(uint32_t h) {
  uint32_t pairs = (h & 0x00ff00ffu) + (h >> 8 & 0x00ff00ffu);
  return static_cast<float>(static_cast<int32_t>((pairs & 0xffff) + (pairs >> 16)) - 510);
}

constexpr float kInverseDeviation = 1.0f / 147.80054f;

inline uint16_t toBfloat16(float value) {
  auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16); // finite values only: nearest even
}

inline void store(uint16_t *out, float value) { *out = toBfloat16(value); }
inline void store(float *out, float value) { *out = value; }

template <typename Element>
inline __attribute__((always_inline)) void fill(Element *out, uint32_t count, uint32_t key, float base,
                                                float scale) {
  for (uint32_t i = 0; i < count; ++i)
    store(out + i, base + scale * centred(scramble(i ^ key)));
}

// Integer vectors of 32 bytes double the speed; no fused multiply-add, so that the results are the same.
template <typename Element>
__attribute__((target("avx2"))) void fillAvx2(Element *out, uint32_t count, uint32_t key, float base,
                                              float scale) {
  fill(out, count, key, base, scale);
}

template <typename Element>
void fillBaseline(Element *out, uint32_t count, uint32_t key, float base, float scale) {
  fill(out, count, key, base, scale);
}

template <typename Element>
void fillBlock(uint8_t *at, uint64_t elements, uint32_t key, float base, float scale) {
  auto *out = reinterpret_cast<Element *>(at);
  auto count = static_cast<uint32_t>(elements);
  if (__builtin_cpu_supports("avx2"))
    fillAvx2(out, count, key, base, scale);
  else
    fillBaseline(out, count, key, base, scale);
}

uint32_t keyOf(const RandomTensor &tensor, uint64_t seed, uint64_t block) {
  return static_cast<uint32_t>(mix64(mix64(seed) ^ mix64(tensor.offset + 1) ^ block));
}

/// Units and units per block of a tensor: elements, or panels.
struct Blocks {
  uint64_t units, perBlock;
};

Blocks blocksOf(const RandomTensor &tensor) {
  if (tensor.panels) {
    uint64_t bytes = tensor.panels->panelBytes();
    return {tensor.bytes / bytes, std::max<uint64_t>(kBlockElements / bytes, 1)};
  }
  return {tensor.bytes / (tensor.type == RandomTensor::Type::F32 ? 4 : 2), kBlockElements};
}

void fillPanels(const RandomTensor &tensor, uint64_t seed, uint64_t block, uint8_t *memory) {
  auto [units, perBlock] = blocksOf(tensor);
  uint8_t *at = memory + tensor.offset + block * perBlock * tensor.panels->panelBytes();
  for (uint64_t panel = block * perBlock; panel < std::min(units, (block + 1) * perBlock); ++panel) {
    fillRandomPanel(*tensor.panels, panel, keyOf(tensor, seed, panel), at);
    at += tensor.panels->panelBytes();
  }
}

void fillTensorBlock(const RandomTensor &tensor, uint64_t seed, uint64_t block, uint8_t *memory) {
  if (tensor.panels)
    return fillPanels(tensor, seed, block, memory);
  const bool wide = tensor.type == RandomTensor::Type::F32;
  const uint64_t width = wide ? 4 : 2, first = block * kBlockElements;
  const uint64_t elements = std::min(kBlockElements, tensor.bytes / width - first);
  const bool ones = tensor.init == RandomTensor::Init::Ones;
  const float base = ones ? 1.0f : 0.0f, scale = (ones ? 0.1f : tensor.deviation) * kInverseDeviation;
  const uint32_t key = keyOf(tensor, seed, block);
  uint8_t *at = memory + tensor.offset + first * width;
  if (wide)
    fillBlock<float>(at, elements, key, base, scale);
  else
    fillBlock<uint16_t>(at, elements, key, base, scale);
}

} // namespace

void fillRandom(const RandomWeights &random, uint8_t *memory, QwenchTeam &team) {
  std::vector<uint64_t> firstBlock{0}; // of each tensor, in the list of all blocks
  for (const RandomTensor &tensor : random.tensors) {
    auto [units, perBlock] = blocksOf(tensor);
    firstBlock.push_back(firstBlock.back() + (units + perBlock - 1) / perBlock);
  }
  std::atomic<uint64_t> next{0};
  runOn(team, [&](int64_t, int64_t) {
    for (uint64_t block; (block = next.fetch_add(1)) < firstBlock.back();) {
      size_t tensor = std::upper_bound(firstBlock.begin(), firstBlock.end(), block) - firstBlock.begin() - 1;
      fillTensorBlock(random.tensors[tensor], random.seed, block - firstBlock[tensor], memory);
    }
  });
}

} // namespace qwench
