// A router and the dispatch of what it chose are one op, unless somebody else reads which experts those are.
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --split-router --join-dispatch | FileCheck %s
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --qwen-interpret="tokens=5,17,300,5,8,9,1 columns=4" -o /dev/null > %t.one
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --split-router --join-dispatch --qwen-interpret="tokens=5,17,300,5,8,9,1 columns=4" -o /dev/null > %t.two
// RUN: diff %t.one %t.two
// RUN: qwench-opt %s --join-dispatch | FileCheck %s --check-prefix=READ

// CHECK-NOT: qwen.router(
// CHECK-NOT: qwen.dispatch
// CHECK: %[[L:.*]] = qwen.linear(
// CHECK-NEXT: %[[R:.*]]:3 = qwen.router_dispatch(%[[L]]) {normalize = true, top_k = 2 : i64} : (tensor<?x{{.*}}xf32>) -> (tensor<?x2xf32>, tensor<{{.*}}xi32>, tensor<?xi32>)
// CHECK: qwen.grouped_linear({{.*}}, %[[R]]#1, %[[R]]#2)
// CHECK: qwen.grouped_linear_combine({{.*}}, %[[R]]#0, %[[R]]#1, %[[R]]#2)
// CHECK-NOT: qwen.dispatch

func.func @read(%l: tensor<?x4xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>, tensor<5xi32>, tensor<?xi32>) {
  // READ: qwen.router(
  // READ: qwen.dispatch(
  %w, %e = qwen.router(%l) {top_k = 2, normalize = true} : (tensor<?x4xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  %o, %p = qwen.dispatch(%e) : (tensor<?x2xi32>) -> (tensor<5xi32>, tensor<?xi32>)
  return %w, %e, %o, %p : tensor<?x2xf32>, tensor<?x2xi32>, tensor<5xi32>, tensor<?xi32>
}
