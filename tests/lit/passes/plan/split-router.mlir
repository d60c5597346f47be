// A router with its projection is a linear map and a router.
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --split-router | FileCheck %s
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --qwen-interpret="tokens=5,17,300,5,8,9,1 columns=4" -o /dev/null > %t.one
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --split-router --qwen-interpret="tokens=5,17,300,5,8,9,1 columns=4" -o /dev/null > %t.two
// RUN: diff %t.one %t.two

// CHECK-NOT: qwen.fused_router
// CHECK: %[[L:.*]] = qwen.linear(%{{.*}}, %{{.*}}) : (tensor<?x{{.*}}xf32>, tensor<{{.*}}>) -> tensor<?x{{.*}}xf32>
// CHECK-NEXT: qwen.router(%[[L]])
