// RUN: qwench-opt %s --qwen-plan="cpu=znver4" --verify-diagnostics

// One weight cannot have both of two layouts.
// expected-error @below {{expected one layout of shared, found uses that pair its halves and others}}
qwen.weight @shared : tensor<64x32xbf16> instances 1 layers [] source "shared"
func.func @both(%x: tensor<?x32xf32>) -> (tensor<?x32xf32>, tensor<?x64xf32>) {
  %c0 = arith.constant 0 : index
  %w = qwen.param @shared[%c0] : tensor<64x32xbf16>
  %paired = qwen.fused_linear(%x, %w) {activation = 1 : i32} : (tensor<?x32xf32>, tensor<64x32xbf16>) -> tensor<?x32xf32>
  %plain = qwen.linear(%x, %w) : (tensor<?x32xf32>, tensor<64x32xbf16>) -> tensor<?x64xf32>
  return %paired, %plain : tensor<?x32xf32>, tensor<?x64xf32>
}
