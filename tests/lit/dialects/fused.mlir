// The fused level parses, verifies, and prints as it was read, with tensors and with buffers.
// RUN: qwench-opt %s | qwench-opt | FileCheck %s

// CHECK: qwen.weight @qkv : tensor<256x64xbf16> instances 2 layers [0, 1] parts [@q, @k, @v]
qwen.weight @qkv : tensor<256x64xbf16> instances 2 layers [0, 1] parts [@q, @k, @v]
qwen.weight @q : tensor<128x64xbf16> instances 2 layers [0, 1] source "q.{layer}"
qwen.weight @k : tensor<64x64xbf16> instances 2 layers [0, 1] source "k.{layer}"
qwen.weight @v : tensor<64x64xbf16> instances 2 layers [0, 1] source "v.{layer}"
// CHECK: qwen.weight @packed : tensor<8x4xf32> instances 1 layers [0] source "packed" layout <"panels", width = 16, depth = 2, align = 4, pair_halves = true> at 64 stride 512
qwen.weight @packed : tensor<8x4xf32> instances 1 layers [0] source "packed" layout <"panels", width = 16, depth = 2, align = 4, pair_halves = true> at 64 stride 512

// CHECK-LABEL: @attention
func.func @attention(%x: tensor<?x64xf32>, %n: tensor<64xf32>, %nq: tensor<32xf32>, %nk: tensor<32xf32>, %rope: tensor<?x32xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 2, heads = 2, dim = 32, bf16>, %layer: index, %i: index) -> tensor<?x4x32xf32> {
  %w = qwen.param @qkv[%i] : tensor<256x64xbf16>
  // CHECK: qwen.fused_linear({{.*}}) norm(%{{.*}}) {eps = {{.*}} : f32} :
  %qkv = qwen.fused_linear(%x, %w) norm(%n) {eps = 1.0e-06 : f32} : (tensor<?x64xf32>, tensor<256x64xbf16>, tensor<64xf32>) -> tensor<?x256xf32>
  // CHECK: qwen.qk_norm_rope_cache({{.*}}) into %{{.*}}[%{{.*}}] {eps
  %q = qwen.qk_norm_rope_cache(%qkv, %nq, %nk, %rope, %batch) into %cache[%layer] {eps = 1.0e-06 : f32} : (tensor<?x256xf32>, tensor<32xf32>, tensor<32xf32>, tensor<?x32xf32>, !qwen.cache<layers = 2, heads = 2, dim = 32, bf16>, index, !qwen.batch) -> tensor<?x4x32xf32>
  return %q : tensor<?x4x32xf32>
}

// CHECK-LABEL: @runs
func.func @runs(%q: tensor<?x4x32xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 2, heads = 2, dim = 32, f32>, %layer: index) -> tensor<?x4x32xf32> {
  // CHECK: %[[V:.*]]:2 = qwen.attention({{.*}}) over %{{.*}}[%{{.*}}] {scale = 1.250000e-01 : f32, split_keys = 64 : i64, splits = 4 : i64} :
  %v, %s = qwen.attention(%q, %batch) over %cache[%layer] {scale = 0.125 : f32, splits = 4, split_keys = 64}
    : (tensor<?x4x32xf32>, !qwen.cache<layers = 2, heads = 2, dim = 32, f32>, index, !qwen.batch)
    -> (tensor<?x4x4x32xf32>, tensor<?x4x4x2xf32>)
  // CHECK: qwen.attention_combine(%[[V]]#0, %[[V]]#1) :
  %y = qwen.attention_combine(%v, %s) : (tensor<?x4x4x32xf32>, tensor<?x4x4x2xf32>) -> tensor<?x4x32xf32>
  return %y : tensor<?x4x32xf32>
}

// CHECK-LABEL: @choice
func.func @choice(%l: tensor<?x6xf32>) -> (tensor<?x2xf32>, tensor<7xi32>, tensor<?xi32>) {
  // CHECK: qwen.router_dispatch(%{{.*}}) {normalize = false, top_k = 2 : i64} : (tensor<?x6xf32>) -> (tensor<?x2xf32>, tensor<7xi32>, tensor<?xi32>)
  %w, %o, %p = qwen.router_dispatch(%l) {top_k = 2, normalize = false} : (tensor<?x6xf32>) -> (tensor<?x2xf32>, tensor<7xi32>, tensor<?xi32>)
  return %w, %o, %p : tensor<?x2xf32>, tensor<7xi32>, tensor<?xi32>
}

// CHECK-LABEL: @experts
func.func @experts(%x: tensor<?x64xf32>, %n: tensor<64xf32>, %wr: tensor<6x64xf32>, %wgu: tensor<6x48x64xf32>, %wd: tensor<6x64x24xf32>) -> tensor<?x64xf32> {
  // CHECK: qwen.fused_router({{.*}}) {normalize = true, top_k = 2 : i64}
  %w, %e = qwen.fused_router(%x, %wr) {top_k = 2, normalize = true} : (tensor<?x64xf32>, tensor<6x64xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  // CHECK: qwen.dispatch
  %o, %p = qwen.dispatch(%e) : (tensor<?x2xi32>) -> (tensor<7xi32>, tensor<?xi32>)
  // CHECK: qwen.grouped_linear({{.*}}) {activation = 1 : i32, gather, top_k = 2 : i64}
  %a = qwen.grouped_linear(%x, %wgu, %o, %p) {top_k = 2, gather, activation = 1 : i32} : (tensor<?x64xf32>, tensor<6x48x64xf32>, tensor<7xi32>, tensor<?xi32>) -> tensor<?x24xf32>
  // CHECK: qwen.grouped_linear({{.*}}) norm(%{{.*}}) {eps = {{.*}} : f32, gather, top_k = 2 : i64}
  %b = qwen.grouped_linear(%x, %wgu, %o, %p) norm(%n) {top_k = 2, gather, eps = 1.0e-06 : f32} : (tensor<?x64xf32>, tensor<6x48x64xf32>, tensor<7xi32>, tensor<?xi32>, tensor<64xf32>) -> tensor<?x48xf32>
  // CHECK: qwen.grouped_linear_combine({{.*}}) residual(%{{.*}}) :
  %y = qwen.grouped_linear_combine(%a, %wd, %w, %o, %p) residual(%x) : (tensor<?x24xf32>, tensor<6x64x24xf32>, tensor<?x2xf32>, tensor<7xi32>, tensor<?xi32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// CHECK-LABEL: @buffers
func.func @buffers(%batch: !qwen.batch, %i: index) {
  %w = qwen.param @packed[%i] : tensor<8x4xf32>
  // CHECK: %[[T:.*]] = qwen.batch_size %{{.*}}
  %t = qwen.batch_size %batch
  // CHECK: %[[O:.*]] = qwen.batch_size outputs %{{.*}}
  %o = qwen.batch_size outputs %batch
  // CHECK: %[[X:.*]] = qwen.buffer[%[[T]]] at 0 : memref<?x4xf32>
  %x = qwen.buffer[%t] at 0 : memref<?x4xf32>
  // CHECK: qwen.buffer at 4096 : memref<7xi32>
  %offsets = qwen.buffer at 4096 : memref<7xi32>
  // CHECK: %[[Y:.*]] = qwen.buffer[%[[O]]] at 0 logits : memref<?x8xf32>
  %y = qwen.buffer[%o] at 0 logits : memref<?x8xf32>
  // CHECK: qwen.fused_linear(%[[X]], %{{.*}}) outs(%[[Y]]) {tile = array<i64: 4, 16>}
  qwen.fused_linear(%x, %w) outs(%y) {tile = array<i64: 4, 16>} : (memref<?x4xf32>, tensor<8x4xf32>, memref<?x8xf32>) -> ()
  return
}
