// RUN: qwench-opt %s --decompose-experts --verify-diagnostics

func.func @dynamic_top_k(%x: tensor<?x64xf32>, %w: tensor<?x?xf32>, %e: tensor<?x?xi32>, %gate: tensor<6x24x64xf32>, %down: tensor<6x64x24xf32>) -> tensor<?x64xf32> {
  // expected-error @below {{expected a static number of experts per row, found 'tensor<?x?xi32>'}}
  %y = qwen.experts(%x, %w, %e, %gate, %gate, %down) : (tensor<?x64xf32>, tensor<?x?xf32>, tensor<?x?xi32>, tensor<6x24x64xf32>, tensor<6x24x64xf32>, tensor<6x64x24xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
