// Quantized weights and activations print and parse.
// RUN: qwench-opt %s | qwench-opt | FileCheck %s

// CHECK: qwen.weight @int4 : tensor<64x128x!qwen.quant<i4, group = 64, scale = f16>> instances 1
qwen.weight @int4 : tensor<64x128x!qwen.quant<i4, group = 64, scale = f16>> instances 1 layers [] source "w4"
// CHECK: !qwen.quant<i4, group = 128, scale = f16, zero_points = true>
qwen.weight @gptq : tensor<64x128x!qwen.quant<i4, group = 128, scale = f16, zero_points = true>> instances 1 layers [] source "g4"
// CHECK: !qwen.quant<f4E2M1FN, group = 16, scale = f8E4M3FN, row_scales = true>
qwen.weight @nvfp4 : tensor<64x128x!qwen.quant<f4E2M1FN, group = 16, scale = f8E4M3FN, row_scales = true>> instances 1 layers [] source "n4"
// CHECK: !qwen.quant<f8E4M3FN, group = 128, scale = f32, group_rows = 128>
qwen.weight @fp8 : tensor<64x128x!qwen.quant<f8E4M3FN, group = 128, scale = f32, group_rows = 128>> instances 1 layers [] source "f8"

// CHECK-LABEL: func @quantize
func.func @quantize(%x: tensor<?x128xf32>, %y: memref<?x128xbf16>, %q: memref<?x128x!qwen.quant<i8, group = 64, scale = f32>, strided<[192, 1]>>) {
  // CHECK: qwen.quantize(%{{.*}}) : (tensor<?x128xf32>) -> tensor<?x128x!qwen.quant<i8, group = 64, scale = f32>>
  %0 = qwen.quantize(%x) : (tensor<?x128xf32>) -> tensor<?x128x!qwen.quant<i8, group = 64, scale = f32>>
  // CHECK: tensor<?x128x!qwen.quant<i8, group = 128, scale = f32, sums = 32>>
  %1 = qwen.quantize(%x) : (tensor<?x128xf32>) -> tensor<?x128x!qwen.quant<i8, group = 128, scale = f32, sums = 32>>
  // CHECK: qwen.quantize(%{{.*}}) outs(%{{.*}}) {tile = array<i64: 1>}
  qwen.quantize(%y) outs(%q) {tile = array<i64: 1>} : (memref<?x128xbf16>, memref<?x128x!qwen.quant<i8, group = 64, scale = f32>, strided<[192, 1]>>) -> ()
  return
}
