// A norm that fusion put into a linear map is an op of its own again where the target computes it once per row.
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse | FileCheck %s --check-prefix=FUSED
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --qwen-plan="cpu=znver4" | FileCheck %s

// A text in which experts' maps have norms, too, is planned as if it had none.
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --split-router --spread-norm | qwench-opt --qwen-plan="cpu=znver4" | FileCheck %s --check-prefix=SPREAD
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --split-router --spread-norm | qwench-opt --qwen-plan="target=cuda gpu=sm_80" | FileCheck %s --check-prefix=GPU

// FUSED: qwen.fused_linear({{.*}}) norm

// SPREAD-NOT: ) norm(
// SPREAD: qwen.rms_norm(%{{.*}}) outs(%[[N:[0-9]+]])
// SPREAD: qwen.grouped_linear(%
// SPREAD-NOT: ) norm(

// GPU-LABEL: func.func @moe.prefill(
// GPU-NOT: ) norm(
// GPU: qwen.grouped_linear(
// GPU-LABEL: func.func @moe.decode(
// GPU-NOT: qwen.rms_norm
// GPU: qwen.grouped_linear({{.*}}) norm(

// The norm reads the stream in f32 and hands bf16 to the map, with the epsilon that the map had.
// CHECK-NOT: qwen.fused_linear({{[^)]*}}) norm
// CHECK-LABEL: func.func @moe.prefill(
// CHECK: %[[G:.*]] = qwen.param @moe.input_layernorm[
// CHECK: qwen.rms_norm(%[[X:[0-9]+]], %[[G]]) outs(%[[N:[0-9]+]]) {eps = 9.99999997E-7 : f32, {{.*}}} : (memref<?x64xf32, {{.*}}>, tensor<64xbf16>, memref<?x64xbf16,
// CHECK-NOT: qwen.fused_linear({{[^)]*}}) norm
// CHECK: qwen.fused_linear(%[[N]], %{{[0-9]+}}) outs(
// CHECK-NOT: qwen.fused_linear({{[^)]*}}) norm
// CHECK-LABEL: func.func @decode(
// CHECK: qwen.rms_norm(%{{[0-9]+}}, %{{[0-9]+}}) outs(%[[LAST:[0-9]+]])
// CHECK: qwen.fused_linear(%[[LAST]], %{{[0-9]+}}) outs(
