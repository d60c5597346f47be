// qwen.sample in value and in buffer semantics.
// RUN: qwench-opt %s | FileCheck %s
// RUN: qwench-opt %s | qwench-opt | FileCheck %s

// CHECK-LABEL: func.func @draw
func.func @draw(%logits: tensor<?x331xf32>, %batch: !qwen.batch) -> tensor<?xi32> {
  // CHECK: qwen.sample(%{{.*}}, %{{.*}}) : (tensor<?x331xf32>, !qwen.batch) -> tensor<?xi32>
  %id = qwen.sample(%logits, %batch) : (tensor<?x331xf32>, !qwen.batch) -> tensor<?xi32>
  return %id : tensor<?xi32>
}

// CHECK-LABEL: func.func @sample
func.func @sample(%batch: !qwen.batch) {
  %draws = qwen.batch_size %batch
  %logits = qwen.buffer at 0 logits : memref<?x331xf32, strided<[336, 1]>>
  // CHECK: qwen.buffer[%{{.*}}] at 0 drawn : memref<?xi32, strided<[1]>>
  %drawn = qwen.buffer[%draws] at 0 drawn : memref<?xi32, strided<[1]>>
  // CHECK: qwen.sample(%{{.*}}, %{{.*}}) outs(%{{.*}}) {tile = array<i64: 1>}
  qwen.sample(%logits, %batch) outs(%drawn) {tile = array<i64: 1>} : (memref<?x331xf32, strided<[336, 1]>>, !qwen.batch, memref<?xi32, strided<[1]>>) -> ()
  return
}
