// What is handed to a target's lowering by hand may be no planned module, or name kernels that are not there.
// RUN: not qwench-opt %s --split-input-file --qwen-lower="target=cuda gpu=sm_80" 2>&1 | FileCheck %s --check-prefixes=ALL,GPU
// RUN: not qwench-opt %s --split-input-file --qwen-lower="target=x86-64 cpu=x86-64-v4" 2>&1 | FileCheck %s --check-prefix=ALL

// ALL: error: expected the attributes qwen.plan, qwen.plan_hash and qwen.program of a planned module
module {
}

// -----

// ALL: error: expected a number 'layers' in qwen.program
module attributes {qwen.plan_hash = 1 : i64,
    qwen.plan = #qwen.plan<arenaBytes = 1024, threadScratchBytes = 0, weightBytes = 64, cacheBytesPerPosition = 4, cacheGranule = 64, prefillRows = 1, decodeRows = 1>,
    qwen.program = {name = "hand", dtype = f32, kv_dtype = "f32", vocab_size = 4 : i64, logits_stride = 16 : i64, max_context = 64 : i64}} {
}

// -----

// GPU: error: 'qwen.launch' op expected a function @host in every gpu.module
module {
  func.func private @host(!qwen.batch, index, index, memref<?xi8>, index)
  func.func @prefill(%batch: !qwen.batch, %layer: index, %instance: index) {
    %tiles = arith.constant 1 : index
    qwen.launch @host tiles(%tiles) args(%batch, %layer, %instance : !qwen.batch, index, index)
    return
  }
}
