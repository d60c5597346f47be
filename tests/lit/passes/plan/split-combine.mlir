// A grouped map that combines is a grouped map and a combine.
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --split-combine | FileCheck %s
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --qwen-interpret="tokens=5,17,300,5,8,9,1 columns=4" -o /dev/null > %t.one
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --split-combine --qwen-interpret="tokens=5,17,300,5,8,9,1 columns=4" -o /dev/null > %t.two
// RUN: diff %t.one %t.two

// CHECK-NOT: qwen.grouped_linear_combine
// CHECK: %[[Z:.*]] = qwen.grouped_linear(%[[X:.*]], %[[W:.*]], %[[O:[^ ,]*]], %[[I:[^ ,)]*]]) {top_k = 2 : i64}
// CHECK-NEXT: qwen.combine(%[[Z]], %{{.*}}, %[[O]], %[[I]]) residual(%{{.*}})
