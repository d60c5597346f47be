// RUN: qwench-opt %s --split-input-file --verify-diagnostics --qwen-lower="target=cuda gpu=sm_80 schedule=persistent"

// expected-error @below {{expected a function @decode}}
module {
  gpu.module @sm_80 {
  }
}

// -----

module {
  // expected-error @below {{expected a gpu.module named after an architecture of --gpu, found sm_81}}
  gpu.module @sm_81 {
  }
  func.func @decode(%batch: !qwen.batch, %layer: index, %instance: index) {
    return
  }
}

// -----

module {
  gpu.module @sm_80 {
  }
  // expected-error @below {{expected a launch}}
  func.func @decode(%batch: !qwen.batch, %layer: index, %instance: index) {
    return
  }
}

// -----

// Kernels of the other schedule.
module {
  gpu.module @sm_80 {
    gpu.func @first(%batch: !qwen.batch, %layer: index, %instance: index, %tile: index) attributes {known_block_size = array<i32: 128, 1, 1>} {
      gpu.return
    }
    // expected-error @below {{expected blocks of 128 threads as in the other kernels of @decode, found 256; --schedule persistent makes them so}}
    gpu.func @second(%batch: !qwen.batch, %layer: index, %instance: index, %tile: index) attributes {known_block_size = array<i32: 256, 1, 1>} {
      gpu.return
    }
  }
  func.func @decode(%batch: !qwen.batch, %layer: index, %instance: index) {
    %rows = qwen.step_field %batch rows : index
    qwen.launch @first tiles(%rows) args(%batch, %layer, %instance : !qwen.batch, index, index)
    qwen.launch @second tiles(%rows) args(%batch, %layer, %instance : !qwen.batch, index, index)
    return
  }
}
