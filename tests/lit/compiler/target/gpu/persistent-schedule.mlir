// A decode step becomes one kernel: launches are its phases, where they stood, the loop over layers included; between two
// phases all blocks meet. What is checked is the first dump, which is this pass's.
// RUN: qwench-opt %s --qwen-lower="target=cuda gpu=sm_80 schedule=persistent" --mlir-print-ir-after-all -o /dev/null 2>&1 | FileCheck %s
// RUN: qwench-opt %s --qwen-lower="target=cuda gpu=sm_80 schedule=persistent" | FileCheck %s --check-prefix=HOST

module attributes {qwen.stage = "kernels", qwen.model = {name = "hand", max_context = 64 : i64}, qwen.plan_hash = 1 : i64,
    qwen.plan = #qwen.plan<arenaBytes = 1024, threadScratchBytes = 0, weightBytes = 64, cacheBytesPerPosition = 4, cacheGranule = 64, prefillRows = 1, decodeRows = 1>,
    qwen.program = {name = "hand", dtype = f32, kv_dtype = "f32", vocab_size = 4 : i64, logits_stride = 16 : i64, max_context = 64 : i64, layers = 3 : i64,
                    weight_bytes_per_token = 64 : i64, flops_per_token = 1 : i64, flops_per_output = 1 : i64, attention_flops_per_pair = 1 : i64}} {
  gpu.module @sm_80 {
    // What prefill launches stays as it is; what only decode reaches is in its kernel.
    // CHECK: gpu.module @sm_80
    // CHECK: memref.global "private" constant @kinds : memref<3xindex, #gpu.address_space<global>>
    // CHECK-NEXT: gpu.func @prefill_all(
    // CHECK-NEXT: gpu.return
    // CHECK-NEXT: }

    // One workgroup memory as large as the largest, in whole 16 bytes.
    // CHECK: gpu.func @decode_step(%[[BATCH:.*]]: !qwen.batch, %[[L:.*]]: index, %[[I:.*]]: index, %{{.*}}: index) workgroup(%[[SHARED:.*]] : memref<272xi8, #gpu.address_space<workgroup>> {llvm.align = 16 : i64}) kernel attributes {known_block_size = array<i32: 128, 1, 1>, qwench.cooperative}
    // CHECK-DAG: %[[BLOCK:.*]] = gpu.block_id  x
    // CHECK-DAG: %[[GRID:.*]] = gpu.grid_dim  x
    // CHECK-DAG: %[[SMALL:.*]] = memref.view %[[SHARED]][%{{.*}}][] : memref<272xi8, #gpu.address_space<workgroup>> to memref<3xf32, #gpu.address_space<workgroup>>
    // CHECK-DAG: memref.view %[[SHARED]][%{{.*}}][] : memref<272xi8, #gpu.address_space<workgroup>> to memref<16xf32, #gpu.address_space<workgroup>>
    // CHECK-DAG: %[[C16:.*]] = arith.constant 16 : index
    // CHECK-DAG: memref.view %[[SHARED]][%[[C16]]][] : memref<272xi8, #gpu.address_space<workgroup>> to memref<62xf32, #gpu.address_space<workgroup>>
    // CHECK: %[[KINDS:.*]] = memref.get_global @kinds : memref<3xindex, #gpu.address_space<global>>
    // CHECK: scf.for %[[LAYER:.*]] = %c0{{.*}} to %c3{{.*}} step %c1{{.*}} {
    // CHECK: memref.load %[[KINDS]][%[[LAYER]]]
    // CHECK: scf.index_switch

    // A phase: the block's tiles, whose workgroup memory the next of them writes again; its numbers come out of nowhere ...
    // CHECK: llvm.inline_asm has_side_effects "", "=r,0" %{{.*}} : (i32) -> i32
    // CHECK: %[[L32:.*]] = arith.index_castui %[[LAYER]] : index to i32
    // CHECK-NEXT: %[[OPAQUE:.*]] = llvm.inline_asm has_side_effects "", "=r,0" %[[L32]]
    // CHECK-NEXT: %[[NUMBER:.*]] = arith.index_castui %[[OPAQUE]]
    // CHECK: arith.index_castui %[[BLOCK]]
    // CHECK: arith.index_castui %[[GRID]]
    // CHECK: scf.for
    // CHECK: memref.store %{{.*}}, %[[SMALL]][%{{.*}}]
    // CHECK: gpu.barrier
    // CHECK-NEXT: }
    // ... and the blocks meet: the first thread of each waits until the top bit of a counter changes.
    // CHECK: gpu.barrier
    // CHECK-NEXT: %[[THREAD:.*]] = gpu.thread_id  x
    // CHECK: %[[FIRST:.*]] = arith.cmpi eq, %[[THREAD]]
    // CHECK: qwen.step_field %[[BATCH]] team : memref<?xi32, #gpu.address_space<global>>
    // CHECK: %[[BEFORE:.*]] = scf.if %[[FIRST]] -> (i32) {
    // CHECK: llvm.fence syncscope("device") release
    // CHECK: llvm.atomicrmw add %[[COUNTER:.*]], %{{.*}} syncscope("device") monotonic
    // CHECK: scf.if %[[FIRST]] {
    // CHECK: scf.while
    // CHECK: %[[NOW:.*]] = llvm.load %[[COUNTER]] atomic syncscope("device") monotonic
    // CHECK: arith.xori %[[BEFORE]], %[[NOW]]
    // CHECK: llvm.fence syncscope("device") acquire
    // CHECK: gpu.barrier

    // CHECK: scf.for %{{.*}} = %{{.*}} to %{{.*}} step
    // CHECK: llvm.atomicrmw add

    // The last phase ends the kernel.
    // CHECK: scf.for %{{.*}} = %{{.*}} to %{{.*}} step
    // CHECK-NOT: llvm.atomicrmw
    // CHECK: gpu.return
    gpu.func @decode_first_layer(%batch: !qwen.batch, %layer: index, %instance: index, %tile: index)
        workgroup(%shared: memref<16xf32, #gpu.address_space<workgroup>>) attributes {known_block_size = array<i32: 128, 1, 1>} {
      %x = arith.constant 1.0 : f32
      memref.store %x, %shared[%layer] : memref<16xf32, #gpu.address_space<workgroup>>
      gpu.return
    }
    gpu.func @decode_second_layer(%batch: !qwen.batch, %layer: index, %instance: index, %tile: index)
        workgroup(%small: memref<3xf32, #gpu.address_space<workgroup>>, %large: memref<62xf32, #gpu.address_space<workgroup>>)
        attributes {known_block_size = array<i32: 128, 1, 1>} {
      %x = arith.constant 2.0 : f32
      memref.store %x, %small[%instance] : memref<3xf32, #gpu.address_space<workgroup>>
      memref.store %x, %large[%instance] : memref<62xf32, #gpu.address_space<workgroup>>
      gpu.return
    }
    gpu.func @decode_last(%batch: !qwen.batch, %layer: index, %instance: index, %tile: index) attributes {known_block_size = array<i32: 128, 1, 1>} {
      %x = arith.constant 3.0 : f32
      %logits = qwen.step_field %batch logits : memref<?xf32, #gpu.address_space<global>>
      memref.store %x, %logits[%tile] : memref<?xf32, #gpu.address_space<global>>
      gpu.return
    }
    gpu.func @prefill_all(%batch: !qwen.batch, %layer: index, %instance: index, %tile: index) attributes {known_block_size = array<i32: 256, 1, 1>} {
      gpu.return
    }
  }

  memref.global "private" constant @kinds : memref<3xindex> = dense<[0, 1, 0]>

  func.func @first(%batch: !qwen.batch, %layer: index, %instance: index) {
    %n = arith.constant 7 : index
    qwen.launch @decode_first_layer tiles(%n) args(%batch, %layer, %instance : !qwen.batch, index, index)
    return
  }
  func.func @second(%batch: !qwen.batch, %layer: index, %instance: index) {
    %n = arith.constant 5 : index
    qwen.launch @decode_second_layer tiles(%n) args(%batch, %layer, %instance : !qwen.batch, index, index)
    return
  }

  // On the host one launch of what has the number 1 is left.
  // CHECK-NOT: func.func @first
  // CHECK: func.func @decode(
  // CHECK-NEXT: %[[ONE:.*]] = arith.constant 1 : index
  // CHECK-NEXT: qwen.launch @decode_step tiles(%[[ONE]])
  // CHECK-NEXT: return
  // HOST-LABEL: llvm.func internal @decode(
  // HOST: %[[NUMBER:.*]] = llvm.mlir.constant(1 : i64) : i64
  // HOST: llvm.call @qwench_device_launch(%{{.*}}, %[[NUMBER]], %[[NUMBER]], %{{.*}}, %{{.*}})
  // HOST-NEXT: llvm.return
  func.func @decode(%batch: !qwen.batch, %layer: index, %instance: index) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c3 = arith.constant 3 : index
    %kinds = memref.get_global @kinds : memref<3xindex>
    scf.for %l = %c0 to %c3 step %c1 {
      %kind = memref.load %kinds[%l] : memref<3xindex>
      scf.index_switch %kind
      case 1 {
        func.call @second(%batch, %l, %l) : (!qwen.batch, index, index) -> ()
        scf.yield
      }
      default {
        func.call @first(%batch, %l, %l) : (!qwen.batch, index, index) -> ()
        scf.yield
      }
    }
    %outputs = qwen.step_field %batch outputs : index
    qwen.launch @decode_last tiles(%outputs) args(%batch, %layer, %instance : !qwen.batch, index, index)
    return
  }
  func.func @prefill(%batch: !qwen.batch, %layer: index, %instance: index) {
    %rows = qwen.step_field %batch rows : index
    qwen.launch @prefill_all tiles(%rows) args(%batch, %layer, %instance : !qwen.batch, index, index)
    return
  }
}
