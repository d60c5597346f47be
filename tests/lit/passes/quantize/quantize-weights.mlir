// Weights of products change their type, with their params and the weights they are parts of; others keep it.
// RUN: qwench-opt %s --quantize-weights="dtype=int4" | FileCheck %s --check-prefixes=CHECK,INT4
// RUN: qwench-opt %s --quantize-weights="dtype=int8 group-size=32 dtype-for=*.down_proj=int8:64" | FileCheck %s --check-prefixes=CHECK,INT8
// RUN: qwench-opt %s --quantize-weights="dtype=nvfp4 dtype-for=lm_head=bf16,layers.?.self_attn.*=fp8,moe.router=f32" | FileCheck %s --check-prefix=RULES
// RUN: qwench-opt %s --quantize-weights | FileCheck %s --check-prefix=NONE
// RUN: qwench-opt %s --quantize-weights="dtype=mxfp4 dtype-for=*_*=int8,*_*=int4z,model.layers.*.mlp.experts.{0,1}.*=mxfp4,moe.o_proj=bf16,gptq=int8" | FileCheck %s --check-prefix=LAST

// CHECK: module attributes {qwen.model = {dtype = "[[DTYPE:int4|int8:32]]"
// RULES: qwen.model = {dtype = "nvfp4", dtype_for = "lm_head=bf16,layers.?.self_attn.*=fp8,moe.router=f32"
// NONE: qwen.model = {dtype = "bf16"
module attributes {qwen.model = {dtype = "bf16", kv_dtype = "bf16"}} {
// CHECK: @embed_tokens : tensor<331x64xbf16>
// RULES: @embed_tokens : tensor<331x64xbf16>
// LAST: @embed_tokens : tensor<331x64xbf16>
qwen.weight @embed_tokens : tensor<331x64xbf16> instances 1 layers [] source "model.embed_tokens.weight"
// INT4: @lm_head : tensor<331x64x!qwen.quant<i4, group = 64, scale = f16>>
// INT8: @lm_head : tensor<331x64x!qwen.quant<i8, group = 32, scale = f16>>
// RULES: @lm_head : tensor<331x64xbf16>
// NONE: @lm_head : tensor<331x64xbf16>
// LAST: @lm_head : tensor<331x64x!qwen.quant<i4, group = 64, scale = f16, zero_points = true>>
qwen.weight @lm_head : tensor<331x64xbf16> instances 1 layers [] source "lm_head.weight"
// CHECK: @moe.o_norm : tensor<64xf32>
qwen.weight @moe.o_norm : tensor<64xf32> instances 2 layers [0, 1] source "model.layers.{layer}.norm.weight"
// INT4: @moe.o_proj : tensor<64x128x!qwen.quant<i4
// RULES: @moe.o_proj : tensor<64x128x!qwen.quant<f8E4M3FN, group = 128, scale = f32, group_rows = 128>>
// LAST: @moe.o_proj : tensor<64x128xbf16>
qwen.weight @moe.o_proj : tensor<64x128xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.self_attn.o_proj.weight"
// CHECK: @moe.router : tensor<2x64xbf16>
// RULES: @moe.router : tensor<2x64xf32>
qwen.weight @moe.router : tensor<2x64xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.mlp.gate.weight"
// INT4: @moe.gate_proj : tensor<2x24x64x!qwen.quant<i4
// INT4: @moe.up_proj : tensor<2x24x64x!qwen.quant<i4
// INT4: @moe.gate_up_proj : tensor<2x48x64x!qwen.quant<i4
// RULES: @moe.gate_up_proj : tensor<2x48x64x!qwen.quant<f4E2M1FN, group = 16, scale = f8E4M3FN, row_scales = true>>
// LAST: @moe.gate_up_proj : tensor<2x48x64x!qwen.quant<f4E2M1FN, group = 32, scale = f8E8M0FNU>>
qwen.weight @moe.gate_proj : tensor<2x24x64xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.mlp.experts.{expert}.gate_proj.weight"
qwen.weight @moe.up_proj : tensor<2x24x64xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.mlp.experts.{expert}.up_proj.weight"
qwen.weight @moe.gate_up_proj : tensor<2x48x64xbf16> instances 2 layers [0, 1] parts [@moe.gate_proj, @moe.up_proj]
// INT8: @moe.down_proj : tensor<2x64x24x!qwen.quant<i8, group = 64, scale = f16>>
qwen.weight @moe.down_proj : tensor<2x64x24xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.mlp.experts.{expert}.down_proj.weight"
// A quantized checkpoint's weight stays as it is, unless a rule names it.
// LAST: @gptq : tensor<64x64x!qwen.quant<i8, group = 0, scale = f32>>
// CHECK: @gptq : tensor<64x64x!qwen.quant<i4, group = 32, scale = f16, zero_points = true>>
qwen.weight @gptq : tensor<64x64x!qwen.quant<i4, group = 32, scale = f16, zero_points = true>> instances 1 layers [] source "gptq.weight"

func.func @f(%x: tensor<?x64xf32>, %y: tensor<?x128xf32>, %experts: tensor<3xi32>, %pairs: tensor<?xi32>, %w: tensor<?x2xf32>, %batch: !qwen.batch, %i: index) {
  %0 = qwen.param @embed_tokens[%i] : tensor<331x64xbf16>
  %1 = qwen.embedding(%batch, %0) : (!qwen.batch, tensor<331x64xbf16>) -> tensor<?x64xf32>
  // INT4: qwen.param @lm_head[%{{.*}}] : tensor<331x64x!qwen.quant<i4, group = 64, scale = f16>>
  %2 = qwen.param @lm_head[%i] : tensor<331x64xbf16>
  %3 = qwen.linear(%x, %2) : (tensor<?x64xf32>, tensor<331x64xbf16>) -> tensor<?x331xf32>
  %4 = qwen.param @moe.o_proj[%i] : tensor<64x128xbf16>
  %5 = qwen.fused_linear(%y, %4) residual(%x) : (tensor<?x128xf32>, tensor<64x128xbf16>, tensor<?x64xf32>) -> tensor<?x64xf32>
  %6 = qwen.param @moe.router[%i] : tensor<2x64xbf16>
  %7:2 = qwen.fused_router(%x, %6) {normalize = true, top_k = 1 : i64} : (tensor<?x64xf32>, tensor<2x64xbf16>) -> (tensor<?x1xf32>, tensor<?x1xi32>)
  %8 = qwen.param @moe.gate_up_proj[%i] : tensor<2x48x64xbf16>
  %9 = qwen.grouped_linear(%x, %8, %experts, %pairs) {activation = 1 : i32, gather, top_k = 1 : i64} : (tensor<?x64xf32>, tensor<2x48x64xbf16>, tensor<3xi32>, tensor<?xi32>) -> tensor<?x24xf32>
  %10 = qwen.param @moe.down_proj[%i] : tensor<2x64x24xbf16>
  %11 = qwen.grouped_linear_combine(%9, %10, %7#0, %experts, %pairs) : (tensor<?x24xf32>, tensor<2x64x24xbf16>, tensor<?x1xf32>, tensor<3xi32>, tensor<?xi32>) -> tensor<?x64xf32>
  %12 = qwen.param @gptq[%i] : tensor<64x64x!qwen.quant<i4, group = 32, scale = f16, zero_points = true>>
  %13 = qwen.linear(%x, %12) : (tensor<?x64xf32>, tensor<64x64x!qwen.quant<i4, group = 32, scale = f16, zero_points = true>>) -> tensor<?x64xf32>
  return
}
}
