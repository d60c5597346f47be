// The tile programs of the x86 backend: for each planned op a body and a number of tiles.
#pragma once

#include "compiler/target/x86/cache.h"
#include "compiler/target/x86/kernel_builder.h"

namespace qwench::x86 {

/// Bytes of one thread's scratch, and how kernels divide it.
constexpr int64_t kScratchBytes = 512 << 10;
/// Most rows whose offsets a kernel lists at once.
constexpr int64_t kMaxListedRows = 512;
/// Most experts of a router: a block of rows' probabilities stays in scratch.
constexpr int64_t kMaxExperts = 2048;
/// Most query vectors (rows by heads of a group) of an attention tile, unless one row has more: whole blocks of the
/// micro-kernels (12 rows) and of tiles (32 rows).
constexpr int64_t kQueryBlock = 96;
/// Tiles of attention that one row gives at least: runs of keys by key/value heads. Enough for any team to share evenly.
constexpr int64_t kAttentionTiles = 128;
/// Finite, so that the difference of two of them is 0, not NaN: the score of a key that is not attended to.
constexpr float kMasked = -1e30f;

/// What emits one op: its tiles, counted where it is launched, and the body of one tile.
struct TileProgram {
  llvm::StringLiteral op;
  mlir::Value (*tiles)(KernelBuilder &b, mlir::Operation *op);
  void (*body)(KernelBuilder &b, mlir::Operation *op);
};

/// All of them; an op that is not listed is one that this backend cannot lower.
llvm::ArrayRef<TileProgram> tilePrograms();
const TileProgram *findTileProgram(mlir::Operation *op);

// linear_kernels.cpp
mlir::Value linearTiles(KernelBuilder &b, mlir::Operation *op);
void emitLinear(KernelBuilder &b, mlir::Operation *op);
// row_kernels.cpp
mlir::Value rowTiles(KernelBuilder &b, mlir::Operation *op);
void emitEmbedding(KernelBuilder &b, mlir::Operation *op);
void emitRmsNorm(KernelBuilder &b, mlir::Operation *op);
void emitSwiglu(KernelBuilder &b, mlir::Operation *op);
void emitAdd(KernelBuilder &b, mlir::Operation *op);
void emitOutputRows(KernelBuilder &b, mlir::Operation *op);
// quantize_kernels.cpp
void emitQuantize(KernelBuilder &b, mlir::Operation *op);
/// Writes row `row` of `out`, of quantized elements: `load` gives 16 columns of it from a column on.
void quantizeRow(KernelBuilder &b, const Rows &out, mlir::Value row, llvm::function_ref<mlir::Value(mlir::Value)> load);
/// Writes row `token` of a table in quantized panels to `out`, f32, from element `target` on.
void gatherQuantizedRow(KernelBuilder &b, const Weight &table, mlir::Value token, const Rows &out, mlir::Value target);
// rotary_kernels.cpp
void emitRopeTable(KernelBuilder &b, mlir::Operation *op);
void emitRope(KernelBuilder &b, mlir::Operation *op);
void emitCacheWrite(KernelBuilder &b, mlir::Operation *op);
mlir::Value qkNormRopeCacheTiles(KernelBuilder &b, mlir::Operation *op);
void emitQkNormRopeCache(KernelBuilder &b, mlir::Operation *op);
// attention_kernels.cpp
/// Scratch that a tile of this many query vectors takes.
int64_t attentionScratchBytes(qwen::AttentionOp op, int64_t queries);
mlir::Value attentionTiles(KernelBuilder &b, mlir::Operation *op);
void emitAttention(KernelBuilder &b, mlir::Operation *op);
mlir::Value attentionCombineTiles(KernelBuilder &b, mlir::Operation *op);
void emitAttentionCombine(KernelBuilder &b, mlir::Operation *op);
// moe_kernels.cpp
mlir::Value oneTile(KernelBuilder &b, mlir::Operation *op);
mlir::Value groupedTiles(KernelBuilder &b, mlir::Operation *op);
void emitRouter(KernelBuilder &b, mlir::Operation *op);
void emitFusedRouter(KernelBuilder &b, mlir::Operation *op);
void emitDispatch(KernelBuilder &b, mlir::Operation *op);
void emitGroupedLinear(KernelBuilder &b, mlir::Operation *op);
void emitCombine(KernelBuilder &b, mlir::Operation *op);
void emitGroupedLinearCombine(KernelBuilder &b, mlir::Operation *op);

// Shared by several of them.
/// Runs `body(row)` for the rows of this tile of an op whose tile space is the rows of `of`.
void forTileRows(KernelBuilder &b, mlir::Operation *op, mlir::Value of, llvm::function_ref<void(mlir::Value)> body);
/// 1 / sqrt(mean of squares + eps) of `width` elements (a multiple of kLanes, zeros behind `count`) from `at` on.
mlir::Value inverseRms(KernelBuilder &b, mlir::Value memory, mlir::Value at, int64_t width, int64_t count, float eps);
int64_t padded(int64_t width);

} // namespace qwench::x86
