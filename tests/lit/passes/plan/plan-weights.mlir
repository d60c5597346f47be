// Weights that are read get a layout and a place: layer by layer, in the order in which a layer reads them.
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --qwen-plan="cpu=znver4" | FileCheck %s
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse="disable=fuse-qkv,fuse-rope-cache,fuse-grouped-swiglu" --qwen-plan="cpu=znver4" | FileCheck %s --check-prefix=APART

// The embedding is also the output matrix here, so it has the layout of matrices; all sizes are padded to the layout's
// multiples and then to 128 bytes:
//   norm 64 * 2 = 128; qkv 256 * 64 * 2 = 32768; q_norm, k_norm 128 each; o 64 * 128 * 2 = 16384; router 32 * 64 * 2 = 4096;
//   gate_up 6 * 64 * 64 * 2 = 49152 (two halves of 24 outputs, each padded to 32); down 6 * 64 * 32 * 2 = 24576.
// A layer takes 127488 bytes, the head 352 * 64 * 2 + 128 = 45184; the section 2 * 127488 + 45184 = 300160.
// CHECK: weightBytes = 300160

// CHECK-DAG: @embed_tokens {{.*}} layout <"panels", width = 32, depth = 2, align = 32, pair_halves = false> at {{[0-9]+}} stride 45184
// CHECK-DAG: @norm {{.*}} layout <"rows", {{.*}}> at {{[0-9]+}} stride 45184
// CHECK-DAG: @moe.input_layernorm {{.*}} layout <"rows", {{.*}}> at 0 stride 127488
// CHECK-DAG: @moe.qkv_proj {{.*}} parts [@moe.q_proj, @moe.k_proj, @moe.v_proj] layout <"panels", width = 32, depth = 2, align = 32, pair_halves = false> at 128 stride 127488
// CHECK-DAG: @moe.q_norm {{.*}} layout <"rows", {{.*}}> at 32896 stride 127488
// CHECK-DAG: @moe.k_norm {{.*}} layout <"rows", {{.*}}> at 33024 stride 127488
// CHECK-DAG: @moe.o_proj {{.*}} at 33152 stride 127488
// CHECK-DAG: @moe.post_attention_layernorm {{.*}} at 49536 stride 127488
// CHECK-DAG: @moe.router {{.*}} at 49664 stride 127488
// CHECK-DAG: @moe.gate_up_proj {{.*}} layout <"panels", width = 32, depth = 2, align = 32, pair_halves = true> at 53760 stride 127488
// CHECK-DAG: @moe.down_proj {{.*}} pair_halves = false> at 102912 stride 127488

// Parts are packed through the weight that is made of them, and have no place of their own.
// CHECK-DAG: @moe.q_proj {{.*}} source "model.layers.{layer}.self_attn.q_proj.weight"{{$}}
// CHECK-DAG: @moe.gate_proj {{.*}} source "model.layers.{layer}.mlp.experts.{expert}.gate_proj.weight"{{$}}

// Where nothing was made one, q, k, v, gate and up each have their place, and no halves are paired.
// APART-NOT: pair_halves = true
// APART-DAG: @moe.q_proj {{.*}} layout <"panels", {{.*}}> at 128 stride
// APART-DAG: @moe.k_proj {{.*}} layout <"panels", {{.*}}> at 16512 stride
// APART-DAG: @moe.v_proj {{.*}} layout <"panels", {{.*}}> at 24704 stride
// APART-DAG: @moe.gate_proj {{.*}} layout <"panels", {{.*}}> at
// APART-DAG: @moe.up_proj {{.*}} layout <"panels", {{.*}}> at
