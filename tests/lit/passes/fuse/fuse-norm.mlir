// RUN: qwench-opt %s --fuse-norm | FileCheck %s

qwen.weight @l.norm : tensor<16xf32> instances 2 layers [0, 2] source "layers.{layer}.norm"
qwen.weight @l.q_proj : tensor<32x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.q_proj"
qwen.weight @l.gate_up_proj : tensor<64x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.gate_up_proj"
qwen.weight @l.square : tensor<16x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.square"

// CHECK-LABEL: @into_linear(
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x16xf32>
// CHECK-DAG: %[[N:.*]] = qwen.param @l.norm
// CHECK-DAG: %[[W:.*]] = qwen.param @l.q_proj
// CHECK-NOT: qwen.rms_norm
// CHECK: qwen.fused_linear(%[[X]], %[[W]]) norm(%[[N]]) {eps = {{.*}} : f32}
func.func @into_linear(%x: tensor<?x16xf32>, %r: tensor<?x32xf32>, %i: index) -> tensor<?x32xf32> {
  %n = qwen.param @l.norm[%i] : tensor<16xf32>
  %w = qwen.param @l.q_proj[%i] : tensor<32x16xbf16>
  %wgu = qwen.param @l.gate_up_proj[%i] : tensor<64x16xbf16>
  %h = qwen.rms_norm(%x, %n) {eps = 1.0e-06 : f32} : (tensor<?x16xf32>, tensor<16xf32>) -> tensor<?x16xf32>
  %y = qwen.linear(%h, %w) : (tensor<?x16xf32>, tensor<32x16xbf16>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// CHECK-LABEL: @into_fused_linear(
// CHECK-NOT: qwen.rms_norm
// CHECK: qwen.fused_linear(%{{.*}}, %{{.*}}) norm(%{{.*}}) residual(%{{.*}}) {activation = 1 : i32, eps = {{.*}} : f32}
func.func @into_fused_linear(%x: tensor<?x16xf32>, %r: tensor<?x32xf32>, %i: index) -> tensor<?x32xf32> {
  %n = qwen.param @l.norm[%i] : tensor<16xf32>
  %w = qwen.param @l.q_proj[%i] : tensor<32x16xbf16>
  %wgu = qwen.param @l.gate_up_proj[%i] : tensor<64x16xbf16>
  %h = qwen.rms_norm(%x, %n) {eps = 1.0e-06 : f32} : (tensor<?x16xf32>, tensor<16xf32>) -> tensor<?x16xf32>
  %y = qwen.fused_linear(%h, %wgu) residual(%r) {activation = 1 : i32} : (tensor<?x16xf32>, tensor<64x16xbf16>, tensor<?x32xf32>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// CHECK-LABEL: @declines_two_readers(
// CHECK: qwen.rms_norm
// CHECK-COUNT-2: qwen.linear
func.func @declines_two_readers(%x: tensor<?x16xf32>, %r: tensor<?x32xf32>, %i: index) -> tensor<?x32xf32> {
  %n = qwen.param @l.norm[%i] : tensor<16xf32>
  %w = qwen.param @l.q_proj[%i] : tensor<32x16xbf16>
  %wgu = qwen.param @l.gate_up_proj[%i] : tensor<64x16xbf16>
  %h = qwen.rms_norm(%x, %n) {eps = 1.0e-06 : f32} : (tensor<?x16xf32>, tensor<16xf32>) -> tensor<?x16xf32>
  %a = qwen.linear(%h, %w) : (tensor<?x16xf32>, tensor<32x16xbf16>) -> tensor<?x32xf32>
  %b = qwen.linear(%h, %w) : (tensor<?x16xf32>, tensor<32x16xbf16>) -> tensor<?x32xf32>
  %y = qwen.add(%a, %b) : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// CHECK-LABEL: @declines_second_norm(
// CHECK: qwen.rms_norm
// CHECK: qwen.fused_linear
func.func @declines_second_norm(%x: tensor<?x16xf32>, %r: tensor<?x32xf32>, %i: index) -> tensor<?x32xf32> {
  %n = qwen.param @l.norm[%i] : tensor<16xf32>
  %w = qwen.param @l.q_proj[%i] : tensor<32x16xbf16>
  %wgu = qwen.param @l.gate_up_proj[%i] : tensor<64x16xbf16>
  %h = qwen.rms_norm(%x, %n) {eps = 1.0e-06 : f32} : (tensor<?x16xf32>, tensor<16xf32>) -> tensor<?x16xf32>
  %y = qwen.fused_linear(%h, %w) norm(%n) {eps = 1.0e-06 : f32} : (tensor<?x16xf32>, tensor<32x16xbf16>, tensor<16xf32>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// The norm of a residual is not the norm of an input.
// CHECK-LABEL: @declines_residual(
// CHECK: qwen.rms_norm
// CHECK: qwen.fused_linear({{.*}}) residual
func.func @declines_residual(%x: tensor<?x16xf32>, %r: tensor<?x32xf32>, %i: index) -> tensor<?x32xf32> {
  %n = qwen.param @l.norm[%i] : tensor<16xf32>
  %w = qwen.param @l.q_proj[%i] : tensor<32x16xbf16>
  %wgu = qwen.param @l.gate_up_proj[%i] : tensor<64x16xbf16>
  %sq = qwen.param @l.square[%i] : tensor<16x16xbf16>
  %h = qwen.rms_norm(%x, %n) {eps = 1.0e-06 : f32} : (tensor<?x16xf32>, tensor<16xf32>) -> tensor<?x16xf32>
  %z = qwen.fused_linear(%x, %sq) residual(%h) : (tensor<?x16xf32>, tensor<16x16xbf16>, tensor<?x16xf32>) -> tensor<?x16xf32>
  %y = qwen.linear(%z, %w) : (tensor<?x16xf32>, tensor<32x16xbf16>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
