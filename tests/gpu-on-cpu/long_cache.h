// The cache of a context of 262144 positions: keys and values of one head, in a slot so far behind the first
// that no 32-bit number tells its place.
#pragma once

#include "dialects/Qwen.h"
#include "dialects/quantization/codes.h"
#include "tests/differential/all_dialects.h"
#include "tests/gpu-on-cpu/program.h"

#include "mlir/Parser/Parser.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace qwench::gpu_test {

/// Keys (plane 0), then values (plane 1) of the slot, as compiler/target/gpu/cache.h lays them out.
class LongCache {
public:
  static constexpr int64_t kCapacity = 262144, kDim = 32, kSlot = 700;

  enum Kind { F32, BF16, Int8, FP8, Int4 };
  struct Format {
    const char *name, *element; ///< the latter as in !qwen.cache's text
  };
  static constexpr Format kFormats[] = {
      {"f32", "f32"}, ///< by Kind
      {"bf16", "bf16"},
      {"int8", "!qwen.quant<i8, group = 0, scale = f32>"},
      {"fp8", "!qwen.quant<f8E4M3FN, group = 0, scale = f32>"},
      {"int4", "!qwen.quant<i4, group = 32, scale = f16, zero_points = true>"}};

  /// All zeros, and memory only where something is written.
  explicit LongCache(Kind kind)
      : kind(kind), memory(static_cast<uint8_t *>(std::calloc(2 * planeBytes(), 1))) {}

  std::string type() const {
    return "!qwen.cache<layers = 1, heads = 1, dim = " + std::to_string(kDim) + ", " +
           kFormats[kind].element + ">";
  }
  /// The first slot's address; only kSlot is there.
  uint8_t *cache() const {
    return reinterpret_cast<uint8_t *>(reinterpret_cast<uintptr_t>(memory.get()) - kSlot * 2 * planeBytes());
  }
  Range all() const { return {memory.get(), static_cast<uint64_t>(2 * planeBytes()), false}; }
  /// What belongs to positions from `first` on, and nothing else.
  std::vector<Range> writableFrom(int64_t first) const;

  /// Random keys and values from a position on, and what is none (f32, bf16 and e4m3: NaN) before it.
  void fillFrom(int64_t first);
  double at(int64_t plane, int64_t position, int64_t d) const;

private:
  /// A run of memory of which each position has so many bytes.
  struct Part {
    uint8_t *start;
    int64_t bytes;
    uint8_t *of(int64_t position) const { return start + position * bytes; }
  };
  int64_t codeBytes() const {
    const int64_t bytes[] = {4 * kDim, 2 * kDim, kDim, kDim, kDim / 2};
    return bytes[kind];
  }
  int64_t scaleBytes() const { return kind < Int8 ? 0 : kind == Int4 ? 2 : 4; }
  int64_t zeroBytes() const { return kind == Int4; }
  int64_t planeBytes() const { return kCapacity * (codeBytes() + scaleBytes() + zeroBytes()); }
  Part codes(int64_t plane) const { return {memory.get() + plane * planeBytes(), codeBytes()}; }
  Part scales(int64_t plane) const { return {codes(plane).of(kCapacity), scaleBytes()}; }
  Part zeros(int64_t plane) const { return {scales(plane).of(kCapacity), zeroBytes()}; }
  void fill(int64_t plane, int64_t position, std::mt19937 &random);

  struct Free {
    void operator()(uint8_t *p) const { std::free(p); }
  };
  Kind kind;
  std::unique_ptr<uint8_t, Free> memory;
};

inline std::vector<Range> LongCache::writableFrom(int64_t first) const {
  std::vector<Range> ranges;
  for (int64_t plane : {0, 1})
    for (Part part : {codes(plane), scales(plane), zeros(plane)})
      if (part.bytes)
        ranges.push_back({part.of(first), static_cast<uint64_t>(part.of(kCapacity) - part.of(first)), true});
  return ranges;
}

inline void LongCache::fillFrom(int64_t first) {
  std::mt19937 random(5);
  for (int64_t plane : {0, 1}) {
    for (Part part : {codes(plane), scales(plane), zeros(plane)})
      std::memset(part.start, 0xff, part.of(first) - part.start);
    for (int64_t position = first; position < kCapacity; ++position)
      fill(plane, position, random);
  }
}

inline void LongCache::fill(int64_t plane, int64_t position, std::mt19937 &random) {
  uint8_t *code = codes(plane).of(position), *scale = scales(plane).of(position);
  for (int64_t i = 0; i < codeBytes(); ++i) {
    code[i] = static_cast<uint8_t>(random());
    if (kind == FP8 && (code[i] & 0x7f) == 0x7f) // NaN
      --code[i];
  }
  for (int64_t d = 0; d < kDim && kind <= BF16; ++d) {
    const float x = static_cast<float>(static_cast<int32_t>(random())) *
                    0x1.cp-31f; // up to 1.75, as a normal deviate is large
    const uint16_t rounded = quantization::toBF16(x);
    if (kind == F32)
      std::memcpy(code + 4 * d, &x, 4);
    else
      std::memcpy(code + 2 * d, &rounded, 2);
  }
  const float each = (kind == FP8 ? 0.004f : 0.01f) * static_cast<float>(1 + position % 3);
  const uint16_t half = static_cast<uint16_t>((13 - position % 3) << 10); // 2^-2 to 2^-4
  std::memcpy(scale, scaleBytes() == 2 ? static_cast<const void *>(&half) : &each, scaleBytes());
  if (zeroBytes())
    *zeros(plane).of(position) = static_cast<uint8_t>(random() % 16);
}

inline double LongCache::at(int64_t plane, int64_t position, int64_t d) const {
  const uint8_t *code = codes(plane).of(position), *scale = scales(plane).of(position);
  float x;
  uint16_t half;
  switch (kind) {
  case F32:
    std::memcpy(&x, code + 4 * d, 4);
    return x;
  case BF16:
    std::memcpy(&half, code + 2 * d, 2);
    return quantization::fromBF16(half);
  case Int4: { // byte i of 8 codes has codes i and 4 + i
    const int both = code[d / 8 * 4 + d % 4], own = d % 8 < 4 ? both & 15 : both >> 4;
    std::memcpy(&half, scale, 2);
    return (own - *zeros(plane).of(position)) * static_cast<double>(quantization::fromF16(half));
  }
  case Int8:
  case FP8:
    std::memcpy(&x, scale, 4);
    return x * (kind == Int8 ? code[d] - 128.0 : quantization::fromE4M3(code[d]));
  }
  return NAN;
}

/// The kernels of a planned module as text.
inline Result<std::unique_ptr<Kernels>> emitText(mlir::MLIRContext &context, const std::string &planned,
                                                 const gpu::Device &device) {
  context.appendDialectRegistry(test::allDialects());
  context.loadDialect<qwen::QwenDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(planned, &context);
  if (!module)
    return internalError("expected a planned module");
  return emitKernels(*module, device, gpu::Schedule::Graph);
}

/// A step of rows at the last positions of such a cache.
struct LongStep {
  std::vector<uint8_t> arena;
  std::vector<int32_t> zeros, positions, slots;
  QwenchStep step = {};

  LongStep(const LongCache &cache, int64_t rows, int64_t arenaBytes)
      : arena(arenaBytes, 0xff), zeros(rows), slots(rows, LongCache::kSlot) {
    for (int64_t row = 0; row < rows; ++row)
      positions.push_back(static_cast<int32_t>(LongCache::kCapacity - rows + row));
    step.tokens = step.output_rows = zeros.data();
    step.positions = step.context_lengths = positions.data(), step.slots = slots.data();
    step.rows = rows, step.cache_capacity = LongCache::kCapacity;
    step.arena = arena.data(), step.cache = cache.cache();
  }
  /// All that it points to but the cache.
  std::vector<Range> memory() const {
    return {rangeOf(arena, true), rangeOf(positions), rangeOf(slots), rangeOf(zeros)};
  }
};

} // namespace qwench::gpu_test
