// RUN: qwench-opt %s --fuse-residual | FileCheck %s

qwen.weight @l.o_proj : tensor<16x32xbf16> instances 2 layers [0, 2] source "layers.{layer}.o_proj"
qwen.weight @l.square : tensor<16x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.square"
qwen.weight @l.down_proj : tensor<6x16x24xbf16> instances 2 layers [0, 2] source "layers.{layer}.down_proj"
qwen.weight @l.norm : tensor<32xf32> instances 2 layers [0, 2] source "layers.{layer}.norm"

// CHECK-LABEL: @into_linear(
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x16xf32>
// CHECK-NOT: qwen.add
// CHECK: qwen.fused_linear({{.*}}) residual(%[[X]])
func.func @into_linear(%x: tensor<?x16xf32>, %a: tensor<?x32xf32>, %d: tensor<?x16xf32>, %g: tensor<?x24xf32>, %w: tensor<?x2xf32>, %o: tensor<7xi32>, %p: tensor<?xi32>, %i: index) -> tensor<?x16xf32> {
  %wo = qwen.param @l.o_proj[%i] : tensor<16x32xbf16>
  %wd = qwen.param @l.down_proj[%i] : tensor<6x16x24xbf16>
  %l = qwen.linear(%a, %wo) : (tensor<?x32xf32>, tensor<16x32xbf16>) -> tensor<?x16xf32>
  %y = qwen.add(%x, %l) : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// CHECK-LABEL: @into_linear_on_the_left(
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x16xf32>
// CHECK-NOT: qwen.add
// CHECK: qwen.fused_linear({{.*}}) residual(%[[X]])
func.func @into_linear_on_the_left(%x: tensor<?x16xf32>, %a: tensor<?x32xf32>, %d: tensor<?x16xf32>, %g: tensor<?x24xf32>, %w: tensor<?x2xf32>, %o: tensor<7xi32>, %p: tensor<?xi32>, %i: index) -> tensor<?x16xf32> {
  %wo = qwen.param @l.o_proj[%i] : tensor<16x32xbf16>
  %wd = qwen.param @l.down_proj[%i] : tensor<6x16x24xbf16>
  %l = qwen.linear(%a, %wo) : (tensor<?x32xf32>, tensor<16x32xbf16>) -> tensor<?x16xf32>
  %y = qwen.add(%l, %x) : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// CHECK-LABEL: @into_fused_linear(
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x16xf32>
// CHECK-NOT: qwen.add
// CHECK: qwen.fused_linear({{.*}}) norm(%{{.*}}) residual(%[[X]]) {eps
func.func @into_fused_linear(%x: tensor<?x16xf32>, %a: tensor<?x32xf32>, %d: tensor<?x16xf32>, %g: tensor<?x24xf32>, %w: tensor<?x2xf32>, %o: tensor<7xi32>, %p: tensor<?xi32>, %i: index) -> tensor<?x16xf32> {
  %wo = qwen.param @l.o_proj[%i] : tensor<16x32xbf16>
  %wd = qwen.param @l.down_proj[%i] : tensor<6x16x24xbf16>
  %n = qwen.param @l.norm[%i] : tensor<32xf32>
  %l = qwen.fused_linear(%a, %wo) norm(%n) {eps = 1.0e-06 : f32} : (tensor<?x32xf32>, tensor<16x32xbf16>, tensor<32xf32>) -> tensor<?x16xf32>
  %y = qwen.add(%x, %l) : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// CHECK-LABEL: @into_combine(
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x16xf32>
// CHECK-NOT: qwen.add
// CHECK: qwen.combine({{.*}}) residual(%[[X]])
func.func @into_combine(%x: tensor<?x16xf32>, %a: tensor<?x32xf32>, %d: tensor<?x16xf32>, %g: tensor<?x24xf32>, %w: tensor<?x2xf32>, %o: tensor<7xi32>, %p: tensor<?xi32>, %i: index) -> tensor<?x16xf32> {
  %wo = qwen.param @l.o_proj[%i] : tensor<16x32xbf16>
  %wd = qwen.param @l.down_proj[%i] : tensor<6x16x24xbf16>
  %c = qwen.combine(%d, %w, %o, %p) : (tensor<?x16xf32>, tensor<?x2xf32>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  %y = qwen.add(%x, %c) : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// CHECK-LABEL: @into_grouped_linear_combine(
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x16xf32>
// CHECK-NOT: qwen.add
// CHECK: qwen.grouped_linear_combine({{.*}}) residual(%[[X]])
func.func @into_grouped_linear_combine(%x: tensor<?x16xf32>, %a: tensor<?x32xf32>, %d: tensor<?x16xf32>, %g: tensor<?x24xf32>, %w: tensor<?x2xf32>, %o: tensor<7xi32>, %p: tensor<?xi32>, %i: index) -> tensor<?x16xf32> {
  %wo = qwen.param @l.o_proj[%i] : tensor<16x32xbf16>
  %wd = qwen.param @l.down_proj[%i] : tensor<6x16x24xbf16>
  %c = qwen.grouped_linear_combine(%g, %wd, %w, %o, %p) : (tensor<?x24xf32>, tensor<6x16x24xbf16>, tensor<?x2xf32>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  %y = qwen.add(%x, %c) : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// CHECK-LABEL: @declines_linear_read_elsewhere(
// CHECK: qwen.linear
// CHECK: %[[Y:.*]] = qwen.add
// CHECK: qwen.fused_linear({{.*}}) residual(%[[Y]])
func.func @declines_linear_read_elsewhere(%x: tensor<?x16xf32>, %a: tensor<?x32xf32>, %d: tensor<?x16xf32>, %g: tensor<?x24xf32>, %w: tensor<?x2xf32>, %o: tensor<7xi32>, %p: tensor<?xi32>, %i: index) -> tensor<?x16xf32> {
  %wo = qwen.param @l.o_proj[%i] : tensor<16x32xbf16>
  %wd = qwen.param @l.down_proj[%i] : tensor<6x16x24xbf16>
  %l = qwen.linear(%a, %wo) : (tensor<?x32xf32>, tensor<16x32xbf16>) -> tensor<?x16xf32>
  %y = qwen.add(%x, %l) : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
  %sq = qwen.param @l.square[%i] : tensor<16x16xbf16>
  %z = qwen.linear(%l, %sq) : (tensor<?x16xf32>, tensor<16x16xbf16>) -> tensor<?x16xf32>
  %s = qwen.add(%y, %z) : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
  return %s : tensor<?x16xf32>
}

// CHECK-LABEL: @declines_second_residual(
// CHECK: qwen.fused_linear({{.*}}) residual
// CHECK: qwen.add
func.func @declines_second_residual(%x: tensor<?x16xf32>, %a: tensor<?x32xf32>, %d: tensor<?x16xf32>, %g: tensor<?x24xf32>, %w: tensor<?x2xf32>, %o: tensor<7xi32>, %p: tensor<?xi32>, %i: index) -> tensor<?x16xf32> {
  %wo = qwen.param @l.o_proj[%i] : tensor<16x32xbf16>
  %wd = qwen.param @l.down_proj[%i] : tensor<6x16x24xbf16>
  %l = qwen.linear(%a, %wo) : (tensor<?x32xf32>, tensor<16x32xbf16>) -> tensor<?x16xf32>
  %s = qwen.add(%x, %l) : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
  %y = qwen.add(%d, %s) : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// CHECK-LABEL: @declines_arguments(
// CHECK: qwen.add
func.func @declines_arguments(%x: tensor<?x16xf32>, %a: tensor<?x32xf32>, %d: tensor<?x16xf32>, %g: tensor<?x24xf32>, %w: tensor<?x2xf32>, %o: tensor<7xi32>, %p: tensor<?xi32>, %i: index) -> tensor<?x16xf32> {
  %wo = qwen.param @l.o_proj[%i] : tensor<16x32xbf16>
  %wd = qwen.param @l.down_proj[%i] : tensor<6x16x24xbf16>
  %y = qwen.add(%x, %d) : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}
