// Attention over runs of the keys and their combine are attention; decode has them where a context has several blocks.
// RUN: qwench-opt %S/../../dialects/model.mlir --split-attention="splits=3 keys=2" | FileCheck %s
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-interpret="tokens=5,17,300,5,8,9,1 columns=4" -o /dev/null > %t.whole
// RUN: qwench-opt %S/../../dialects/model.mlir --split-attention="splits=3 keys=2" --qwen-interpret="tokens=5,17,300,5,8,9,1 columns=4" -o /dev/null > %t.runs
// RUN: diff %t.whole %t.runs
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --qwen-plan="cpu=znver4" | FileCheck %s --check-prefix=PLAN
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --qwen-plan="cpu=znver4 max-context=256" | FileCheck %s --check-prefix=SHORT
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --qwen-plan="cpu=znver4 max-context=64" | FileCheck %s --check-prefix=ONE

// CHECK: %[[R:.*]]:2 = qwen.attention(%[[Q:.*]], %{{.*}}) over %{{.*}}[%{{.*}}] {scale = {{.*}}, split_keys = 2 : i64, splits = 3 : i64} : {{.*}} -> (tensor<?x3x4x32xf32>, tensor<?x3x4x2xf32>)
// CHECK: qwen.attention_combine(%[[R]]#0, %[[R]]#1) : (tensor<?x3x4x32xf32>, tensor<?x3x4x2xf32>) -> tensor<?x4x32xf32>

// Prefill has rows enough; of 2 key/value heads, 64 runs are 128 tiles.
// PLAN-LABEL: func.func @moe.prefill(
// PLAN-NOT: splits
// PLAN-LABEL: func.func @moe.decode(
// PLAN: qwen.attention({{.*}}) over %{{.*}}[%{{.*}}] outs(%[[V:[0-9]+]], %[[S:[0-9]+]]) {scale = {{.*}}, split_keys = 64 : i64, splits = 64 : i64, tile = array<i64: 1>}
// PLAN-NEXT: qwen.attention_combine(%[[V]], %[[S]]) outs(%{{[0-9]+}}) {tile = array<i64: 1, 1>} : (memref<?x64x4x32xf32, {{.*}}>, memref<?x64x4x2xf32, {{.*}}>, memref<?x4x32xbf16,

// SHORT: splits = 4 : i64
// ONE-NOT: splits
