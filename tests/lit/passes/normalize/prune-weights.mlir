// RUN: qwench-opt %s --prune-weights | FileCheck %s

// A part of a weight that is read stays; a part of one that is not goes with it.
// CHECK: qwen.weight @q
// CHECK: qwen.weight @k
// CHECK-NOT: qwen.weight @gate
// CHECK: qwen.weight @qk
// CHECK-NOT: qwen.weight @gates
// CHECK-NOT: qwen.weight @unused
qwen.weight @q : tensor<8x4xf32> instances 1 layers [0] source "layers.{layer}.q"
qwen.weight @k : tensor<4x4xf32> instances 1 layers [0] source "layers.{layer}.k"
qwen.weight @gate : tensor<4x4xf32> instances 1 layers [0] source "layers.{layer}.gate"
qwen.weight @qk : tensor<12x4xf32> instances 1 layers [0] parts [@q, @k]
qwen.weight @gates : tensor<4x4xf32> instances 1 layers [0] parts [@gate]
qwen.weight @unused : tensor<4x4xf32> instances 1 layers [0] source "layers.{layer}.unused"

// CHECK: @reader
func.func @reader(%i: index) -> tensor<12x4xf32> {
  %w = qwen.param @qk[%i] : tensor<12x4xf32>
  return %w : tensor<12x4xf32>
}
