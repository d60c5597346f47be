// RUN: qwench-opt %s --fuse-swiglu --split-input-file | FileCheck %s

// CHECK: qwen.weight @l.gate_up_proj : tensor<48x16xbf16> instances 2 layers [0, 2] parts [@l.gate_proj, @l.up_proj]
qwen.weight @l.gate_proj : tensor<24x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.gate_proj"
qwen.weight @l.up_proj : tensor<24x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.up_proj"

// CHECK-LABEL: @fuses(
// CHECK-SAME: %[[H:[^:]*]]: tensor<?x16xf32>, %[[I:[^:]*]]: index
// CHECK-NEXT: %[[W:.*]] = qwen.param @l.gate_up_proj[%[[I]]] : tensor<48x16xbf16>
// CHECK-NEXT: %[[A:.*]] = qwen.fused_linear(%[[H]], %[[W]]) {activation = 1 : i32} : {{.*}} -> tensor<?x24xf32>
// CHECK-NEXT: return %[[A]]
func.func @fuses(%h: tensor<?x16xf32>, %i: index) -> tensor<?x24xf32> {
  %wg = qwen.param @l.gate_proj[%i] : tensor<24x16xbf16>
  %wu = qwen.param @l.up_proj[%i] : tensor<24x16xbf16>
  %g = qwen.linear(%h, %wg) : (tensor<?x16xf32>, tensor<24x16xbf16>) -> tensor<?x24xf32>
  %u = qwen.linear(%h, %wu) : (tensor<?x16xf32>, tensor<24x16xbf16>) -> tensor<?x24xf32>
  %a = qwen.swiglu(%g, %u) : (tensor<?x24xf32>, tensor<?x24xf32>) -> tensor<?x24xf32>
  return %a : tensor<?x24xf32>
}

// -----

qwen.weight @l.gate_proj : tensor<24x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.gate_proj"
qwen.weight @l.up_proj : tensor<24x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.up_proj"
qwen.weight @l.gate_bias : tensor<24xf32> instances 2 layers [0, 2] source "layers.{layer}.gate_bias"
qwen.weight @l.up_bias : tensor<24xf32> instances 2 layers [0, 2] source "layers.{layer}.up_bias"

// CHECK-LABEL: @bias(
// CHECK-DAG: %[[W:.*]] = qwen.param @l.gate_up_proj[
// CHECK-DAG: %[[B:.*]] = qwen.param @l.gate_up_proj_bias[{{.*}}] : tensor<48xf32>
// CHECK: qwen.fused_linear(%{{.*}}, %[[W]]) bias(%[[B]]) {activation = 1 : i32}
func.func @bias(%h: tensor<?x16xf32>, %i: index) -> tensor<?x24xf32> {
  %wg = qwen.param @l.gate_proj[%i] : tensor<24x16xbf16>
  %wu = qwen.param @l.up_proj[%i] : tensor<24x16xbf16>
  %bg = qwen.param @l.gate_bias[%i] : tensor<24xf32>
  %bu = qwen.param @l.up_bias[%i] : tensor<24xf32>
  %g = qwen.linear(%h, %wg, %bg) : (tensor<?x16xf32>, tensor<24x16xbf16>, tensor<24xf32>) -> tensor<?x24xf32>
  %u = qwen.linear(%h, %wu, %bu) : (tensor<?x16xf32>, tensor<24x16xbf16>, tensor<24xf32>) -> tensor<?x24xf32>
  %a = qwen.swiglu(%g, %u) : (tensor<?x24xf32>, tensor<?x24xf32>) -> tensor<?x24xf32>
  return %a : tensor<?x24xf32>
}

// -----

qwen.weight @l.gate_proj : tensor<24x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.gate_proj"
qwen.weight @l.up_proj : tensor<24x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.up_proj"

// CHECK-LABEL: @declines_gate_read_elsewhere(
// CHECK-NOT: qwen.fused_linear
// CHECK: qwen.swiglu
func.func @declines_gate_read_elsewhere(%h: tensor<?x16xf32>, %i: index) -> tensor<?x24xf32> {
  %wg = qwen.param @l.gate_proj[%i] : tensor<24x16xbf16>
  %wu = qwen.param @l.up_proj[%i] : tensor<24x16xbf16>
  %g = qwen.linear(%h, %wg) : (tensor<?x16xf32>, tensor<24x16xbf16>) -> tensor<?x24xf32>
  %u = qwen.linear(%h, %wu) : (tensor<?x16xf32>, tensor<24x16xbf16>) -> tensor<?x24xf32>
  %a = qwen.swiglu(%g, %u) : (tensor<?x24xf32>, tensor<?x24xf32>) -> tensor<?x24xf32>
  %b = qwen.add(%a, %g) : (tensor<?x24xf32>, tensor<?x24xf32>) -> tensor<?x24xf32>
  return %b : tensor<?x24xf32>
}

// -----

qwen.weight @l.gate_proj : tensor<24x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.gate_proj"
qwen.weight @l.up_proj : tensor<24x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.up_proj"

// CHECK-LABEL: @declines_other_input(
// CHECK-NOT: qwen.fused_linear
// CHECK: qwen.swiglu
func.func @declines_other_input(%h: tensor<?x16xf32>, %h2: tensor<?x16xf32>, %i: index) -> tensor<?x24xf32> {
  %wg = qwen.param @l.gate_proj[%i] : tensor<24x16xbf16>
  %wu = qwen.param @l.up_proj[%i] : tensor<24x16xbf16>
  %g = qwen.linear(%h, %wg) : (tensor<?x16xf32>, tensor<24x16xbf16>) -> tensor<?x24xf32>
  %u = qwen.linear(%h2, %wu) : (tensor<?x16xf32>, tensor<24x16xbf16>) -> tensor<?x24xf32>
  %a = qwen.swiglu(%g, %u) : (tensor<?x24xf32>, tensor<?x24xf32>) -> tensor<?x24xf32>
  return %a : tensor<?x24xf32>
}
