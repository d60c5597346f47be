/* The tokenizer section of a compiled model: a byte-level BPE tokenizer as tables that are used where they
 * lie, so that opening it parses nothing. Written by frontends/huggingface/tokenizer, read by
 * runtime/tokenizer.
 *
 * The blob starts with QwenchTokenizerHeader. Offsets count bytes from the start of the blob and are
 * multiples of 8; the ranges lie inside `bytes` and may not overlap the header. Little endian. A reader
 * checks everything that it will use as an index before it uses it. */
#ifndef QWENCH_RUNTIME_ABI_TOKENIZER_FORMAT_H
#define QWENCH_RUNTIME_ABI_TOKENIZER_FORMAT_H

#include <stdint.h>

#define QWENCH_TOKENIZER_MAGIC "QWNCHTOK" /* 8 bytes, no terminator */
#define QWENCH_TOKENIZER_VERSION 1
#define QWENCH_TOKENIZER_MAX_TOKENS (1u << 24)
#define QWENCH_TOKENIZER_MAX_PIECE_BYTES (1u << 16) /* of one token */
#define QWENCH_TOKENIZER_MAX_PATTERN_BYTES 65536
#define QWENCH_TOKENIZER_NONE 0xffffffffu

enum {
  QWENCH_TOKENIZER_NFC = 1u << 0, /* text outside added tokens is brought to Unicode normalization form C */
};

enum {
  QWENCH_ADDED_SPECIAL = 1u << 0,     /* left out by decoding without special tokens */
  QWENCH_ADDED_NORMALIZED = 1u << 1,  /* looked for after normalization; its text is stored normalized */
  QWENCH_ADDED_LSTRIP = 1u << 2,      /* takes the white space before it */
  QWENCH_ADDED_RSTRIP = 1u << 3,      /* takes the white space after it */
  QWENCH_ADDED_SINGLE_WORD = 1u << 4, /* only between characters that are no word characters */
};

/* Two neighbouring symbols that become one. Open addressing, linear probing, from slot
 * qwench_merge_hash(left, right) & (merge_slots - 1). A free slot has left == QWENCH_TOKENIZER_NONE. */
typedef struct QwenchMerge {
  uint32_t left, right; /* token ids */
  uint32_t rank;        /* lower goes first; unique */
  uint32_t merged;      /* token id */
} QwenchMerge;

/* A token that BPE makes of its own bytes, so that a piece of text with these bytes needs no merging. Open
 * addressing, linear probing, from slot qwench_bytes_hash(bytes) & (word_slots - 1). A free slot has id ==
 * QWENCH_TOKENIZER_NONE. */
typedef struct QwenchWord {
  uint32_t id;
  uint32_t hash; /* upper half of qwench_bytes_hash(bytes) */
} QwenchWord;

/* A token that is found in the text before it is split. Sorted by: not normalized before normalized, then by
 * the first byte of the text, then longer before shorter. */
typedef struct QwenchAddedToken {
  uint32_t id;
  uint32_t flags;       /* QWENCH_ADDED_* */
  uint32_t text_offset; /* in the text range */
  uint32_t text_bytes;  /* >= 1 */
} QwenchAddedToken;

typedef struct QwenchTokenizerHeader {
  char magic[8];
  uint32_t version;
  uint32_t flags;       /* QWENCH_TOKENIZER_* */
  uint64_t bytes;       /* of the whole blob */
  uint32_t token_count; /* ids run from 0 to token_count - 1; an id that no token has, has an empty piece */
  uint32_t merge_slots; /* a power of two; at least one slot is free */
  uint32_t word_slots;  /* a power of two; at least one slot is free */
  uint32_t added_count;
  uint64_t byte_tokens_offset; /* uint32_t[256]: token of each single byte */
  uint64_t
      pieces_offset; /* uint32_t[token_count + 1]: where each token's bytes start in piece_bytes; ascending */
  uint64_t piece_bytes_offset; /* what each token decodes to, one after the other */
  uint64_t piece_bytes;
  uint64_t merges_offset; /* QwenchMerge[merge_slots] */
  uint64_t words_offset;  /* QwenchWord[word_slots] */
  uint64_t added_offset;  /* QwenchAddedToken[added_count] */
  uint64_t text_offset;   /* texts of the added tokens, UTF-8 */
  uint64_t text_bytes;
  uint64_t pattern_offset; /* what splits text into pieces: a PCRE2 pattern, UTF-8, for UTF and UCP mode */
  uint64_t pattern_bytes;  /* 0: text is not split */
} QwenchTokenizerHeader;

static inline uint64_t qwench_hash_mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0x9e3779b97f4a7c15ull;
  x ^= x >> 29;
  x *= 0xbf58476d1ce4e5b9ull;
  return x ^ (x >> 32);
}

static inline uint64_t qwench_merge_hash(uint32_t left, uint32_t right) {
  return qwench_hash_mix((uint64_t)left << 32 | right);
}

static inline uint64_t qwench_bytes_hash(const uint8_t *bytes, uint64_t count) {
  uint64_t hash = count, word;
  uint64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __builtin_memcpy(&word, bytes + i, 8);
    hash = qwench_hash_mix(hash ^ word);
  }
  word = 0;
  for (; i < count; i++)
    word = word << 8 | bytes[i];
  return qwench_hash_mix(hash * 0x9e3779b97f4a7c15ull + word);
}

#endif
