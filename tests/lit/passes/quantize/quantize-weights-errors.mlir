// Formats and patterns that cannot work are refused, with what there is.
// RUN: not qwench-opt %s --quantize-weights="dtype=int5" 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not qwench-opt %s --quantize-weights="dtype=mxfp4:64" 2>&1 | FileCheck %s --check-prefix=FIXED
// RUN: not qwench-opt %s --quantize-weights="dtype=int4 group-size=24" 2>&1 | FileCheck %s --check-prefix=GROUP
// RUN: not qwench-opt %s --quantize-weights="dtype-for=lm_head" 2>&1 | FileCheck %s --check-prefix=RULE
// RUN: not qwench-opt %s --quantize-weights="dtype-for=[=int8" 2>&1 | FileCheck %s --check-prefix=GLOB
// RUN: not qwench-opt %s --quantize-weights="dtype-for=*.out_proj=int8" 2>&1 | FileCheck %s --check-prefix=NOTHING
// RUN: not qwench-opt %s --quantize-weights="dtype-for=*.router=int8" 2>&1 | FileCheck %s --check-prefix=ROUTER
// RUN: not qwench-opt %s --quantize-weights="dtype=int8 dtype-for=layers.1.*=int4" 2>&1 | FileCheck %s --check-prefix=LAYERS
// RUN: not qwench-opt %s --quantize-weights="dtype=int8 dtype-for=*.up_proj=int4" 2>&1 | FileCheck %s --check-prefix=PARTS

// NAME: expected a format of f32, bf16, int8, int4, int4z, mxfp4, nvfp4, fp8 (int8, int4 and int4z also with :GROUP), found 'int5'
// FIXED: expected no group with mxfp4, whose groups are fixed, found 'mxfp4:64'
// GROUP: expected a group of 16 to 1024 columns, a multiple of 16, found 24
// RULE: expected PATTERN=FORMAT, found 'lm_head'
// GLOB: [=int8: expected a pattern, found '[':
// NOTHING: *.out_proj=int8: expected a pattern that takes a weight, found none among layers.{layer}.mlp.gate, layers.{layer}.gate, layers.{layer}.up
// ROUTER: *.router=int8: expected weights of products, found only router projections and tables that are looked up, which stay in floats
// LAYERS: expected one format for all layers and experts of @moe.gate_proj, which share their code, found int8 for model.layers.0.gate.weight and int4 for model.layers.1.gate.weight
// PARTS: expected one format for the parts of @moe.gate_up_proj, found int8 for @moe.gate_proj and int4 for @moe.up_proj: quantize the model stage, or disable the fusion
qwen.weight @moe.router : tensor<2x64xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.mlp.gate.weight"
qwen.weight @moe.gate_proj : tensor<48x64xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.gate.weight"
qwen.weight @moe.up_proj : tensor<48x64xbf16> instances 2 layers [0, 1] source "model.layers.{layer}.up.weight"
qwen.weight @moe.gate_up_proj : tensor<96x64xbf16> instances 2 layers [0, 1] parts [@moe.gate_proj, @moe.up_proj]
func.func @f(%x: tensor<?x64xf32>, %i: index) {
  %0 = qwen.param @moe.router[%i] : tensor<2x64xbf16>
  %1 = qwen.linear(%x, %0) : (tensor<?x64xf32>, tensor<2x64xbf16>) -> tensor<?x2xf32>
  %2:2 = qwen.router(%1) {normalize = true, top_k = 1 : i64} : (tensor<?x2xf32>) -> (tensor<?x1xf32>, tensor<?x1xi32>)
  %3 = qwen.param @moe.gate_up_proj[%i] : tensor<96x64xbf16>
  %4 = qwen.fused_linear(%x, %3) {activation = 1 : i32} : (tensor<?x64xf32>, tensor<96x64xbf16>) -> tensor<?x48xf32>
  return
}
