// Products of quantized activations with quantized panels: integers within a group of columns, f32 between groups.
#pragma once

#include "compiler/target/x86/panel_format.h"

namespace qwench::x86 {

/// sum + the four products of unsigned bytes of `weights` and signed bytes of `a` in each lane of 32 bits: vectors of kLanes words and of
/// 4 * kLanes bytes.
mlir::Value dotBytes(KernelBuilder &b, mlir::Value sum, mlir::Value weights, mlir::Value a);

/// C[rows, 32] += A[rows, groups * G] B[groups * G, 32] without the row scales of B, divided by format.sumFactor(). The first group
/// is the first of a scale of A.
struct GroupProduct {
  PanelFormat format;
  int64_t groupsPerScale; ///< of A: groups of B, for each of which A has a sum, that share a scale of A
  mlir::Value a;          ///< memref<?xi8>: activations
  mlir::Value rowOffsets; ///< memref<?xi64>: where row i of A starts, in bytes
  mlir::Value codesAt;    ///< bytes from a row's start to the codes of the first group
  mlir::Value scalesAt;   ///< bytes from a row's start to the scale of the first group
  mlir::Value sumsAt;     ///< bytes from a row's start to the sum of the first group, as kSumFactor says
  mlir::Value b;          ///< memref<?xi8>: the panel
  mlir::Value bStart;     ///< bytes of `b` before the first group
  mlir::Value groups;
  mlir::Value c;          ///< memref<?xf32>
  bool stream = false;    ///< the panel comes from memory: fetch what follows ahead of use
};

/// Rows of the micro-kernels for a format, largest first: an accumulator of integers and one of floats for each row and
/// half, and registers for unpacking where codes are not bytes.
llvm::SmallVector<int64_t> groupRowBlocks(const Machine &machine, const PanelFormat &format);

/// Emits the product for rows of A listed from `row` on; `cStart` is in elements of `c`, whose rows are 32 apart.
void emitGroupProduct(KernelBuilder &b, const GroupProduct &product, mlir::Value row, int64_t rows, mlir::Value cStart);

/// Emits the unpacking of `groups` groups from byte `start` of `panel` on to the start of `to`, in format.unpacked().
void emitUnpack(KernelBuilder &b, const PanelFormat &format, mlir::Value panel, mlir::Value start, mlir::Value groups, mlir::Value to);

/// The same in format.unpackedPairs(); `inverse`, memref<?xf32>, has the inverse of each lane's unit.
void emitUnpackPairs(KernelBuilder &b, const PanelFormat &format, mlir::Value panel, mlir::Value start, mlir::Value groups,
                     mlir::Value inverse, mlir::Value to);

/// Emits what the scales of a panel, of `groups` groups from byte `start` of `panel` on, count in format.unpackedPairs(): for each lane
/// the unit times its row scale, and from element kPanel on the unit's inverse, to the start of `to`, memref<?xf32>.
void emitPairUnits(KernelBuilder &b, const PanelFormat &format, mlir::Value panel, mlir::Value start, mlir::Value groups, mlir::Value to);

} // namespace qwench::x86
