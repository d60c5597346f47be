// How a panel of a quantized weight is read: where its parts lie, and its codes and scales in registers.
//
// A panel is [row scales: 32 x f32, if any], then for each group of columns [scales: 32][zero points: 32 bytes, if any]
// [codes: a step of 32 lanes for every four columns]; see #qwen.layout.
#pragma once

#include "compiler/target/x86/kernel_builder.h"

#include <array>

namespace qwench::x86 {

/// Columns of a step of codes: the four products of one vpdpbusd lane.
constexpr int64_t kStepColumns = 4;

/// A row of activations has kSumOffset - kSumFactor * the sum of a group's codes: what the sum of products with bytes of bias 16,
/// those of e2m1, starts from, 2^15 higher, so that it fits an unsigned half of a word where the group has 16 columns.
constexpr int64_t kSumFactor = 16, kSumOffset = 1 << 15;

/// The largest integer scale of a group in a pair: 15, the largest mantissa of an e4m3 as an integer, times 2^9, so that scales are
/// exact down to a 512th of the lane's largest.
constexpr int64_t kPairScaleShift = 9, kMostPairScale = 15 << kPairScaleShift;

/// Whether panels of such a weight begin with a scale for each row, by which products are multiplied in the end.
bool hasRowScales(qwen::QuantType type);

struct PanelFormat {
  int64_t bits;       ///< of a code
  int64_t bias;       ///< the unsigned byte that meets an activation is the code's value plus this; a power of two
  bool lookup;        ///< codes are f4E2M1FN; the byte is twice the value plus the bias
  bool zeroPoints;
  bool rowScales;     ///< f32 for each row, before the groups
  mlir::Type scale;   ///< of a group; null if only rows have scales; i16 where groups lie in pairs
  int64_t group;      ///< columns of a sum of activations, and of the weight's scales if it has any
  float factor = 1;   ///< of every scale, for bytes that hold a multiple of the value

  /// Of a weight that is read in groups of `group` columns.
  static PanelFormat of(qwen::QuantType type, int64_t group);
  /// What unpacked panels are: a byte for each code, relative scales in f32, no zero points, in scratch.
  PanelFormat unpacked(mlir::MLIRContext *context) const;
  /// The same in pairs of groups, [scales: 32 x two i16, of the second and of the first][codes of the first][codes of the second]: the
  /// sums of a pair, of 16 bits, meet both scales in one instruction. Scales count units, a power of two for each lane.
  PanelFormat unpackedPairs(mlir::MLIRContext *context) const;
  /// Whether unpackedPairs() holds a panel of `groups` groups, `groupsPerScale` of which share a scale of activations.
  bool pairsFit(const Machine &machine, int64_t groups, int64_t groupsPerScale) const;
  bool paired() const { return scale && scale.isInteger(16); }

  int64_t headerBytes() const { return rowScales ? 4 * kPanel : 0; }
  int64_t stepBytes() const { return kPanel * kStepColumns * bits / 8; }
  int64_t codesAt() const; ///< bytes from a group's start to its codes
  int64_t pairCodesAt() const { return 2 * codesAt(); } ///< bytes from a pair's start to the codes of its first group
  int64_t groupBytes() const { return codesAt() + group / kStepColumns * stepBytes(); }
  /// What sums of products with relative scales are multiplied with; a power of two.
  float sumFactor() const;
  /// Tells formats apart in the names of functions.
  std::string name() const;
};

using Halves = std::array<mlir::Value, 2>; ///< lanes 0..15 and 16..31 of a panel

/// Codes and scales of a panel at `memory` (memref<?xi8>) in registers.
class PanelReader {
public:
  PanelReader(KernelBuilder &b, const PanelFormat &format, mlir::Value memory) : b(b), format(format), memory(memory) {}

  /// The f32 scales of 32 rows for the group that starts at byte `at`; format.scale is not null.
  Halves scales(mlir::Value at);
  /// These divided by format.sumFactor(): what costs least to read.
  Halves relativeScales(mlir::Value at);
  /// The scales of the pair at byte `at`, two i16 for each lane.
  Halves pairScales(mlir::Value at);
  /// The zero points of the group at byte `at`, as what `step` and `start` take; nulls if there are none.
  Halves zeros(mlir::Value at);
  /// The unsigned bytes of the step at byte `at`: vector<64xi8> of 16 lanes by 4 columns.
  Halves step(mlir::Value at, const Halves &zeros);
  /// What a lane's sum of products starts from; `sum` is that of the activations' group as their row has it.
  Halves start(mlir::Value sum, const Halves &zeros);

  /// Whether zero points, as words, are left to start(): less one, a code of 8 bits does not fit a byte of step().
  bool zerosInStart() const { return format.zeroPoints && format.bits == 8; }

private:
  /// The bytes of e2m1 codes, a table's entries; vpshufb takes no other bits in a code's byte.
  mlir::Value lookUp(mlir::Value codes);

  KernelBuilder &b;
  const PanelFormat &format;
  mlir::Value memory;
};

/// The f32 scales of 32 rows at byte `at` of a quantized weight's memory, the panel's start.
Halves readRowScales(KernelBuilder &b, mlir::Value memory, mlir::Value at);

/// f32 of scales or codes as they lie in memory: `raw` is a vector of i8 with the elements' bytes, or of i8 codes for
/// one-byte types.
mlir::Value scalesToFloat(KernelBuilder &b, mlir::Value raw, mlir::Type scale);
/// The same divided by relativeTo(scale), a power of two.
mlir::Value scalesToRelative(KernelBuilder &b, mlir::Value raw, mlir::Type scale);
float relativeTo(mlir::Type scale);

/// Twice the value of f4E2M1FN codes, as signed bytes: any vector of i8 that holds 0..15.
mlir::Value twiceE2M1(KernelBuilder &b, mlir::Value codes);

} // namespace qwench::x86
