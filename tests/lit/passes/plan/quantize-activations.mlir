// Maps of integer codes take quantized rows where the target multiplies integers, with a scale for 128 columns and sums for each
// group of the weights; others stay as they are.
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse > %t.mlir
// RUN: sed -E 's/tensor<((128|64|256)x64|64x128|6x(24|48)x64|6x64x24)xbf16>/tensor<\1x!qwen.quant<i4, group = 32, scale = f16>>/g' %t.mlir | qwench-opt --qwen-plan="cpu=znver4" | FileCheck %s
// RUN: sed -E 's/tensor<64x128xbf16>/tensor<64x128x!qwen.quant<i8, group = 0, scale = f32>>/g' %t.mlir | qwench-opt --qwen-plan="cpu=znver4" | FileCheck %s --check-prefix=ROWS
// RUN: sed -E 's/tensor<64x128xbf16>/tensor<64x128x!qwen.quant<f8E4M3FN, group = 128, scale = f32, group_rows = 128>>/g' %t.mlir | qwench-opt --qwen-plan="cpu=znver4" | FileCheck %s --check-prefix=FLOATS --implicit-check-not=qwen.quantize

// CHECK: qwen.weight @moe.o_proj {{.*}} layout <"panels", width = 32, depth = 4, align = 32,

// A norm that only such a map reads makes the rows itself: 64 codes, a scale and two sums are 76 bytes.
// CHECK-LABEL: func.func @moe.prefill(
// CHECK-NOT: qwen.quantize
// CHECK: qwen.rms_norm({{.*}}) outs(%[[N:[0-9]+]]) {{.*}}memref<?x64x!qwen.quant<i8, group = 128, scale = f32, sums = 32>, strided<[128, 1]>>)
// CHECK: qwen.fused_linear(%[[N]], %{{[0-9]+}}) outs(

// Attention makes floats; 128 codes, a scale and four sums are 148 bytes.
// CHECK: qwen.attention({{.*}}) over
// CHECK: qwen.quantize(%{{[0-9]+}}) outs(%[[O:[0-9]+]]) {tile = array<i64: 8>} : (memref<?x128xf32, {{.*}}>, memref<?x128x!qwen.quant<i8, group = 128, scale = f32, sums = 32>, strided<[192, 1]>>)
// CHECK: qwen.fused_linear(%[[O]], %{{[0-9]+}}) residual(

// The router reads the norm too, and keeps its type.
// CHECK: qwen.rms_norm({{.*}}) outs(%[[R:[0-9]+]]) {{.*}}memref<?x64xf32
// CHECK: qwen.quantize(%[[R]]) outs(%[[X:[0-9]+]])
// CHECK: qwen.fused_router(%[[R]],
// CHECK: qwen.grouped_linear(%[[X]], %{{[0-9]+}},
// CHECK: qwen.quantize({{.*}}) outs(%[[D:[0-9]+]])
// CHECK: qwen.grouped_linear_combine(%[[D]],
// CHECK-NOT: qwen.quantize
// CHECK-LABEL: func.func @prefill(

// A scale for a whole row of weights still means groups of activations.
// ROWS: qwen.weight @moe.o_proj {{.*}} layout <"panels", width = 32, depth = 4, align = 128,
// ROWS: qwen.quantize({{.*}}) outs({{.*}}!qwen.quant<i8, group = 128, scale = f32>

// Codes that are floats meet floats.
// FLOATS: qwen.weight @moe.o_proj {{.*}} layout <"panels", width = 32, depth = 2, align = 128,
