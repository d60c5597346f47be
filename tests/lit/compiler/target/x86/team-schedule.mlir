// Every thread walks the step, takes tiles of each launch until none are left and meets the others behind it. What is
// checked is the first dump, which is this pass's.
// RUN: qwench-opt %s --qwen-lower="cpu=znver4" --mlir-print-ir-after-all -o /dev/null 2>&1 | FileCheck %s

module attributes {
  qwen.plan = #qwen.plan<arenaBytes = 0, threadScratchBytes = 1024, weightBytes = 0, cacheBytesPerPosition = 64, cacheGranule = 64, prefillRows = 8, decodeRows = 4>,
  qwen.plan_hash = 42 : i64,
  qwen.program = {attention_flops_per_pair = 0 : i64, dtype = bf16, flops_per_output = 0 : i64, flops_per_token = 0 : i64, kv_dtype = "bf16", layers = 1 : i64, logits_stride = 32 : i64, max_context = 64 : i64, name = "model", vocab_size = 32 : i64, weight_bytes_per_token = 0 : i64}} {
  // CHECK-LABEL: (team-schedule)
  // CHECK: func.func private @qwench_team_share(!llvm.ptr, index, index) -> index
  // CHECK: func.func private @qwench_team_take(!llvm.ptr, index) -> index
  // CHECK: func.func private @qwench_team_barrier(!llvm.ptr)

  // A kernel stays as it is.
  // CHECK: func.func private @kernel(%{{.*}}: !qwen.batch, %{{.*}}: index, %{{.*}}: index, %{{.*}}: memref<?xi8>, %{{.*}}: index) {
  func.func private @kernel(%batch: !qwen.batch, %layer: index, %instance: index, %scratch: memref<?xi8>, %tile: index) {
    return
  }

  // CHECK: func.func @layer(%[[B:.*]]: !qwen.batch, %[[L:.*]]: index, %[[I:.*]]: index, %[[TEAM:.*]]: !llvm.ptr, %[[SCRATCH:.*]]: memref<?xi8>, %[[THREAD:.*]]: index) {
  func.func @layer(%batch: !qwen.batch, %layer: index, %instance: index) {
    // CHECK: %[[N:.*]] = arith.constant 7 : index
    %n = arith.constant 7 : index
    // CHECK: %[[FIRST:.*]] = call @qwench_team_share(%[[TEAM]], %[[THREAD]], %[[N]])
    // CHECK: scf.while (%[[T:.*]] = %[[FIRST]])
    // CHECK: %[[SOME:.*]] = arith.cmpi sge, %[[T]], %{{.*}}
    // CHECK: scf.condition(%[[SOME]]) %[[T]]
    // CHECK: ^bb0(%[[TILE:.*]]: index):
    // CHECK-NEXT: func.call @kernel(%[[B]], %[[L]], %[[I]], %[[SCRATCH]], %[[TILE]])
    // CHECK: %[[NEXT:.*]] = func.call @qwench_team_take(%[[TEAM]], %[[THREAD]])
    // CHECK: scf.yield %[[NEXT]]
    // CHECK: }
    // CHECK-NEXT: call @qwench_team_barrier(%[[TEAM]])
    // CHECK-NOT: qwen.launch
    qwen.launch @kernel tiles(%n) args(%batch, %layer, %instance : !qwen.batch, index, index)
    return
  }

  // What calls a layer hands the team on.
  // CHECK: func.func @prefill(%{{.*}}: !qwen.batch, %{{.*}}: index, %{{.*}}: index, %[[T:.*]]: !llvm.ptr, %[[S:.*]]: memref<?xi8>, %[[K:.*]]: index) {
  // CHECK: call @layer(%{{.*}}, %{{.*}}, %{{.*}}, %[[T]], %[[S]], %[[K]])
  func.func @prefill(%batch: !qwen.batch, %layer: index, %instance: index) {
    call @layer(%batch, %layer, %instance) : (!qwen.batch, index, index) -> ()
    return
  }
  func.func @decode(%batch: !qwen.batch, %layer: index, %instance: index) {
    call @layer(%batch, %layer, %instance) : (!qwen.batch, index, index) -> ()
    return
  }
}
