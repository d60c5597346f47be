// RUN: qwench-opt %s --fuse-grouped-swiglu | FileCheck %s

// CHECK: qwen.weight @l.gate_up_proj : tensor<6x48x16xbf16> instances 2 layers [0, 2] parts [@l.gate_proj, @l.up_proj]
qwen.weight @l.gate_proj : tensor<6x24x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.gate_proj"
qwen.weight @l.up_proj : tensor<6x24x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.up_proj"

// CHECK-LABEL: @fuses(
// CHECK-SAME: %[[H:[^:]*]]: tensor<?x16xf32>, %[[O:[^:]*]]: tensor<7xi32>, %[[P:[^:]*]]: tensor<?xi32>
// CHECK-NEXT: %[[W:.*]] = qwen.param @l.gate_up_proj
// CHECK-NEXT: %[[A:.*]] = qwen.grouped_linear(%[[H]], %[[W]], %[[O]], %[[P]]) {activation = 1 : i32, gather, top_k = 2 : i64} : {{.*}} -> tensor<?x24xf32>
// CHECK-NEXT: return %[[A]]
func.func @fuses(%h: tensor<?x16xf32>, %o: tensor<7xi32>, %p: tensor<?xi32>, %i: index) -> tensor<?x24xf32> {
  %wg = qwen.param @l.gate_proj[%i] : tensor<6x24x16xbf16>
  %wu = qwen.param @l.up_proj[%i] : tensor<6x24x16xbf16>
  %g = qwen.grouped_linear(%h, %wg, %o, %p) {top_k = 2, gather} : (tensor<?x16xf32>, tensor<6x24x16xbf16>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x24xf32>
  %u = qwen.grouped_linear(%h, %wu, %o, %p) {top_k = 2, gather} : (tensor<?x16xf32>, tensor<6x24x16xbf16>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x24xf32>
  %a = qwen.swiglu(%g, %u) : (tensor<?x24xf32>, tensor<?x24xf32>) -> tensor<?x24xf32>
  return %a : tensor<?x24xf32>
}

// CHECK-LABEL: @declines_up_read_elsewhere(
// CHECK-COUNT-2: qwen.grouped_linear
// CHECK: qwen.swiglu
func.func @declines_up_read_elsewhere(%h: tensor<?x16xf32>, %o: tensor<7xi32>, %p: tensor<?xi32>, %i: index) -> tensor<?x24xf32> {
  %wg = qwen.param @l.gate_proj[%i] : tensor<6x24x16xbf16>
  %wu = qwen.param @l.up_proj[%i] : tensor<6x24x16xbf16>
  %g = qwen.grouped_linear(%h, %wg, %o, %p) {top_k = 2, gather} : (tensor<?x16xf32>, tensor<6x24x16xbf16>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x24xf32>
  %u = qwen.grouped_linear(%h, %wu, %o, %p) {top_k = 2, gather} : (tensor<?x16xf32>, tensor<6x24x16xbf16>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x24xf32>
  %a = qwen.swiglu(%g, %u) : (tensor<?x24xf32>, tensor<?x24xf32>) -> tensor<?x24xf32>
  %b = qwen.add(%a, %u) : (tensor<?x24xf32>, tensor<?x24xf32>) -> tensor<?x24xf32>
  return %b : tensor<?x24xf32>
}

// CHECK-LABEL: @declines_other_segments(
// CHECK-COUNT-2: qwen.grouped_linear
// CHECK: qwen.swiglu
func.func @declines_other_segments(%h: tensor<?x16xf32>, %o: tensor<7xi32>, %p: tensor<?xi32>, %o2: tensor<7xi32>, %i: index) -> tensor<?x24xf32> {
  %wg = qwen.param @l.gate_proj[%i] : tensor<6x24x16xbf16>
  %wu = qwen.param @l.up_proj[%i] : tensor<6x24x16xbf16>
  %g = qwen.grouped_linear(%h, %wg, %o, %p) {top_k = 2, gather} : (tensor<?x16xf32>, tensor<6x24x16xbf16>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x24xf32>
  %u = qwen.grouped_linear(%h, %wu, %o2, %p) {top_k = 2, gather} : (tensor<?x16xf32>, tensor<6x24x16xbf16>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x24xf32>
  %a = qwen.swiglu(%g, %u) : (tensor<?x24xf32>, tensor<?x24xf32>) -> tensor<?x24xf32>
  return %a : tensor<?x24xf32>
}

// CHECK-LABEL: @declines_gather_of_one(
// CHECK-COUNT-2: qwen.grouped_linear
// CHECK: qwen.swiglu
func.func @declines_gather_of_one(%h: tensor<?x16xf32>, %o: tensor<7xi32>, %p: tensor<?xi32>, %i: index) -> tensor<?x24xf32> {
  %wg = qwen.param @l.gate_proj[%i] : tensor<6x24x16xbf16>
  %wu = qwen.param @l.up_proj[%i] : tensor<6x24x16xbf16>
  %g = qwen.grouped_linear(%h, %wg, %o, %p) {top_k = 2, gather} : (tensor<?x16xf32>, tensor<6x24x16xbf16>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x24xf32>
  %u = qwen.grouped_linear(%h, %wu, %o, %p) {top_k = 2} : (tensor<?x16xf32>, tensor<6x24x16xbf16>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x24xf32>
  %a = qwen.swiglu(%g, %u) : (tensor<?x24xf32>, tensor<?x24xf32>) -> tensor<?x24xf32>
  return %a : tensor<?x24xf32>
}

// CHECK-LABEL: @declines_norm(
// CHECK-COUNT-2: qwen.grouped_linear({{.*}}) norm
// CHECK: qwen.swiglu
func.func @declines_norm(%h: tensor<?x16xf32>, %n: tensor<16xf32>, %o: tensor<7xi32>, %p: tensor<?xi32>, %i: index) -> tensor<?x24xf32> {
  %wg = qwen.param @l.gate_proj[%i] : tensor<6x24x16xbf16>
  %wu = qwen.param @l.up_proj[%i] : tensor<6x24x16xbf16>
  %g = qwen.grouped_linear(%h, %wg, %o, %p) norm(%n) {top_k = 2, gather, eps = 1.0e-06 : f32} : (tensor<?x16xf32>, tensor<6x24x16xbf16>, tensor<7xi32>, tensor<?xi32>, tensor<16xf32>) -> tensor<?x24xf32>
  %u = qwen.grouped_linear(%h, %wu, %o, %p) norm(%n) {top_k = 2, gather, eps = 1.0e-06 : f32} : (tensor<?x16xf32>, tensor<6x24x16xbf16>, tensor<7xi32>, tensor<?xi32>, tensor<16xf32>) -> tensor<?x24xf32>
  %a = qwen.swiglu(%g, %u) : (tensor<?x24xf32>, tensor<?x24xf32>) -> tensor<?x24xf32>
  return %a : tensor<?x24xf32>
}
