// The list of tile programs.
#include "compiler/target/x86/kernels.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;

ArrayRef<TileProgram> x86::tilePrograms() {
  static const TileProgram programs[] = {
      {"qwen.embedding", rowTiles, emitEmbedding},
      {"qwen.rope_table", rowTiles, emitRopeTable},
      {"qwen.rms_norm", rowTiles, emitRmsNorm},
      {"qwen.quantize", rowTiles, emitQuantize},
      {"qwen.linear", linearTiles, emitLinear},
      {"qwen.fused_linear", linearTiles, emitLinear},
      {"qwen.rope", rowTiles, emitRope},
      {"qwen.cache_write", rowTiles, emitCacheWrite},
      {"qwen.qk_norm_rope_cache", qkNormRopeCacheTiles, emitQkNormRopeCache},
      {"qwen.attention", attentionTiles, emitAttention},
      {"qwen.attention_combine", attentionCombineTiles, emitAttentionCombine},
      {"qwen.swiglu", rowTiles, emitSwiglu},
      {"qwen.add", rowTiles, emitAdd},
      {"qwen.router", rowTiles, emitRouter},
      {"qwen.fused_router", rowTiles, emitFusedRouter},
      {"qwen.dispatch", oneTile, emitDispatch},
      {"qwen.grouped_linear", groupedTiles, emitGroupedLinear},
      {"qwen.combine", rowTiles, emitCombine},
      {"qwen.grouped_linear_combine", groupedTiles, emitGroupedLinearCombine},
      {"qwen.output_rows", rowTiles, emitOutputRows},
  };
  return programs;
}

const TileProgram *x86::findTileProgram(Operation *op) {
  for (const TileProgram &program : tilePrograms())
    if (op->getName().getStringRef() == program.op)
      return &program;
  return nullptr;
}

int64_t x86::padded(int64_t width) { return (width + kPanel - 1) / kPanel * kPanel; }
