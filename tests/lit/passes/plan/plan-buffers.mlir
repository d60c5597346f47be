// Entry points over buffers of one arena. That buffers lie in the arena is check-planned's to say, and it ends the pipeline;
// that storages alive at once never overlap is tests/unit/plan's. Here: what is where, in which type, and for whom.
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --qwen-plan="cpu=znver4 max-context=777" | FileCheck %s
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --qwen-plan="cpu=znver4" | qwench-opt --check-planned -o /dev/null
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse="disable=fuse-qkv,fuse-rope-cache,fuse-swiglu,fuse-router,fuse-grouped-swiglu,fuse-combine,fuse-norm,fuse-residual" --qwen-plan="cpu=znver4" | FileCheck %s --check-prefix=UNFUSED
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --qwen-plan="cpu=x86-64-v4" | FileCheck %s --check-prefix=FMA

// A hash of everything, and the facts that the executable repeats. Cache: 2 (k, v) * 2 layers * 2 heads * 32 * 2 bytes.
// CHECK: cacheBytesPerPosition = 512, cacheGranule = 64, prefillRows = 512, decodeRows = 16>
// CHECK-SAME: qwen.plan_hash = {{-?[0-9]+}} : i64
// CHECK-SAME: attention_flops_per_pair = 1024 : i64
// CHECK-SAME: layers = 2 : i64
// CHECK-SAME: max_context = 777 : i64
// CHECK-SAME: vocab_size = 331 : i64

// No function of the fused stage is left.
// CHECK-NOT: func.func @forward
// CHECK-NOT: func.func @moe(

// A layer takes the step and its place among the layers; it updates the residual stream in place.
// CHECK-LABEL: func.func @moe.prefill(%{{.*}}: !qwen.batch, %{{.*}}: !qwen.cache<{{.*}}>, %{{.*}}: index, %{{.*}}: index) {
// CHECK: %[[T:.*]] = qwen.batch_size %{{.*}}
// CHECK: %[[X:.*]] = qwen.buffer[%[[T]]] at [[STREAM:[0-9]+]] : memref<?x64xf32
// CHECK: qwen.qk_norm_rope_cache({{.*}}) into %{{.*}}[%{{.*}}] outs(%[[Q:[0-9]+]])
// CHECK: qwen.attention(%[[Q]], %{{.*}}) over %{{.*}} outs(%{{[0-9]+}}) {scale = {{.*}}, tile = array<i64: 48>} : (memref<?x4x32xbf16,
// CHECK: qwen.fused_linear({{.*}}) residual(%[[X]]) outs(%[[X]]) {tile = array<i64: 512, 32, 128>}
// Routing lists have a row for each pair of token and expert, and E + 1 offsets.
// CHECK: %[[E:.*]] = qwen.buffer at {{[0-9]+}} : memref<7xi32
// CHECK: %[[PAIRS:.*]] = arith.muli %[[T]], %{{.*}} : index
// CHECK: %[[P:.*]] = qwen.buffer[%[[PAIRS]]] at {{[0-9]+}} : memref<?xi32
// CHECK: qwen.dispatch(%{{.*}}) outs(%[[E]], %[[P]])
// CHECK: qwen.grouped_linear_combine({{.*}}) residual(%[[X]]) outs(%[[X]])
// CHECK-NEXT: return

// The stream of the entry point is the stream of its layers; logits are where the step says.
// CHECK-LABEL: func.func @prefill(%{{.*}}: !qwen.batch, %{{.*}}: !qwen.cache<{{.*}}>) {
// CHECK: %[[TOP:.*]] = qwen.buffer[%{{.*}}] at [[STREAM]] : memref<?x64xf32
// CHECK: qwen.embedding({{.*}}) outs(%[[TOP]])
// CHECK: qwen.layers(%[[TOP]], {{.*}}) through [@moe.prefill, @moe.prefill]
// CHECK: %[[OUT:.*]] = qwen.batch_size outputs
// CHECK: %[[LOGITS:.*]] = qwen.buffer[%[[OUT]]] at 0 logits : memref<?x331xf32, strided<[352, 1]>>
// CHECK: qwen.fused_linear({{.*}}) outs(%[[LOGITS]])

// Decode has tiles of single rows.
// CHECK-LABEL: func.func @moe.decode(
// CHECK: qwen.attention({{.*}}) {scale = {{.*}}, splits = 12 : i64, tile = array<i64: 1>}
// CHECK-LABEL: func.func @decode(
// CHECK: qwen.layers({{.*}}) through [@moe.decode, @moe.decode]

// Without the fusions the sums are written over the stream as well.
// UNFUSED-LABEL: func.func @moe.prefill(
// UNFUSED: qwen.add(%[[X:[0-9]+]], %{{[0-9]+}}) outs(%[[X]])
// UNFUSED: qwen.add(%[[X]], %{{[0-9]+}}) outs(%[[X]])
// UNFUSED-NEXT: return

// A CPU without products of bf16 gets its activations in f32.
// FMA-LABEL: func.func @moe.prefill(
// FMA: qwen.rms_norm({{.*}}} : (memref<?x64xf32, {{.*}}>, tensor<64xbf16>, memref<?x64xf32,
// FMA: qwen.attention({{.*}}} : (memref<?x4x32xf32,
