// Quantized types and qwen.quantize refuse what they cannot mean.
// RUN: qwench-opt %s -split-input-file -verify-diagnostics

// expected-error@+1 {{expected codes of i8, i4, f4E2M1FN or f8E4M3FN, found 'i16'}}
func.func private @storage(tensor<64x!qwen.quant<i16, group = 64, scale = f16>>)

// -----

// expected-error@+1 {{expected scales of f32, f16, bf16, f8E8M0FNU or f8E4M3FN, found 'f64'}}
func.func private @scale(tensor<64x!qwen.quant<i8, group = 64, scale = f64>>)

// -----

// expected-error@+1 {{expected a group of 0 or a multiple of 16 columns and at least one row, found 24 and 1}}
func.func private @group(tensor<64x!qwen.quant<i8, group = 24, scale = f16>>)

// -----

// expected-error@+1 {{expected f32 scales and nothing else where the group is a whole row}}
func.func private @row(tensor<64x!qwen.quant<i8, group = 0, scale = f16>>)

// -----

// expected-error@+1 {{expected zero points with integer codes only, found 'f4E2M1FN'}}
func.func private @zero(tensor<64x!qwen.quant<f4E2M1FN, group = 32, scale = f16, zero_points = true>>)

// -----

// expected-error@+1 {{expected sums with codes of i8 only, of a multiple of 16 columns that divides the group, found 48}}
func.func private @sums(tensor<64x!qwen.quant<i8, group = 64, scale = f32, sums = 48>>)

// -----

// expected-error@+1 {{expected sums with codes of i8 only, of a multiple of 16 columns that divides the group, found 32}}
func.func private @sums(tensor<64x!qwen.quant<i4, group = 64, scale = f32, sums = 32>>)

// -----

func.func @result(%x: tensor<?x128xf32>) {
  // expected-error@+1 {{expected a result of !qwen.quant<i8, group = G, scale = f32, sums = S>, found 'f32'}}
  %0 = qwen.quantize(%x) : (tensor<?x128xf32>) -> tensor<?x128xf32>
  return
}

// -----

func.func @extent(%x: tensor<?x128xf32>) {
  // expected-error@+1 {{expected result extent 128, found 64}}
  %0 = qwen.quantize(%x) : (tensor<?x128xf32>) -> tensor<?x64x!qwen.quant<i8, group = 64, scale = f32>>
  return
}

// -----

// expected-error @below {{expected codes of i8, f8E4M3FN or i4 with zero points, of f32, f16 or bf16 scales, found '!qwen.quant<i4, group = 16, scale = f16>'}}
func.func private @f(!qwen.cache<layers = 1, heads = 1, dim = 32, !qwen.quant<i4, group = 16, scale = f16>>)

// -----

// expected-error @below {{expected a dim that is a multiple of the group and of 8, found 48}}
func.func private @f(!qwen.cache<layers = 1, heads = 1, dim = 48, !qwen.quant<i4, group = 32, scale = f16, zero_points = true>>)

// -----

// expected-error@+1 {{expected no sums, which activations have, found '!qwen.quant<i8, group = 128, scale = f32, sums = 32>'}}
qwen.weight @w : tensor<64x128x!qwen.quant<i8, group = 128, scale = f32, sums = 32>> instances 1 layers [] source "w"
