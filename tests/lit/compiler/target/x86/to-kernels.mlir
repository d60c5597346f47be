// Each planned op is a kernel and a launch of it; kernels know the model only through the members of the step.
// RUN: qwench-opt %S/../../../dialects/model.mlir --qwen-fuse --qwen-plan="cpu=znver4" --qwen-kernels="cpu=znver4" > %t.mlir
// RUN: FileCheck %s < %t.mlir
// RUN: FileCheck %s --check-prefix=ONLY < %t.mlir
// RUN: qwench-opt %t.mlir | FileCheck %s
// RUN: qwench-opt %S/../../../dialects/model.mlir --qwen-fuse --qwen-plan="cpu=x86-64-v4" --qwen-kernels="cpu=x86-64-v4" | FileCheck %s --check-prefix=FMA

// ONLY-NOT: qwen.{{(weight|rotary|param|buffer|batch_size|layers|rms_norm|linear|fused_linear|attention|embedding)}}{{[ (\[]}}

// The launches of a layer are its ops, in their order.
// CHECK-LABEL: func.func @moe.prefill(%{{.*}}: !qwen.batch, %{{.*}}: index, %{{.*}}: index) {
// CHECK: qwen.launch @moe.prefill.0.rms_norm tiles(
// CHECK: qwen.launch @moe.prefill.1.fused_linear tiles(
// CHECK: qwen.launch @moe.prefill.2.qk_norm_rope_cache tiles(
// CHECK: qwen.launch @moe.prefill.3.attention tiles(
// CHECK: qwen.launch @moe.prefill.4.fused_linear tiles(
// CHECK: qwen.launch @moe.prefill.5.rms_norm tiles(
// CHECK: qwen.launch @moe.prefill.6.fused_router tiles(
// CHECK: qwen.launch @moe.prefill.7.dispatch tiles(
// CHECK: qwen.launch @moe.prefill.8.grouped_linear tiles(
// CHECK: qwen.launch @moe.prefill.9.grouped_linear_combine tiles(
// CHECK-NEXT: return

// A kernel has the step, its layer, its scratch and its tile; products of bf16 are dot products of pairs.
// CHECK-LABEL: func.func private @moe.prefill.1.fused_linear(%{{.*}}: !qwen.batch, %{{.*}}: index, %{{.*}}: index, %{{.*}}: memref<?xi8>, %{{.*}}: index) {
// CHECK-DAG: qwen.step_field %{{.*}} arena : memref<?xi8>
// CHECK-DAG: qwen.step_field %{{.*}} weights : memref<?xi8>
// CHECK: call @micro.bf16xbf16.12x32(

// The micro-kernel of 12 rows by 2 vectors has 24 accumulators, all carried in registers.
// CHECK-LABEL: func.func private @micro.bf16xbf16.12x32(
// CHECK: scf.for {{.*}} -> (vector<16xf32>
// CHECK-COUNT-24: x86vector.avx512.dot
// CHECK-NOT: x86vector.avx512.dot
// CHECK: scf.yield

// The layers are a loop, whatever their number.
// CHECK-LABEL: func.func @prefill(
// CHECK: scf.for
// CHECK-NEXT: call @moe.prefill(
// CHECK-LABEL: func.func @decode(
// CHECK: call @moe.decode(

// FMA-NOT: x86vector
// FMA: func.func private @micro.f32xbf16.12x32(
// FMA-NOT: x86vector
// FMA: vector.fma
// FMA-NOT: x86vector
