// The KV cache in memory: where the keys and values of a slot, layer and head are, how they are written and how blocks of
// them are read.
//
// Capacity C (a multiple of 64 positions), vectors of D elements:
//   cache [slots][layers][heads][keys, values][C * vectorBytes]
// Keys of floats are panels of 32 positions, packed as weights [positions, D] are; values are blocks of 64 positions, each
// packed as weights [D, 64]: panels of 32 columns. So both are the right operand of the micro-kernels as they lie, and one
// query's pass over a block reads each as one stream.
//
// Quantized keys and values are blocks of 64 positions, each [codes][scales: groups x 64][zero points: groups x 64]:
//   keys    [4 x 16 positions][D / n][16 lanes: positions] words of n columns, n = 8 codes of 4 bits or 4 of 8 bits;
//           byte i of a 4-bit word has columns i (low) and 4 + i (high)
//   values  [D / m][16 x 4 positions][16 lanes: columns] words of 4 positions, a byte each, m = 16 columns of 8 bits, or
//           32 of 4 bits: lane l has columns l (low) and 16 + l (high)
// A byte belongs to one position, so that tiles of different rows never write the same one. i8 is stored plus 128.
#pragma once

#include "compiler/target/x86/kernel_builder.h"

#include <memory>

namespace qwench::x86 {

/// Keys that one pass of streaming softmax takes; the cache's capacity is a multiple.
constexpr int64_t kKeyBlock = 64;

/// Where a cache keeps the keys and values of one slot, layer and head.
struct CacheHead {
  mlir::Value memory; ///< memref<?xT>; of bytes if quantized
  mlir::Value keys;   ///< index of the first key's element (byte if quantized)
  mlir::Value values;
  int64_t dim, depth; ///< depth: positions (values) or columns (keys) of a step of the micro-kernels
};
CacheHead cacheHead(KernelBuilder &b, qwen::CacheType type, mlir::Value slot, mlir::Value head);

/// Where column `column` of a block of values begins, in elements from the block's first; a multiple of 16 columns.
mlir::Value placeOfColumn(KernelBuilder &b, mlir::Value column, int64_t depth);

/// The sizes of a block of 64 quantized keys or values, in bytes.
struct CacheBlock {
  explicit CacheBlock(qwen::CacheType type);

  qwen::QuantType quant;
  int64_t dim, columns, groups; ///< columns of a group
  int64_t bits;
  int64_t scalesAt, zerosAt, bytes;
};

/// Writes vectors of f32 into the cache, through scratch.
class CacheWriter {
public:
  /// Scratch from byte `scratchAt` on is used: scratchBytes(type) of it.
  CacheWriter(KernelBuilder &b, qwen::CacheType type, int64_t scratchAt);
  static int64_t scratchBytes(qwen::CacheType type) { return type.getDim() * 4; }

  /// One head's key (value), `dim` f32 at `source[at]`.
  void writeKey(KernelBuilder &b, const CacheHead &head, mlir::Value source, mlir::Value at, mlir::Value position);
  void writeValue(KernelBuilder &b, const CacheHead &head, mlir::Value source, mlir::Value at, mlir::Value position);

private:
  /// Codes to scratch, scale and zero points to the block that starts at `block`.
  void quantize(KernelBuilder &b, mlir::Value source, mlir::Value at, mlir::Value block, mlir::Value place);
  void quantizeGroup(KernelBuilder &b, mlir::Value source, mlir::Value at, mlir::Value block, mlir::Value place, int64_t group);

  qwen::CacheType type;
  mlir::Value rounded;         ///< one vector in the cache's element type, or its codes as bytes
  mlir::Value codeWords;       ///< the codes as i32
  mlir::Value bytes, cacheWords; ///< the whole cache
};

/// Where the codes of a quantized cache's blocks are, and what they say.
class CacheCodes {
public:
  CacheCodes(KernelBuilder &b, qwen::CacheType type);

  const CacheBlock layout;
  mlir::Value bytes, words; ///< the whole cache, memref<?xi8> and memref<?xi32>

  /// Byte where block `block` begins.
  mlir::Value keyBlock(KernelBuilder &b, const CacheHead &head, mlir::Value block) const;
  mlir::Value valueBlock(KernelBuilder &b, const CacheHead &head, mlir::Value block) const;
  /// A vector of a block's words: word `word` of the keys at 16 positions from 16 * part on; 4 positions from 4 * quad on
  /// of the columns of chunk `chunk`.
  mlir::Value keyWords(KernelBuilder &b, mlir::Value start, mlir::Value part, mlir::Value word) const;
  mlir::Value valueWords(KernelBuilder &b, mlir::Value start, mlir::Value chunk, mlir::Value quad) const;
  int64_t codesPerWord() const { return 32 / layout.bits; }
  int64_t wordsPerKey() const { return layout.dim / codesPerWord(); }
  /// Columns of a chunk of values, and vectors of columns in it.
  int64_t chunkColumns() const { return kLanes * halves(); }
  int64_t halves() const { return 8 / layout.bits; }
  int64_t chunks() const { return layout.dim / chunkColumns(); }
  /// Bit of a key's word where the code of its column i begins: of a word of 4-bit codes, byte i has columns i and 4 + i.
  int64_t keyShift(int64_t i) const { return layout.bits == 8 ? 8 * i : 8 * (i % 4) + 4 * (i / 4); }

  /// Scales and zero points, as f32, of the 16 values from `stat` on of a block's [groups][64]. Codes without a zero point
  /// have none: null.
  mlir::Value scales(KernelBuilder &b, mlir::Value start, mlir::Value stat) const;
  mlir::Value zeros(KernelBuilder &b, mlir::Value start, mlir::Value stat) const;
  /// Codes are integers, from which a zero point is subtracted.
  bool integers() const { return layout.quant.getStorage().isSignlessInteger(); }
  /// 16 codes: bits `shift` and up of each word, as f32 without scale and zero.
  mlir::Value decode(KernelBuilder &b, mlir::Value words, int64_t shift) const;

private:
  mlir::Value wordsAt(KernelBuilder &b, mlir::Value word) const;
  void prefetchBlock(KernelBuilder &b, mlir::Value memory, mlir::Value at, int64_t length) const;
};

/// Scales and -(zero point) * scale of a block's groups, as f32 in scratch: [groups][64] each.
struct CacheScales {
  CacheScales(KernelBuilder &b, const CacheBlock &layout, int64_t scratchAt);
  static int64_t scratchBytes(const CacheBlock &layout) { return 2 * 4 * layout.groups * kKeyBlock; }
  void read(KernelBuilder &b, const CacheCodes &codes, mlir::Value start);

  mlir::Value scales, offsets;
};

/// Makes blocks of a quantized cache floats in scratch, for the micro-kernels and tiles.
class CacheReader {
public:
  /// `element`: what blocks become, f32 or bf16.
  CacheReader(KernelBuilder &b, qwen::CacheType type, mlir::Type element, int64_t scratchAt);
  static int64_t scratchBytes(qwen::CacheType type);

  /// Columns (of keys) or positions (of values) that a step of a block has.
  int64_t depth() const { return element.isF32() ? 1 : 2; }
  /// The keys of a block: panels of 32 positions, D / depth() steps of 32.
  mlir::Value keys(KernelBuilder &b, const CacheHead &head, mlir::Value block);
  /// The values of a block: panels of 32 columns, 64 / depth() steps of 32.
  mlir::Value values(KernelBuilder &b, const CacheHead &head, mlir::Value block);

private:
  /// code * scale + offset, if there is one, for a block; of bf16 it is rounded.
  mlir::Value value(KernelBuilder &b, mlir::Value code, mlir::Value scale, mlir::Value offset);
  /// Stores values[i], column (position) i of a word, at element `at` of the block, steps `stride` elements apart.
  void storeSteps(KernelBuilder &b, llvm::ArrayRef<mlir::Value> values, mlir::Value at, int64_t stride);

  CacheCodes codes;
  mlir::Type element;
  CacheScales scales;
  mlir::Value block; ///< scratch
};

/// Products of a few query vectors with blocks of a quantized cache, whose codes are read once and go no further than
/// registers. Q and P are of f32 or bf16, S and O of f32.
class CodeProducts {
public:
  virtual ~CodeProducts() = default;
  /// Looks at a tile's queries, Q [vectors, D], before any product with them.
  virtual void begin(KernelBuilder &b, mlir::Value queries) = 0;
  /// S [vectors, 64] = Q K^T of a block.
  virtual void scores(KernelBuilder &b, const CacheHead &head, mlir::Value block, mlir::Value scores) = 0;
  /// O [vectors, D] += P V of a block: P [vectors, 64].
  virtual void addValues(KernelBuilder &b, const CacheHead &head, mlir::Value block, mlir::Value weights, mlir::Value out) = 0;

  /// Those of bytes where codes are integers and the CPU multiplies bytes, else those of floats.
  static std::unique_ptr<CodeProducts> create(KernelBuilder &b, qwen::CacheType type, int64_t vectors, int64_t scratchAt);
  static int64_t scratchBytes(qwen::CacheType type, int64_t vectors);
};

} // namespace qwench::x86
