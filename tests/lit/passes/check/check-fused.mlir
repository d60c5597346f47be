// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --check-fused -o /dev/null
// RUN: qwench-opt %s --check-fused --verify-diagnostics --split-input-file

func.func @experts(%x: tensor<?x64xf32>, %w: tensor<?x2xf32>, %e: tensor<?x2xi32>, %gate: tensor<6x24x64xf32>, %down: tensor<6x64x24xf32>) -> tensor<?x64xf32> {
  // expected-error @below {{expected an op of the fused stage, found qwen.experts}}
  %y = qwen.experts(%x, %w, %e, %gate, %gate, %down) : (tensor<?x64xf32>, tensor<?x2xf32>, tensor<?x2xi32>, tensor<6x24x64xf32>, tensor<6x24x64xf32>, tensor<6x64x24xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

// expected-error @below {{expected a weight that a param or parts name}}
qwen.weight @unused : tensor<8x4xf32> instances 1 layers [0] source "q"

// -----

qwen.weight @q : tensor<8x4xf32> instances 1 layers [1] source "q"
// expected-error @below {{expected part @q to name a weight of the same layers}}
// expected-error @below {{expected part @gone to name a weight of the same layers}}
qwen.weight @qk : tensor<8x4xf32> instances 1 layers [0] parts [@q, @gone]
func.func @reader(%i: index) -> tensor<8x4xf32> {
  %w = qwen.param @qk[%i] : tensor<8x4xf32>
  return %w : tensor<8x4xf32>
}

// -----

func.func @buffers(%batch: !qwen.batch) {
  // expected-error @below {{expected an op of the fused stage, found qwen.buffer}}
  %x = qwen.buffer at 0 : memref<4xf32>
  return
}
