// The model stage parses, verifies, and prints as it was read.
// RUN: qwench-opt %s | qwench-opt | FileCheck %s

// CHECK: qwen.weight @embed_tokens : tensor<331x64xbf16> instances 1 layers [] source "model.embed_tokens.weight"
qwen.weight @embed_tokens : tensor<331x64xbf16> instances 1 layers [] source "model.embed_tokens.weight"
qwen.weight @norm : tensor<64xbf16> instances 1 layers [] source "model.norm.weight"
qwen.weight @moe.input_layernorm : tensor<64xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.input_layernorm.weight"
qwen.weight @moe.q_proj : tensor<128x64xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.self_attn.q_proj.weight"
qwen.weight @moe.k_proj : tensor<64x64xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.self_attn.k_proj.weight"
qwen.weight @moe.v_proj : tensor<64x64xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.self_attn.v_proj.weight"
qwen.weight @moe.o_proj : tensor<64x128xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.self_attn.o_proj.weight"
qwen.weight @moe.q_norm : tensor<32xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.self_attn.q_norm.weight"
qwen.weight @moe.k_norm : tensor<32xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.self_attn.k_norm.weight"
qwen.weight @moe.post_attention_layernorm : tensor<64xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.post_attention_layernorm.weight"
qwen.weight @moe.router : tensor<6x64xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.mlp.gate.weight"
qwen.weight @moe.gate_proj : tensor<6x24x64xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.mlp.experts.{expert}.gate_proj.weight"
qwen.weight @moe.up_proj : tensor<6x24x64xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.mlp.experts.{expert}.up_proj.weight"
qwen.weight @moe.down_proj : tensor<6x64x24xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.mlp.experts.{expert}.down_proj.weight"
// CHECK: qwen.rotary @rope fixed scaling 1.000000e+00
qwen.rotary @rope fixed scaling 1.0 {inv_freq = array<f32: 1.0, 0.5623, 0.3162, 0.1778, 0.1, 0.05623, 0.03162, 0.01778, 0.01, 0.005623, 0.003162, 0.001778, 0.001, 0.0005623, 0.0003162, 0.0001778>}

// CHECK-LABEL: func.func @moe
func.func @moe(%x: tensor<?x64xf32>, %rope: tensor<?x32xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 2, heads = 2, dim = 32, bf16>, %layer: index, %instance: index) -> tensor<?x64xf32> {
  %n1 = qwen.param @moe.input_layernorm[%instance] : tensor<64xbf16>
  %wq = qwen.param @moe.q_proj[%instance] : tensor<128x64xbf16>
  %wk = qwen.param @moe.k_proj[%instance] : tensor<64x64xbf16>
  %wv = qwen.param @moe.v_proj[%instance] : tensor<64x64xbf16>
  %wo = qwen.param @moe.o_proj[%instance] : tensor<64x128xbf16>
  %nq = qwen.param @moe.q_norm[%instance] : tensor<32xbf16>
  %nk = qwen.param @moe.k_norm[%instance] : tensor<32xbf16>
  %n2 = qwen.param @moe.post_attention_layernorm[%instance] : tensor<64xbf16>
  %wr = qwen.param @moe.router[%instance] : tensor<6x64xbf16>
  %wg = qwen.param @moe.gate_proj[%instance] : tensor<6x24x64xbf16>
  %wu = qwen.param @moe.up_proj[%instance] : tensor<6x24x64xbf16>
  %wd = qwen.param @moe.down_proj[%instance] : tensor<6x64x24xbf16>
  %h = qwen.rms_norm(%x, %n1) {eps = 1.0e-06 : f32} : (tensor<?x64xf32>, tensor<64xbf16>) -> tensor<?x64xf32>
  %q = qwen.linear(%h, %wq) : (tensor<?x64xf32>, tensor<128x64xbf16>) -> tensor<?x128xf32>
  %k = qwen.linear(%h, %wk) : (tensor<?x64xf32>, tensor<64x64xbf16>) -> tensor<?x64xf32>
  %v = qwen.linear(%h, %wv) : (tensor<?x64xf32>, tensor<64x64xbf16>) -> tensor<?x64xf32>
  %qh = qwen.split_heads %q : tensor<?x128xf32> -> tensor<?x4x32xf32>
  %kh = qwen.split_heads %k : tensor<?x64xf32> -> tensor<?x2x32xf32>
  %vh = qwen.split_heads %v : tensor<?x64xf32> -> tensor<?x2x32xf32>
  %qn = qwen.rms_norm(%qh, %nq) {eps = 1.0e-06 : f32} : (tensor<?x4x32xf32>, tensor<32xbf16>) -> tensor<?x4x32xf32>
  %kn = qwen.rms_norm(%kh, %nk) {eps = 1.0e-06 : f32} : (tensor<?x2x32xf32>, tensor<32xbf16>) -> tensor<?x2x32xf32>
  %qr = qwen.rope(%qn, %rope) : (tensor<?x4x32xf32>, tensor<?x32xf32>) -> tensor<?x4x32xf32>
  %kr = qwen.rope(%kn, %rope) : (tensor<?x2x32xf32>, tensor<?x32xf32>) -> tensor<?x2x32xf32>
  qwen.cache_write(%kr, %vh, %batch) into %cache[%layer] : tensor<?x2x32xf32>, tensor<?x2x32xf32>, !qwen.cache<layers = 2, heads = 2, dim = 32, bf16>
  // CHECK: qwen.attention({{.*}}) over %{{.*}}[%{{.*}}]
  %a = qwen.attention(%qr, %batch) over %cache[%layer] {scale = 0.176776692 : f32} : (tensor<?x4x32xf32>, !qwen.cache<layers = 2, heads = 2, dim = 32, bf16>, index, !qwen.batch) -> tensor<?x4x32xf32>
  %am = qwen.merge_heads %a : tensor<?x4x32xf32> -> tensor<?x128xf32>
  %o = qwen.linear(%am, %wo) : (tensor<?x128xf32>, tensor<64x128xbf16>) -> tensor<?x64xf32>
  %x1 = qwen.add(%x, %o) : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %h2 = qwen.rms_norm(%x1, %n2) {eps = 1.0e-06 : f32} : (tensor<?x64xf32>, tensor<64xbf16>) -> tensor<?x64xf32>
  %rl = qwen.linear(%h2, %wr) : (tensor<?x64xf32>, tensor<6x64xbf16>) -> tensor<?x6xf32>
  %rw, %re = qwen.router(%rl) {top_k = 2, normalize = true} : (tensor<?x6xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  // CHECK: qwen.experts
  %m = qwen.experts(%h2, %rw, %re, %wg, %wu, %wd) : (tensor<?x64xf32>, tensor<?x2xf32>, tensor<?x2xi32>, tensor<6x24x64xbf16>, tensor<6x24x64xbf16>, tensor<6x64x24xbf16>) -> tensor<?x64xf32>
  %x2 = qwen.add(%x1, %m) : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return %x2 : tensor<?x64xf32>
}

// CHECK-LABEL: func.func @forward
func.func @forward(%batch: !qwen.batch, %cache: !qwen.cache<layers = 2, heads = 2, dim = 32, bf16>) -> tensor<?x331xf32> {
  %c0 = arith.constant 0 : index
  %table = qwen.param @embed_tokens[%c0] : tensor<331x64xbf16>
  %n = qwen.param @norm[%c0] : tensor<64xbf16>
  %x = qwen.embedding(%batch, %table) : (!qwen.batch, tensor<331x64xbf16>) -> tensor<?x64xf32>
  %rope = qwen.rope_table(%batch) @rope : (!qwen.batch) -> tensor<?x32xf32>
  // CHECK: qwen.layers({{.*}}) through [@moe, @moe]
  %y = qwen.layers(%x, %rope, %batch, %cache) through [@moe, @moe] : (tensor<?x64xf32>, tensor<?x32xf32>, !qwen.batch, !qwen.cache<layers = 2, heads = 2, dim = 32, bf16>) -> tensor<?x64xf32>
  %last = qwen.output_rows(%y, %batch) : (tensor<?x64xf32>, !qwen.batch) -> tensor<?x64xf32>
  %h = qwen.rms_norm(%last, %n) {eps = 1.0e-06 : f32} : (tensor<?x64xf32>, tensor<64xbf16>) -> tensor<?x64xf32>
  %logits = qwen.linear(%h, %table) : (tensor<?x64xf32>, tensor<331x64xbf16>) -> tensor<?x331xf32>
  return %logits : tensor<?x331xf32>
}
