// RUN: qwench-opt %S/../../dialects/model.mlir --check-model -o /dev/null
// RUN: qwench-opt %s --check-model --verify-diagnostics --split-input-file

// expected-error @below {{expected a source and no layout in the model stage, found parts}}
qwen.weight @qk : tensor<8x4xf32> instances 1 layers [0] parts [@q]
// expected-error @below {{expected a source and no layout in the model stage, found a layout}}
qwen.weight @q : tensor<8x4xf32> instances 1 layers [0] source "q" layout <"rows", width = 1, depth = 1, align = 1, pair_halves = false> at 0 stride 128

// -----

func.func @fused(%x: tensor<?x4xf32>, %w: tensor<8x4xf32>) -> tensor<?x8xf32> {
  // expected-error @below {{expected an op of the model stage, found qwen.fused_linear}}
  %y = qwen.fused_linear(%x, %w) : (tensor<?x4xf32>, tensor<8x4xf32>) -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// expected-error @below {{expected only tensors in the model stage, found 'memref<?x4xf32>'}}
func.func @buffers(%x: memref<?x4xf32>) {
  // expected-error @below {{expected only tensors in the model stage, found 'memref<?x4xf32>'}}
  qwen.add(%x, %x) outs(%x) : (memref<?x4xf32>, memref<?x4xf32>, memref<?x4xf32>) -> ()
  return
}
