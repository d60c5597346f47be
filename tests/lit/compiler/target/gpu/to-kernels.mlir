// Each planned op is a function of a block of threads in the module of each device, and a launch of it.
// RUN: qwench-opt %S/../../../dialects/model.mlir --qwen-fuse --qwen-plan="target=cuda gpu=sm_80,sm_90a" --qwen-kernels="target=cuda gpu=sm_80,sm_90a" > %t.mlir
// RUN: FileCheck %s < %t.mlir
// RUN: FileCheck %s --check-prefix=ONLY < %t.mlir
// RUN: qwench-opt %t.mlir | FileCheck %s
// RUN: qwench-opt %S/../../../dialects/model.mlir --qwen-fuse --qwen-plan="target=rocm gpu=gfx942,gfx1100" --qwen-kernels="target=rocm gpu=gfx942,gfx1100" | FileCheck %s --check-prefix=AMD

// ONLY-NOT: qwen.{{(weight|rotary|param|buffer|batch_size|layers|rms_norm|linear|fused_linear|attention|embedding)}}{{[ (\[]}}

// The same kernels in the same order for both devices.
// CHECK: gpu.module @sm_80
// CHECK: gpu.func @moe_prefill_0_rms_norm(%{{.*}}: !qwen.batch, %{{.*}}: index, %{{.*}}: index, %{{.*}}: index) workgroup(%{{.*}} : memref<8xf32, #gpu.address_space<workgroup>>{{.*}}) attributes {known_block_size = array<i32: 256, 1, 1>
// CHECK: gpu.subgroup_reduce add
// CHECK: gpu.barrier

// Products of few rows: 16 bytes of weights a lane, several rows of them ahead; the lanes' sums meet at the end.
// CHECK: gpu.func @moe_decode_0_fused_linear({{.*}}known_block_size = array<i32: 128, 1, 1>
// CHECK-DAG: qwen.step_field %{{.*}} weights : memref<?xi8, #gpu.address_space<global>>
// CHECK-DAG: qwen.step_field %{{.*}} arena : memref<?xi8, #gpu.address_space<global>>
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<{{.*}}xbf16, #gpu.address_space<global>>, vector<8xbf16>
// CHECK: gpu.subgroup_reduce add
// CHECK: gpu.module @sm_90a
// CHECK: gpu.func @moe_prefill_0_rms_norm(

// The launches of a layer are its ops, in their order; in decode attention over a long context is two of them,
// and the norm before a linear map, or before the router and the experts, is none.
// CHECK-LABEL: func.func @moe.decode(%{{.*}}: !qwen.batch, %{{.*}}: index, %{{.*}}: index) {
// CHECK: qwen.launch @moe_decode_0_fused_linear tiles(
// CHECK: qwen.launch @moe_decode_1_qk_norm_rope_cache tiles(
// CHECK: qwen.launch @moe_decode_2_attention tiles(
// CHECK: qwen.launch @moe_decode_3_attention_combine tiles(
// CHECK: qwen.launch @moe_decode_4_fused_linear tiles(
// CHECK: qwen.launch @moe_decode_5_fused_linear tiles(
// CHECK: qwen.launch @moe_decode_6_router_dispatch tiles(%c1)
// CHECK: qwen.launch @moe_decode_7_grouped_linear tiles(
// CHECK: qwen.launch @moe_decode_8_grouped_linear_combine tiles(
// CHECK-NEXT: return

// A row of logits becomes a token where it is.
// CHECK-LABEL: func.func @sample(
// CHECK: %[[DRAWS:.*]] = qwen.step_field %{{.*}} rows : index
// CHECK: qwen.launch @sample_0_sample tiles(%[[DRAWS]])

// Subgroups of 64 lanes make blocks of twice as many threads of the same tiles.
// AMD: gpu.module @gfx942
// AMD: gpu.func @moe_prefill_0_rms_norm({{.*}}known_block_size = array<i32: 512, 1, 1>
// AMD: gpu.module @gfx1100
// AMD: gpu.func @moe_prefill_0_rms_norm({{.*}}known_block_size = array<i32: 256, 1, 1>

// For a persistent schedule all that decode reaches has blocks of four subgroups, and linear maps of NVIDIA ask for their
// weights ahead; prefill is as ever.
// RUN: qwench-opt %S/../../../dialects/model.mlir --qwen-fuse --qwen-plan="target=cuda gpu=sm_80" --qwen-kernels="target=cuda gpu=sm_80 schedule=persistent" | FileCheck %s --check-prefix=PERSISTENT
// RUN: qwench-opt %S/../../../dialects/model.mlir --qwen-fuse --qwen-plan="target=rocm gpu=gfx942" --qwen-kernels="target=rocm gpu=gfx942 schedule=persistent" | FileCheck %s --check-prefix=PERSISTENT-AMD
// PERSISTENT: gpu.func @moe_prefill_0_rms_norm({{.*}}known_block_size = array<i32: 256, 1, 1>
// PERSISTENT-NOT: prefill{{.*}}_ahead
// PERSISTENT: gpu.func @moe_decode_0_fused_linear({{.*}}known_block_size = array<i32: 128, 1, 1>
// PERSISTENT: gpu.func @moe_decode_0_fused_linear_ahead({{.*}}known_block_size = array<i32: 128, 1, 1>
// PERSISTENT: memref.prefetch %{{.*}}, read, locality<2>, data
// PERSISTENT: gpu.func @moe_decode_6_router_dispatch({{.*}}known_block_size = array<i32: 128, 1, 1>
// PERSISTENT-AMD: gpu.func @moe_decode_6_router_dispatch({{.*}}known_block_size = array<i32: 256, 1, 1>
// PERSISTENT-AMD-NOT: _ahead
