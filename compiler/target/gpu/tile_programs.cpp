// The list of tile programs.
#include "compiler/target/gpu/kernels.h"

using namespace mlir;

namespace qwench::gpu {

ArrayRef<TileProgram> tilePrograms() {
  static const TileProgram programs[] = {
      {"qwen.embedding", {4, rowTiles, emitEmbedding}},
      {"qwen.rope_table", {1, rowTiles, emitRopeTable}},
      {"qwen.rms_norm", {8, rowTiles, emitRmsNorm}},
      {"qwen.linear", {4, linearTiles, emitLinear, emitLinearAhead, linearTogether}},
      {"qwen.fused_linear", {4, linearTiles, emitLinear, emitLinearAhead, linearTogether}},
      {"qwen.rope", {4, rowTiles, emitRope}},
      {"qwen.cache_write", {4, rowTiles, emitCacheWrite}},
      {"qwen.qk_norm_rope_cache", {4, qkNormRopeCacheTiles, emitQkNormRopeCache}},
      {"qwen.attention", {4, attentionTiles, emitAttention, nullptr, attentionTogether}},
      {"qwen.attention_combine", {4, attentionCombineTiles, emitAttentionCombine}},
      {"qwen.swiglu", {4, rowTiles, emitSwiglu}},
      {"qwen.add", {4, rowTiles, emitAdd}},
      {"qwen.router", {1, rowTiles, emitRouter}},
      {"qwen.dispatch", {8, oneTile, emitDispatch}},
      {"qwen.router_dispatch", {8, oneTile, emitRouterDispatch}},
      {"qwen.grouped_linear", {4, groupedTiles, emitGroupedLinear, nullptr, linearTogether}},
      {"qwen.combine", {4, rowTiles, emitCombine}},
      {"qwen.grouped_linear_combine", {4, combineTiles, emitGroupedLinearCombine, emitGroupedLinearCombineAhead, linearTogether}},
      {"qwen.output_rows", {4, rowTiles, emitOutputRows}},
      {"qwen.sample", {8, rowTiles, emitSample}},
  };
  return programs;
}

const TileProgram *findTileProgram(Operation *op) {
  for (const TileProgram &program : tilePrograms())
    if (op->getName().getStringRef() == program.op)
      return &program;
  return nullptr;
}

} // namespace qwench::gpu
