// A norm that the router and the experts read is computed by each of their maps; it means the same.
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --split-router --spread-norm | FileCheck %s --check-prefix=MODEL
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --qwen-interpret="tokens=5,17,300,5,8,9,1 columns=4" -o /dev/null > %t.one
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --split-router --spread-norm --qwen-interpret="tokens=5,17,300,5,8,9,1 columns=4" -o /dev/null > %t.two
// RUN: diff %t.one %t.two
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse="disable=fuse-grouped-swiglu" --split-router --spread-norm --qwen-interpret="tokens=5,17,300,5,8,9,1 columns=4" -o /dev/null > %t.three
// RUN: diff %t.one %t.three
// RUN: qwench-opt %s --spread-norm | FileCheck %s

// MODEL-NOT: qwen.rms_norm
// MODEL: %[[X:.*]] = qwen.fused_linear({{.*}}) residual
// MODEL: qwen.fused_linear(%[[X]], %{{.*}}) norm(%[[G:.*]]) {eps = [[E:.*]] : f32}
// MODEL: qwen.grouped_linear(%[[X]], %{{.*}}) norm(%[[G]]) {activation = 1 : i32, eps = [[E]] : f32, gather, top_k = 2 : i64}
// MODEL-NOT: qwen.rms_norm

// A norm of one reader is fuse-norm's.
// CHECK-LABEL: @one
// CHECK: qwen.rms_norm
// CHECK: qwen.linear
func.func @one(%x: tensor<?x4xf32>, %g: tensor<4xf32>, %w: tensor<6x4xf32>) -> tensor<?x6xf32> {
  %n = qwen.rms_norm(%x, %g) {eps = 1.0e-06 : f32} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %y = qwen.linear(%n, %w) : (tensor<?x4xf32>, tensor<6x4xf32>) -> tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}

// Nothing is gained where somebody else reads the rows as well, or where a map writes its result in the place of what it reads.
// CHECK-LABEL: @read
// CHECK: qwen.rms_norm
// CHECK-COUNT-2: qwen.linear
// CHECK: qwen.add
func.func @read(%x: tensor<?x4xf32>, %g: tensor<4xf32>, %w: tensor<4x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %n = qwen.rms_norm(%x, %g) {eps = 1.0e-06 : f32} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %y = qwen.linear(%n, %w) : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %z = qwen.linear(%n, %w) : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %a = qwen.add(%n, %z) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y, %a : tensor<?x4xf32>, tensor<?x4xf32>
}
// CHECK-LABEL: @residual
// CHECK: qwen.rms_norm
// CHECK: qwen.linear
// CHECK: qwen.fused_linear({{.*}}) residual
func.func @residual(%x: tensor<?x4xf32>, %g: tensor<4xf32>, %w: tensor<4x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %n = qwen.rms_norm(%x, %g) {eps = 1.0e-06 : f32} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %y = qwen.linear(%n, %w) : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %z = qwen.fused_linear(%n, %w) residual(%x) : (tensor<?x4xf32>, tensor<4x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y, %z : tensor<?x4xf32>, tensor<?x4xf32>
}

// Every kind of map.
// CHECK-LABEL: @maps(
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x4xf32>
// CHECK-NOT: qwen.rms_norm
// CHECK: qwen.fused_linear(%[[X]], %{{.*}}) norm(%[[G:.*]]) {activation = 1 : i32, eps = [[E:.*]] : f32}
// CHECK: qwen.fused_linear(%[[X]], %{{.*}}) bias(%{{.*}}) norm(%[[G]]) {eps = [[E]] : f32}
// CHECK: qwen.grouped_linear(%[[X]], {{.*}}) norm(%[[G]]) {eps = [[E]] : f32, gather, top_k = 2 : i64}
func.func @maps(%x: tensor<?x4xf32>, %g: tensor<4xf32>, %w: tensor<6x4xf32>, %b: tensor<6xf32>, %e: tensor<3x6x4xf32>, %o: tensor<4xi32>, %p: tensor<?xi32>) -> (tensor<?x3xf32>, tensor<?x6xf32>, tensor<?x6xf32>) {
  %n = qwen.rms_norm(%x, %g) {eps = 1.0e-06 : f32} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %a = qwen.fused_linear(%n, %w) {activation = 1 : i32} : (tensor<?x4xf32>, tensor<6x4xf32>) -> tensor<?x3xf32>
  %c = qwen.linear(%n, %w, %b) : (tensor<?x4xf32>, tensor<6x4xf32>, tensor<6xf32>) -> tensor<?x6xf32>
  %d = qwen.grouped_linear(%n, %e, %o, %p) {top_k = 2, gather} : (tensor<?x4xf32>, tensor<3x6x4xf32>, tensor<4xi32>, tensor<?xi32>) -> tensor<?x6xf32>
  return %a, %c, %d : tensor<?x3xf32>, tensor<?x6xf32>, tensor<?x6xf32>
}
