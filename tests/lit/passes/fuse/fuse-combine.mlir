// RUN: qwench-opt %s --fuse-combine | FileCheck %s

qwen.weight @l.down_proj : tensor<6x16x24xbf16> instances 2 layers [0, 2] source "layers.{layer}.down_proj"

// CHECK-LABEL: @fuses(
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x24xf32>, %[[S:[^:]*]]: tensor<?x2xf32>, %[[O:[^:]*]]: tensor<7xi32>, %[[P:[^:]*]]: tensor<?xi32>
// CHECK-NEXT: %[[W:.*]] = qwen.param @l.down_proj
// CHECK-NEXT: %[[Y:.*]] = qwen.grouped_linear_combine(%[[X]], %[[W]], %[[S]], %[[O]], %[[P]]) :
// CHECK-NEXT: return %[[Y]]
func.func @fuses(%x: tensor<?x24xf32>, %w: tensor<?x2xf32>, %o: tensor<7xi32>, %p: tensor<?xi32>, %i: index) -> tensor<?x16xf32> {
  %wd = qwen.param @l.down_proj[%i] : tensor<6x16x24xbf16>
  %d = qwen.grouped_linear(%x, %wd, %o, %p) {top_k = 2} : (tensor<?x24xf32>, tensor<6x16x24xbf16>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  %y = qwen.combine(%d, %w, %o, %p) : (tensor<?x16xf32>, tensor<?x2xf32>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// CHECK-LABEL: @keeps_residual(
// CHECK: qwen.grouped_linear_combine({{.*}}) residual(%{{.*}})
func.func @keeps_residual(%x: tensor<?x24xf32>, %w: tensor<?x2xf32>, %o: tensor<7xi32>, %p: tensor<?xi32>, %r: tensor<?x16xf32>, %i: index) -> tensor<?x16xf32> {
  %wd = qwen.param @l.down_proj[%i] : tensor<6x16x24xbf16>
  %d = qwen.grouped_linear(%x, %wd, %o, %p) {top_k = 2} : (tensor<?x24xf32>, tensor<6x16x24xbf16>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  %y = qwen.combine(%d, %w, %o, %p) residual(%r) : (tensor<?x16xf32>, tensor<?x2xf32>, tensor<7xi32>, tensor<?xi32>, tensor<?x16xf32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// CHECK-LABEL: @declines_gather(
// CHECK: qwen.grouped_linear(
// CHECK: qwen.combine
func.func @declines_gather(%x: tensor<?x24xf32>, %w: tensor<?x2xf32>, %o: tensor<7xi32>, %p: tensor<?xi32>, %i: index) -> tensor<?x16xf32> {
  %wd = qwen.param @l.down_proj[%i] : tensor<6x16x24xbf16>
  %d = qwen.grouped_linear(%x, %wd, %o, %p) {top_k = 2, gather} : (tensor<?x24xf32>, tensor<6x16x24xbf16>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  %y = qwen.combine(%d, %w, %o, %p) : (tensor<?x16xf32>, tensor<?x2xf32>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// CHECK-LABEL: @declines_other_pairs(
// CHECK: qwen.grouped_linear(
// CHECK: qwen.combine
func.func @declines_other_pairs(%x: tensor<?x24xf32>, %w: tensor<?x2xf32>, %o: tensor<7xi32>, %p: tensor<?xi32>, %p2: tensor<?xi32>, %i: index) -> tensor<?x16xf32> {
  %wd = qwen.param @l.down_proj[%i] : tensor<6x16x24xbf16>
  %d = qwen.grouped_linear(%x, %wd, %o, %p) {top_k = 2} : (tensor<?x24xf32>, tensor<6x16x24xbf16>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  %y = qwen.combine(%d, %w, %o, %p2) : (tensor<?x16xf32>, tensor<?x2xf32>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// CHECK-LABEL: @declines_read_elsewhere(
// CHECK: qwen.grouped_linear(
// CHECK: qwen.combine
func.func @declines_read_elsewhere(%x: tensor<?x24xf32>, %w: tensor<?x2xf32>, %o: tensor<7xi32>, %p: tensor<?xi32>, %i: index) -> tensor<?x16xf32> {
  %wd = qwen.param @l.down_proj[%i] : tensor<6x16x24xbf16>
  %d = qwen.grouped_linear(%x, %wd, %o, %p) {top_k = 2} : (tensor<?x24xf32>, tensor<6x16x24xbf16>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  %y = qwen.combine(%d, %w, %o, %p) : (tensor<?x16xf32>, tensor<?x2xf32>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  %b = qwen.add(%y, %d) : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
  return %b : tensor<?x16xf32>
}

// CHECK-LABEL: @declines_norm(
// CHECK: qwen.grouped_linear({{.*}}) norm
// CHECK: qwen.combine
func.func @declines_norm(%x: tensor<?x24xf32>, %n: tensor<24xf32>, %w: tensor<?x2xf32>, %o: tensor<7xi32>, %p: tensor<?xi32>, %i: index) -> tensor<?x16xf32> {
  %wd = qwen.param @l.down_proj[%i] : tensor<6x16x24xbf16>
  %d = qwen.grouped_linear(%x, %wd, %o, %p) norm(%n) {top_k = 2, eps = 1.0e-06 : f32} : (tensor<?x24xf32>, tensor<6x16x24xbf16>, tensor<7xi32>, tensor<?xi32>, tensor<24xf32>) -> tensor<?x16xf32>
  %y = qwen.combine(%d, %w, %o, %p) : (tensor<?x16xf32>, tensor<?x2xf32>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}
