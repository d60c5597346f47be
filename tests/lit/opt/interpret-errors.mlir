// RUN: not qwench-opt %s --qwen-interpret 2>&1 | FileCheck %s --check-prefix=TOKENS
// RUN: not qwench-opt %S/../dialects/model.mlir --qwen-interpret="tokens=331" 2>&1 | FileCheck %s --check-prefix=VOCABULARY
// RUN: not qwench-opt %s --qwen-interpret="tokens=1" 2>&1 | FileCheck %s --check-prefix=STAGE
// RUN: not qwench-opt %S/../passes/normalize/prune-weights.mlir --qwen-interpret="tokens=1" 2>&1 | FileCheck %s --check-prefix=FORWARD

// TOKENS: expected tokens=ID,... of qwen-interpret
// VOCABULARY: expected a token below 331, found 331
// STAGE: expected an op of the model or fused stage, found qwen.buffer
// FORWARD: expected a function @forward of one block
func.func @forward(%batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 1, dim = 2, f32>) {
  %logits = qwen.buffer at 0 logits : memref<4xf32>
  return
}
