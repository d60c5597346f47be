// Kernels of a module of dependent launches let the next one begin, ask memory for what no launch writes, and then wait for the
// launches before them. What an asking body reads may still be written: such a body is left out. What is checked is the first dump.
// RUN: qwench-opt %s --qwen-lower="target=cuda gpu=sm_90a dependent-launch=on" --mlir-print-ir-after-all -o /dev/null 2>&1 | FileCheck %s

module attributes {qwen.stage = "kernels", qwen.model = {name = "hand", max_context = 64 : i64}, qwen.plan_hash = 1 : i64,
    qwen.plan = #qwen.plan<arenaBytes = 1024, threadScratchBytes = 0, weightBytes = 64, cacheBytesPerPosition = 4, cacheGranule = 64, prefillRows = 1, decodeRows = 1>,
    qwen.program = {name = "hand", dtype = f32, kv_dtype = "f32", vocab_size = 4 : i64, logits_stride = 16 : i64, max_context = 64 : i64, layers = 1 : i64,
                    weight_bytes_per_token = 64 : i64, flops_per_token = 1 : i64, flops_per_output = 1 : i64, attention_flops_per_pair = 1 : i64}} {
  // CHECK: gpu.module @sm_90a attributes {qwench.dependent_launch}
  gpu.module @sm_90a attributes {qwench.dependent_launch} {
    // CHECK: gpu.func @first(%[[B:.*]]: !qwen.batch, %{{.*}}: index, %{{.*}}: index, %[[TILES:.*]]: index) kernel attributes {{{.*}}qwench.dependent_launch}
    // CHECK-NEXT: nvvm.griddepcontrol launch_dependents
    // CHECK-NEXT: %[[BLOCK:.*]] = gpu.block_id x
    // CHECK-NEXT: %[[ANY:.*]] = arith.cmpi slt, %[[BLOCK]], %[[TILES]]
    // CHECK-NEXT: scf.if %[[ANY]] {
    // CHECK-NEXT: %[[WEIGHTS:.*]] = qwen.step_field %[[B]] weights
    // CHECK-NEXT: memref.prefetch %[[WEIGHTS]][%[[BLOCK]]]
    // CHECK-NEXT: }
    // CHECK-NEXT: nvvm.griddepcontrol wait
    // CHECK: scf.for
    gpu.func @first(%batch: !qwen.batch, %layer: index, %instance: index, %tile: index) attributes {known_block_size = array<i32: 128, 1, 1>} {
      %t = gpu.thread_id x
      gpu.return
    }
    gpu.func @first_ahead(%batch: !qwen.batch, %layer: index, %instance: index, %tile: index) attributes {known_block_size = array<i32: 128, 1, 1>} {
      %weights = qwen.step_field %batch weights : memref<?xi8, #gpu.address_space<global>>
      memref.prefetch %weights[%tile], read, locality<2>, data : memref<?xi8, #gpu.address_space<global>>
      gpu.return
    }
    // CHECK: gpu.func @second({{.*}}) kernel attributes {{{.*}}qwench.dependent_launch}
    // CHECK-NEXT: nvvm.griddepcontrol launch_dependents
    // CHECK-NEXT: nvvm.griddepcontrol wait
    // CHECK-NOT: memref.prefetch
    // CHECK: gpu.return
    // CHECK-NOT: _ahead
    gpu.func @second(%batch: !qwen.batch, %layer: index, %instance: index, %tile: index) attributes {known_block_size = array<i32: 128, 1, 1>} {
      gpu.return
    }
    gpu.func @second_ahead(%batch: !qwen.batch, %layer: index, %instance: index, %tile: index) attributes {known_block_size = array<i32: 128, 1, 1>} {
      %arena = qwen.step_field %batch arena : memref<?xi8, #gpu.address_space<global>>
      %weights = qwen.step_field %batch weights : memref<?xi8, #gpu.address_space<global>>
      %written = memref.load %arena[%tile] : memref<?xi8, #gpu.address_space<global>>
      %at = arith.index_castui %written : i8 to index
      memref.prefetch %weights[%at], read, locality<2>, data : memref<?xi8, #gpu.address_space<global>>
      gpu.return
    }
  }

  // Numbers count kernels alone.
  // CHECK: func.func @decode
  // CHECK: arith.constant 0 : i64
  // CHECK: call @qwench_device_launch
  // CHECK: arith.constant 1 : i64
  // CHECK: call @qwench_device_launch
  func.func @decode(%batch: !qwen.batch, %layer: index, %instance: index) {
    %n = arith.constant 7 : index
    qwen.launch @first tiles(%n) args(%batch, %layer, %instance : !qwen.batch, index, index)
    qwen.launch @second tiles(%n) args(%batch, %layer, %instance : !qwen.batch, index, index)
    return
  }
  func.func @prefill(%batch: !qwen.batch, %layer: index, %instance: index) {
    return
  }
}
