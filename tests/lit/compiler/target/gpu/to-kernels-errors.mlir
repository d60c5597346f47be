// RUN: qwench-opt %s --qwen-kernels="target=cuda gpu=sm_80" --verify-diagnostics

func.func @prefill(%batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 1, dim = 32, bf16>) {
  %rows = qwen.batch_size %batch
  // expected-error @below {{expected an op that this target has a tile program for}}
  %more = arith.addi %rows, %rows : index
  return
}
