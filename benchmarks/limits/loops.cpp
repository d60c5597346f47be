#include "benchmarks/limits/loops.h"

#include <cstring>
#include <immintrin.h>

namespace qwench::limits {

namespace {

// 16 independent accumulators: two ports times a latency of at most 8 cycles, where vdpbf16ps is slowest.
// With the two operands they fill 18 of 32 registers, so the loops touch no memory.
constexpr int kAccumulators = 16;

/// Makes the compiler believe that the value may be anything, so that nothing folds.
template <typename Vector>
__attribute__((target("avx512f"), always_inline)) inline Vector opaque(Vector value) {
  asm volatile("" : "+v"(value));
  return value;
}

#define QWENCH_COMPUTE_LOOP(name, features, Accumulator, zero, Operand, operand, instruction)                \
  __attribute__((target(features), noinline)) void name(int64_t iterations) {                                \
    const Operand a = opaque((Operand)operand), b = opaque((Operand)operand);                                \
    Accumulator sums[kAccumulators];                                                                         \
    for (Accumulator &sum : sums)                                                                            \
      sum = opaque(zero());                                                                                  \
    for (int64_t i = 0; i < iterations; ++i)                                                                 \
      _Pragma("clang loop unroll(full)") for (Accumulator &sum : sums) sum = instruction;                    \
    for (Accumulator &sum : sums)                                                                            \
      sum = opaque(sum);                                                                                     \
  }

QWENCH_COMPUTE_LOOP(fmaLoop, "avx512f", __m512, _mm512_setzero_ps, __m512, _mm512_setzero_ps(),
                    _mm512_fmadd_ps(a, b, sum))
QWENCH_COMPUTE_LOOP(bf16Loop, "avx512f,avx512bf16", __m512, _mm512_setzero_ps, __m512bh, _mm512_setzero_ps(),
                    _mm512_dpbf16_ps(sum, a, b))
QWENCH_COMPUTE_LOOP(int8Loop, "avx512f,avx512vnni", __m512i, _mm512_setzero_si512, __m512i,
                    _mm512_setzero_si512(), _mm512_dpbusd_epi32(sum, a, b))

#undef QWENCH_COMPUTE_LOOP

// One sequential stream, eight loads of a cache line in flight per iteration.
__attribute__((target("avx512f"), noinline)) void readLoop(const std::byte *data, size_t bytes) {
  __m512i sums[8];
  for (__m512i &sum : sums)
    sum = _mm512_setzero_si512();
  for (size_t at = 0; at + 512 <= bytes; at += 512)
    for (int i = 0; i < 8; ++i)
      sums[i] = _mm512_xor_si512(sums[i], _mm512_load_si512(data + at + 64 * i));
  for (__m512i &sum : sums)
    sum = opaque(sum);
}

// Operations of an instruction: lanes x products of a lane x (multiply, add).
constexpr Loop kLoops[] = {
    {"read-2m", "read, 2 MiB pages", "GB/s", "avx512f", 0, nullptr, readLoop, true},
    {"read-4k", "read, 4 KiB pages", "GB/s", "avx512f", 0, nullptr, readLoop, false},
    {"f32", "f32 vfmadd231ps", "GFLOP/s", "avx512f", kAccumulators * 16 * 1 * 2, fmaLoop},
    {"bf16", "bf16 vdpbf16ps", "GFLOP/s", "avx512bf16", kAccumulators * 16 * 2 * 2, bf16Loop},
    {"int8", "int8 vpdpbusd", "GOP/s", "avx512vnni", kAccumulators * 16 * 4 * 2, int8Loop},
};

} // namespace

std::span<const Loop> loops() { return kLoops; }

bool supported(const Loop &loop) {
  if (!__builtin_cpu_supports("avx512f"))
    return false;
  if (!strcmp(loop.feature, "avx512bf16"))
    return __builtin_cpu_supports("avx512bf16");
  if (!strcmp(loop.feature, "avx512vnni"))
    return __builtin_cpu_supports("avx512vnni");
  return true;
}

} // namespace qwench::limits
