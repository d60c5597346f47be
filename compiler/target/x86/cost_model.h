// Sizes that follow from a CPU: what fits its registers and caches. They become the tile sizes of planned ops, where they can
// be read, and overridden by editing that text before compiling goes on from it.
#pragma once

#include "compiler/target/x86/machine.h"
#include "passes/plan/target_properties.h"

#include "llvm/ADT/StringRef.h"

namespace qwench::x86 {

/// Bytes of a core's first data cache, by LLVM's name for the CPU; 32 KiB for a name that is not known.
int64_t firstLevelCache(llvm::StringRef cpu);

/// Bytes by which kernels fetch streams ahead, by LLVM's name for the CPU; 0: not at all.
int64_t fetchAhead(llvm::StringRef cpu);

/// The tile sizes of an op in steps of at most `rowBound` rows, in the order of its documented tile space. `input` is what
/// the op multiplies a weight's elements with on this machine.
llvm::SmallVector<int64_t> tileSizesOf(const Machine &machine, mlir::Operation *op, int64_t rowBound,
                                       llvm::function_ref<mlir::Type(mlir::Type weight)> input);

/// Runs of keys that attention is split into.
AttentionSplit attentionSplit(qwen::AttentionOp op, int64_t rowBound, int64_t maxContext);

/// Inputs of a linear map that one pass over a panel takes: those whose piece of the panel stays in the first-level cache
/// beside the rows that meet it, or all of the `inputs` where panels go by as they lie in memory.
int64_t inputsPerPass(const Machine &machine, mlir::Type weight, mlir::Type input, int64_t inputs);

/// Whether this backend can emit the op with the tile sizes it has; an error at the op if not.
mlir::LogicalResult verifyTile(const Machine &machine, mlir::Operation *op);

} // namespace qwench::x86
