// RUN: qwench-opt %s --fuse-router | FileCheck %s

qwen.weight @l.router : tensor<6x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.router"
qwen.weight @l.router_bias : tensor<6xf32> instances 2 layers [0, 2] source "layers.{layer}.router_bias"

// CHECK-LABEL: @fuses(
// CHECK-SAME: %[[H:[^:]*]]: tensor<?x16xf32>
// CHECK-NEXT: %[[W:.*]] = qwen.param @l.router
// CHECK-NEXT: qwen.fused_router(%[[H]], %[[W]]) {normalize = true, top_k = 2 : i64} : {{.*}} -> (tensor<?x2xf32>, tensor<?x2xi32>)
// CHECK-NEXT: return
func.func @fuses(%h: tensor<?x16xf32>, %i: index) -> (tensor<?x2xf32>, tensor<?x2xi32>) {
  %wr = qwen.param @l.router[%i] : tensor<6x16xbf16>
  %l = qwen.linear(%h, %wr) : (tensor<?x16xf32>, tensor<6x16xbf16>) -> tensor<?x6xf32>
  %w, %e = qwen.router(%l) {top_k = 2, normalize = true} : (tensor<?x6xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  return %w, %e : tensor<?x2xf32>, tensor<?x2xi32>
}

// CHECK-LABEL: @declines_bias(
// CHECK: qwen.linear
// CHECK: qwen.router
func.func @declines_bias(%h: tensor<?x16xf32>, %i: index) -> (tensor<?x2xf32>, tensor<?x2xi32>) {
  %wr = qwen.param @l.router[%i] : tensor<6x16xbf16>
  %b = qwen.param @l.router_bias[%i] : tensor<6xf32>
  %l = qwen.linear(%h, %wr, %b) : (tensor<?x16xf32>, tensor<6x16xbf16>, tensor<6xf32>) -> tensor<?x6xf32>
  %w, %e = qwen.router(%l) {top_k = 2, normalize = true} : (tensor<?x6xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  return %w, %e : tensor<?x2xf32>, tensor<?x2xi32>
}

// CHECK-LABEL: @declines_logits_read_elsewhere(
// CHECK: qwen.linear
// CHECK: qwen.router
func.func @declines_logits_read_elsewhere(%h: tensor<?x16xf32>, %i: index) -> (tensor<?x2xf32>, tensor<?x2xi32>, tensor<?x6xf32>) {
  %wr = qwen.param @l.router[%i] : tensor<6x16xbf16>
  %l = qwen.linear(%h, %wr) : (tensor<?x16xf32>, tensor<6x16xbf16>) -> tensor<?x6xf32>
  %w, %e = qwen.router(%l) {top_k = 2, normalize = true} : (tensor<?x6xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  return %w, %e, %l : tensor<?x2xf32>, tensor<?x2xi32>, tensor<?x6xf32>
}

// CHECK-LABEL: @declines_logits_of_elsewhere(
// CHECK: qwen.router
func.func @declines_logits_of_elsewhere(%h: tensor<?x16xf32>, %l: tensor<?x6xf32>, %i: index) -> (tensor<?x2xf32>, tensor<?x2xi32>) {
  %wr = qwen.param @l.router[%i] : tensor<6x16xbf16>
  %w, %e = qwen.router(%l) {top_k = 2, normalize = true} : (tensor<?x6xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  return %w, %e : tensor<?x2xf32>, tensor<?x2xi32>
}
