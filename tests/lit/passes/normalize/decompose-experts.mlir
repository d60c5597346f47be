// RUN: qwench-opt %s --decompose-experts | FileCheck %s

qwen.weight @gate : tensor<6x24x64xbf16> instances 1 layers [0] source "layers.{layer}.experts.{expert}.gate_proj.weight"
qwen.weight @up : tensor<6x24x64xbf16> instances 1 layers [0] source "layers.{layer}.experts.{expert}.up_proj.weight"
qwen.weight @down : tensor<6x64x24xbf16> instances 1 layers [0] source "layers.{layer}.experts.{expert}.down_proj.weight"

// CHECK-LABEL: @any_rows(
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x64xf32>, %[[W:[^:]*]]: tensor<?x2xf32>, %[[E:[^:]*]]: tensor<?x2xi32>
func.func @any_rows(%x: tensor<?x64xf32>, %w: tensor<?x2xf32>, %e: tensor<?x2xi32>, %i: index) -> tensor<?x64xf32> {
  // CHECK-DAG: %[[GATE:.*]] = qwen.param @gate
  %gate = qwen.param @gate[%i] : tensor<6x24x64xbf16>
  // CHECK-DAG: %[[UP:.*]] = qwen.param @up
  %up = qwen.param @up[%i] : tensor<6x24x64xbf16>
  // CHECK-DAG: %[[DOWN:.*]] = qwen.param @down
  %down = qwen.param @down[%i] : tensor<6x64x24xbf16>
  // CHECK: %[[S:.*]]:2 = qwen.dispatch(%[[E]]) : (tensor<?x2xi32>) -> (tensor<7xi32>, tensor<?xi32>)
  // CHECK: %[[G:.*]] = qwen.grouped_linear(%[[X]], %[[GATE]], %[[S]]#0, %[[S]]#1) {{{.*}}gather, top_k = 2 : i64} : {{.*}} -> tensor<?x24xf32>
  // CHECK: %[[U:.*]] = qwen.grouped_linear(%[[X]], %[[UP]], %[[S]]#0, %[[S]]#1) {{{.*}}gather, top_k = 2 : i64} : {{.*}} -> tensor<?x24xf32>
  // CHECK: %[[A:.*]] = qwen.swiglu(%[[G]], %[[U]])
  // CHECK: %[[D:.*]] = qwen.grouped_linear(%[[A]], %[[DOWN]], %[[S]]#0, %[[S]]#1)
  // CHECK-NOT: gather
  // CHECK: %[[Y:.*]] = qwen.combine(%[[D]], %[[W]], %[[S]]#0, %[[S]]#1)
  // CHECK-NOT: qwen.experts
  %y = qwen.experts(%x, %w, %e, %gate, %up, %down) : (tensor<?x64xf32>, tensor<?x2xf32>, tensor<?x2xi32>, tensor<6x24x64xbf16>, tensor<6x24x64xbf16>, tensor<6x64x24xbf16>) -> tensor<?x64xf32>
  // CHECK: return %[[Y]]
  return %y : tensor<?x64xf32>
}

// CHECK-LABEL: @static_rows
func.func @static_rows(%x: tensor<5x64xf32>, %w: tensor<5x2xf32>, %e: tensor<5x2xi32>, %i: index) -> tensor<5x64xf32> {
  %gate = qwen.param @gate[%i] : tensor<6x24x64xbf16>
  %up = qwen.param @up[%i] : tensor<6x24x64xbf16>
  %down = qwen.param @down[%i] : tensor<6x64x24xbf16>
  // CHECK: qwen.dispatch({{.*}}) : (tensor<5x2xi32>) -> (tensor<7xi32>, tensor<10xi32>)
  %y = qwen.experts(%x, %w, %e, %gate, %up, %down) : (tensor<5x64xf32>, tensor<5x2xf32>, tensor<5x2xi32>, tensor<6x24x64xbf16>, tensor<6x24x64xbf16>, tensor<6x64x24xbf16>) -> tensor<5x64xf32>
  return %y : tensor<5x64xf32>
}
