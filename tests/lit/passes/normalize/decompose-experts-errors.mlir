// RUN: qwench-opt %s --decompose-experts --verify-diagnostics

func.func @dynamic_top_k(%x: tensor<?x64xf32>, %w: tensor<?x?xf32>, %e: tensor<?x?xi32>, %gate: tensor<6x24x64xf32>, %down: tensor<6x64x24xf32>) -> tensor<?x64xf32> {
  // expected-error @below {{expected static numbers of experts, and of experts per row, found 'tensor<6x24x64xf32>' and 'tensor<?x?xi32>'}}
  %y = qwen.experts(%x, %w, %e, %gate, %gate, %down) : (tensor<?x64xf32>, tensor<?x?xf32>, tensor<?x?xi32>, tensor<6x24x64xf32>, tensor<6x24x64xf32>, tensor<6x64x24xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

func.func @dynamic_experts(%x: tensor<?x64xf32>, %w: tensor<?x2xf32>, %e: tensor<?x2xi32>, %gate: tensor<?x24x64xf32>, %down: tensor<?x64x24xf32>) -> tensor<?x64xf32> {
  // expected-error @below {{expected static numbers of experts, and of experts per row, found 'tensor<?x24x64xf32>' and 'tensor<?x2xi32>'}}
  %y = qwen.experts(%x, %w, %e, %gate, %gate, %down) : (tensor<?x64xf32>, tensor<?x2xf32>, tensor<?x2xi32>, tensor<?x24x64xf32>, tensor<?x24x64xf32>, tensor<?x64x24xf32>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}
