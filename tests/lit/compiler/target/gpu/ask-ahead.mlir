// What a launch asks of memory before it begins: blocks that will have a tile of its own ask, between their coming to the barrier
// and their waiting there. What is checked is the first dump.
// RUN: qwench-opt %s --qwen-lower="target=cuda gpu=sm_80 schedule=persistent" --mlir-print-ir-after-all -o /dev/null 2>&1 | FileCheck %s

module attributes {qwen.stage = "kernels", qwen.model = {name = "hand", max_context = 64 : i64}, qwen.plan_hash = 1 : i64,
    qwen.plan = #qwen.plan<arenaBytes = 1024, threadScratchBytes = 0, weightBytes = 64, cacheBytesPerPosition = 4, cacheGranule = 64, prefillRows = 1, decodeRows = 1>,
    qwen.program = {name = "hand", dtype = f32, kv_dtype = "f32", vocab_size = 4 : i64, logits_stride = 16 : i64, max_context = 64 : i64, layers = 3 : i64,
                    weight_bytes_per_token = 64 : i64, flops_per_token = 1 : i64, flops_per_output = 1 : i64, attention_flops_per_pair = 1 : i64}} {
  gpu.module @sm_80 {
    // CHECK: gpu.func @decode_step(
    // CHECK-DAG: %[[BLOCK:.*]] = gpu.block_id  x
    // CHECK-DAG: %[[C8:.*]] = arith.constant 8 : index

    // @choose's tiles; then all blocks that will have one of @multiply's, between coming and waiting.
    // CHECK: scf.for
    // CHECK-NOT: memref.prefetch
    // CHECK: llvm.atomicrmw add
    // CHECK: arith.cmpi slt, %[[BLOCK]], %[[C8]]
    // CHECK: memref.prefetch %{{.*}}, read, locality<2>, data
    // CHECK: scf.while

    // Then @multiply's tiles, and the end.
    // CHECK: scf.for
    // CHECK-NOT: memref.prefetch
    // CHECK: gpu.return
    // CHECK-NOT: _ahead
    // CHECK: func.func @decode(
    gpu.func @decode_0_choose(%batch: !qwen.batch, %layer: index, %instance: index, %tile: index) attributes {known_block_size = array<i32: 128, 1, 1>} {
      gpu.return
    }
    gpu.func @decode_1_multiply(%batch: !qwen.batch, %layer: index, %instance: index, %tile: index) attributes {known_block_size = array<i32: 128, 1, 1>} {
      gpu.return
    }
    gpu.func @decode_1_multiply_ahead(%batch: !qwen.batch, %layer: index, %instance: index, %tile: index) attributes {known_block_size = array<i32: 128, 1, 1>} {
      %logits = qwen.step_field %batch logits : memref<?xf32, #gpu.address_space<global>>
      memref.prefetch %logits[%tile], read, locality<2>, data : memref<?xf32, #gpu.address_space<global>>
      gpu.return
    }
  }
  func.func @decode(%batch: !qwen.batch, %layer: index, %instance: index) {
    %c3 = arith.constant 3 : index
    %c8 = arith.constant 8 : index
    qwen.launch @decode_0_choose tiles(%c3) args(%batch, %layer, %instance : !qwen.batch, index, index)
    qwen.launch @decode_1_multiply tiles(%c8) args(%batch, %layer, %instance : !qwen.batch, index, index)
    return
  }
  func.func @prefill(%batch: !qwen.batch, %layer: index, %instance: index) {
    return
  }
}
