// Bodies become kernels whose blocks share the tiles; launches become calls that number the kernels. What is checked is
// the first dump, which is this pass's.
// RUN: qwench-opt %s --qwen-lower="target=cuda gpu=sm_80" --mlir-print-ir-after-all -o /dev/null 2>&1 | FileCheck %s

module attributes {qwen.stage = "kernels", qwen.model = {name = "hand", max_context = 64 : i64}, qwen.plan_hash = 1 : i64,
    qwen.plan = #qwen.plan<arenaBytes = 1024, threadScratchBytes = 0, weightBytes = 64, cacheBytesPerPosition = 4, cacheGranule = 64, prefillRows = 1, decodeRows = 1>,
    qwen.program = {name = "hand", dtype = f32, kv_dtype = "f32", vocab_size = 4 : i64, logits_stride = 16 : i64, max_context = 64 : i64, layers = 1 : i64,
                    weight_bytes_per_token = 64 : i64, flops_per_token = 1 : i64, flops_per_output = 1 : i64, attention_flops_per_pair = 1 : i64}} {
  gpu.module @sm_80 {
    // No tile of a block writes what another one still reads.
    // CHECK: gpu.func @first(%[[B:.*]]: !qwen.batch, %{{.*}}: index, %{{.*}}: index, %[[TILES:.*]]: index) workgroup({{.*}}) kernel
    // CHECK: %[[FIRST:.*]] = gpu.block_id x
    // CHECK: %[[STEP:.*]] = gpu.grid_dim x
    // CHECK: scf.for %[[TILE:.*]] = %[[FIRST]] to %[[TILES]] step %[[STEP]] {
    // CHECK: memref.store %{{.*}}, %{{.*}}[%[[TILE]]]
    // CHECK: gpu.barrier
    // CHECK-NEXT: }
    // CHECK-NEXT: gpu.return
    gpu.func @first(%batch: !qwen.batch, %layer: index, %instance: index, %tile: index)
        workgroup(%shared: memref<64xf32, #gpu.address_space<workgroup>>) attributes {known_block_size = array<i32: 128, 1, 1>} {
      %x = arith.constant 1.0 : f32
      memref.store %x, %shared[%tile] : memref<64xf32, #gpu.address_space<workgroup>>
      gpu.return
    }
    // CHECK: gpu.func @second({{.*}}) kernel
    // CHECK-NOT: gpu.barrier
    gpu.func @second(%batch: !qwen.batch, %layer: index, %instance: index, %tile: index) attributes {known_block_size = array<i32: 128, 1, 1>} {
      %t = gpu.thread_id x
      gpu.return
    }
  }

  // CHECK: func.func @layer(%{{.*}}: !qwen.batch, %[[L:.*]]: index, %[[I:.*]]: index, %[[TEAM:.*]]: !llvm.ptr) {
  func.func @layer(%batch: !qwen.batch, %layer: index, %instance: index) {
    %n = arith.constant 7 : index
    // CHECK-DAG: %[[N:.*]] = arith.index_cast %c7 : index to i64
    // CHECK-DAG: %[[LAYER:.*]] = arith.index_cast %[[L]]
    // CHECK-DAG: %[[INSTANCE:.*]] = arith.index_cast %[[I]]
    // CHECK-DAG: %[[K:.*]] = arith.constant 1 : i64
    // CHECK: call @qwench_device_launch(%[[TEAM]], %[[K]], %[[N]], %[[LAYER]], %[[INSTANCE]])
    qwen.launch @second tiles(%n) args(%batch, %layer, %instance : !qwen.batch, index, index)
    return
  }

  // CHECK: func.func @prefill(%[[B:.*]]: !qwen.batch, %[[L:.*]]: index, %[[I:.*]]: index, %[[TEAM:.*]]: !llvm.ptr) {
  func.func @prefill(%batch: !qwen.batch, %layer: index, %instance: index) {
    // CHECK: call @layer(%[[B]], %[[L]], %[[I]], %[[TEAM]])
    func.call @layer(%batch, %layer, %instance) : (!qwen.batch, index, index) -> ()
    return
  }

  func.func @decode(%batch: !qwen.batch, %layer: index, %instance: index) {
    func.call @layer(%batch, %layer, %instance) : (!qwen.batch, index, index) -> ()
    return
  }
}
