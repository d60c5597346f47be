// RUN: qwench-opt %s --qwen-plan="cpu=znver4" --verify-diagnostics --split-input-file
// RUN: not qwench-opt %S/../../dialects/model.mlir --qwen-plan="cpu=z80" 2>&1 | FileCheck %s --check-prefix=CPU
// RUN: not qwench-opt %S/../../dialects/model.mlir --qwen-plan="target=abacus" 2>&1 | FileCheck %s --check-prefix=TARGET
// CPU: expected a CPU for --cpu, found 'z80'
// TARGET: abacus

// expected-error @below {{expected a function @forward}}
module {}

// -----

// expected-error @below {{expected a qwen.layers}}
func.func @forward(%batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 1, dim = 32, bf16>) -> tensor<?x32xf32> {
  %c0 = arith.constant 0 : index
  %table = qwen.param @table[%c0] : tensor<40x32xbf16>
  %x = qwen.embedding(%batch, %table) : (!qwen.batch, tensor<40x32xbf16>) -> tensor<?x32xf32>
  return %x : tensor<?x32xf32>
}
qwen.weight @table : tensor<40x32xbf16> instances 1 layers [] source "table"

// -----

// A layer must hand on the stream that it was given.
qwen.weight @table : tensor<40x32xbf16> instances 1 layers [] source "table"
qwen.weight @gain : tensor<32xbf16> instances 1 layers [0] source "gain"
qwen.rotary @rope fixed scaling 1.0 {inv_freq = array<f32: 1.0, 0.5, 0.25, 0.125>}
// expected-error @below {{expected the result to be the residual stream, updated in place}}
func.func @layer(%x: tensor<?x32xf32>, %rope: tensor<?x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 1, dim = 32, bf16>, %layer: index, %instance: index) -> tensor<?x32xf32> {
  %g = qwen.param @gain[%instance] : tensor<32xbf16>
  %y = qwen.rms_norm(%x, %g) {eps = 1.0e-06 : f32} : (tensor<?x32xf32>, tensor<32xbf16>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
func.func @forward(%batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 1, dim = 32, bf16>) -> tensor<?x32xf32> {
  %c0 = arith.constant 0 : index
  %table = qwen.param @table[%c0] : tensor<40x32xbf16>
  %x = qwen.embedding(%batch, %table) : (!qwen.batch, tensor<40x32xbf16>) -> tensor<?x32xf32>
  %rope = qwen.rope_table(%batch) @rope : (!qwen.batch) -> tensor<?x8xf32>
  %y = qwen.layers(%x, %rope, %batch, %cache) through [@layer] : (tensor<?x32xf32>, tensor<?x8xf32>, !qwen.batch, !qwen.cache<layers = 1, heads = 1, dim = 32, bf16>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// -----

// expected-error @below {{expected (batch, cache) -> logits and a body}}
func.func private @forward(!qwen.batch) -> tensor<?x32xf32>

// -----

// expected-error @below {{expected (x, rope, batch, cache, layer, instance) -> x and a body}}
func.func private @layer(tensor<?x32xf32>) -> tensor<?x32xf32>
qwen.weight @table : tensor<40x32xbf16> instances 1 layers [] source "table"
qwen.rotary @rope fixed scaling 1.0 {inv_freq = array<f32: 1.0, 0.5, 0.25, 0.125>}
func.func @forward(%batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 1, dim = 32, bf16>) -> tensor<?x32xf32> {
  %c0 = arith.constant 0 : index
  %table = qwen.param @table[%c0] : tensor<40x32xbf16>
  %x = qwen.embedding(%batch, %table) : (!qwen.batch, tensor<40x32xbf16>) -> tensor<?x32xf32>
  %rope = qwen.rope_table(%batch) @rope : (!qwen.batch) -> tensor<?x8xf32>
  %y = qwen.layers(%x, %rope, %batch, %cache) through [@layer] : (tensor<?x32xf32>, tensor<?x8xf32>, !qwen.batch, !qwen.cache<layers = 1, heads = 1, dim = 32, bf16>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// -----

qwen.weight @table : tensor<40x32xbf16> instances 1 layers [] source "table"
func.func @layer(%x: tensor<?x32xf32>, %rope: tensor<?x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 1, dim = 32, bf16>, %layer: index, %instance: index) -> tensor<?x32xf32> {
  return %x : tensor<?x32xf32>
}
func.func @forward(%batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 1, dim = 32, bf16>) -> tensor<?x32xf32> {
  %c0 = arith.constant 0 : index
  %table = qwen.param @table[%c0] : tensor<40x32xbf16>
  %x = qwen.embedding(%batch, %table) : (!qwen.batch, tensor<40x32xbf16>) -> tensor<?x32xf32>
  %rope = arith.constant dense<1.0> : tensor<4x8xf32>
  // expected-error @below {{expected hidden states and a rope table that are computed}}
  %y = qwen.layers(%x, %rope, %batch, %cache) through [@layer] : (tensor<?x32xf32>, tensor<4x8xf32>, !qwen.batch, !qwen.cache<layers = 1, heads = 1, dim = 32, bf16>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
