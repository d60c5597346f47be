/* XXH64, the checksum of bundle sections: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md, written from
 * the specification. One pass over memory; about 10 GB/s. */
#ifndef QWENCH_RUNTIME_ABI_XXH64_H
#define QWENCH_RUNTIME_ABI_XXH64_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QWENCH_XXH_PRIME1 0x9E3779B185EBCA87ull
#define QWENCH_XXH_PRIME2 0xC2B2AE3D27D4EB4Full
#define QWENCH_XXH_PRIME3 0x165667B19E3779F9ull
#define QWENCH_XXH_PRIME4 0x85EBCA77C2B2AE63ull
#define QWENCH_XXH_PRIME5 0x27D4EB2F165667C5ull

static inline uint64_t qwench_xxh_rotate(uint64_t x, int by) { return (x << by) | (x >> (64 - by)); }

static inline uint64_t qwench_xxh_load64(const uint8_t *p) {
  uint64_t value;
  memcpy(&value, p, 8);
  return value;
}

static inline uint64_t qwench_xxh_round(uint64_t lane, uint64_t input) {
  return qwench_xxh_rotate(lane + input * QWENCH_XXH_PRIME2, 31) * QWENCH_XXH_PRIME1;
}

static inline uint64_t qwench_xxh_merge(uint64_t hash, uint64_t lane) {
  return (hash ^ qwench_xxh_round(0, lane)) * QWENCH_XXH_PRIME1 + QWENCH_XXH_PRIME4;
}

/* XXH64 of bytes at data (may be NULL when bytes is 0). Little endian machines only. */
static inline uint64_t qwench_xxh64(const void *data, size_t bytes, uint64_t seed) {
  const uint8_t *p = (const uint8_t *)data;
  size_t left = bytes;
  uint64_t hash = seed + QWENCH_XXH_PRIME5;
  if (left >= 32) {
    uint64_t lanes[4] = {seed + QWENCH_XXH_PRIME1 + QWENCH_XXH_PRIME2, seed + QWENCH_XXH_PRIME2, seed,
                         seed - QWENCH_XXH_PRIME1};
    for (; left >= 32; p += 32, left -= 32)
      for (int i = 0; i < 4; i++)
        lanes[i] = qwench_xxh_round(lanes[i], qwench_xxh_load64(p + 8 * i));
    hash = qwench_xxh_rotate(lanes[0], 1) + qwench_xxh_rotate(lanes[1], 7) + qwench_xxh_rotate(lanes[2], 12) +
           qwench_xxh_rotate(lanes[3], 18);
    for (int i = 0; i < 4; i++)
      hash = qwench_xxh_merge(hash, lanes[i]);
  }
  hash += bytes;
  for (; left >= 8; p += 8, left -= 8)
    hash = qwench_xxh_rotate(hash ^ qwench_xxh_round(0, qwench_xxh_load64(p)), 27) * QWENCH_XXH_PRIME1 +
           QWENCH_XXH_PRIME4;
  if (left >= 4) {
    uint32_t word;
    memcpy(&word, p, 4);
    hash = qwench_xxh_rotate(hash ^ (word * QWENCH_XXH_PRIME1), 23) * QWENCH_XXH_PRIME2 + QWENCH_XXH_PRIME3;
    p += 4, left -= 4;
  }
  for (; left > 0; p++, left--)
    hash = qwench_xxh_rotate(hash ^ (*p * QWENCH_XXH_PRIME5), 11) * QWENCH_XXH_PRIME1;
  hash = (hash ^ (hash >> 33)) * QWENCH_XXH_PRIME2;
  hash = (hash ^ (hash >> 29)) * QWENCH_XXH_PRIME3;
  return hash ^ (hash >> 32);
}

#ifdef __cplusplus
}
#endif
#endif
