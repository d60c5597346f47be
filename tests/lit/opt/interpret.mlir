// Logits do not depend on fusion, nor on how a sequence is cut into steps.
// RUN: qwench-opt %S/../dialects/model.mlir --qwen-interpret="tokens=5,17,300,5 columns=4" -o /dev/null > %t.model
// RUN: qwench-opt %S/../dialects/model.mlir --qwen-fuse --qwen-interpret="tokens=5,17,300,5 columns=4" -o /dev/null > %t.fused
// RUN: qwench-opt %S/../dialects/model.mlir --qwen-interpret="tokens=5,17,300,5 columns=4 chunk=1" -o /dev/null > %t.steps
// RUN: qwench-opt %S/../dialects/model.mlir --qwen-interpret="tokens=5,17,300,5 columns=4 seed=2" -o /dev/null > %t.other
// RUN: diff %t.model %t.fused
// RUN: diff %t.model %t.steps
// RUN: not diff %t.model %t.other
// RUN: FileCheck %s < %t.model

// CHECK: logits 0: {{-?[0-9.]+ -?[0-9.]+ -?[0-9.]+ -?[0-9.]+$}}
// CHECK-NEXT: logits 1:
// CHECK-NEXT: logits 2:
// CHECK-NEXT: logits 3:
// CHECK-NOT: logits
