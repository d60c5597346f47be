// RUN: qwench-opt %s --check-planned --verify-diagnostics --split-input-file
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse --qwen-plan="cpu=znver4" --check-planned -o /dev/null
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse="disable=fuse-qkv,fuse-norm" --qwen-plan="cpu=x86-64-v4" --check-planned -o /dev/null
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse="disable=fuse-rope-cache,fuse-residual,fuse-combine" --qwen-plan="cpu=znver4" --check-planned -o /dev/null

module attributes {qwen.plan = #qwen.plan<arenaBytes = 2432, threadScratchBytes = 0, weightBytes = 256, cacheBytesPerPosition = 64, cacheGranule = 64, prefillRows = 8, decodeRows = 4>} {
  qwen.weight @w : tensor<8x4xf32> instances 2 layers [0, 1] source "w.{layer}" layout <"rows", width = 1, depth = 1, align = 1, pair_halves = false> at 0 stride 128
  func.func @good(%batch: !qwen.batch, %i: index) {
    %t = qwen.batch_size %batch
    %c2 = arith.constant 2 : index
    %pairs = arith.muli %t, %c2 : index
    %w = qwen.param @w[%i] : tensor<8x4xf32>
    %x = qwen.buffer[%t] at 0 : memref<?x4xf32, strided<[64, 1]>>
    %y = qwen.buffer[%pairs] at 1792 : memref<?x8xf32>
    %logits = qwen.buffer[%t] at 0 logits : memref<?x8xf32>
    %r = qwen.buffer[%t] at 2176 : memref<?x8xf32>
    qwen.fused_linear(%x, %w) residual(%r) outs(%r) {tile = array<i64: 4, 8>} : (memref<?x4xf32, strided<[64, 1]>>, tensor<8x4xf32>, memref<?x8xf32>, memref<?x8xf32>) -> ()
    qwen.linear(%x, %w) outs(%logits) {tile = array<i64: 4, 8>} : (memref<?x4xf32, strided<[64, 1]>>, tensor<8x4xf32>, memref<?x8xf32>) -> ()
    return
  }
  func.func @sample(%batch: !qwen.batch) {
    %draws = qwen.batch_size %batch
    %logits = qwen.buffer at 0 logits : memref<?x8xf32>
    %drawn = qwen.buffer[%draws] at 0 drawn : memref<?xi32>
    qwen.sample(%logits, %batch) outs(%drawn) {tile = array<i64: 1>} : (memref<?x8xf32>, !qwen.batch, memref<?xi32>) -> ()
    return
  }
}

// -----

// expected-error @below {{expected a qwen.plan attribute on the module of the planned stage}}
module {}

// -----

module attributes {qwen.plan = #qwen.plan<arenaBytes = 256, threadScratchBytes = 0, weightBytes = 128, cacheBytesPerPosition = 64, cacheGranule = 64, prefillRows = 8, decodeRows = 4>} {
  // expected-error @below {{expected the weight inside the section of 128 bytes, found 2 instances of 128 bytes at 0 stride 128}}
  qwen.weight @w : tensor<8x4xf32> instances 2 layers [0, 1] source "w.{layer}" layout <"rows", width = 1, depth = 1, align = 1, pair_halves = false> at 0 stride 128
  // expected-error @below {{expected a stride of at least the 128 bytes of an instance, found 64}}
  qwen.weight @overlapping : tensor<8x4xf32> instances 2 layers [0, 1] source "o.{layer}" layout <"rows", width = 1, depth = 1, align = 1, pair_halves = false> at 0 stride 64
  // expected-error @below {{expected a layout, an offset and a stride on a weight that is read}}
  qwen.weight @nowhere : tensor<8x4xf32> instances 1 layers [0] source "nowhere"
  func.func @bad(%batch: !qwen.batch, %i: index, %n: index) {
    %t = qwen.batch_size %batch
    %w = qwen.param @w[%i] : tensor<8x4xf32>
    %nowhere = qwen.param @nowhere[%i] : tensor<8x4xf32>
    %overlapping = qwen.param @overlapping[%i] : tensor<8x4xf32>
    // expected-error @below {{expected the buffer inside the arena of 256 bytes, found 128 bytes at 192}}
    %x = qwen.buffer[%t] at 192 : memref<?x4xf32>
    // expected-error @below {{expected static strides and rows bounded by qwen.batch_size, found 'memref<?x8xf32>'}}
    %y = qwen.buffer[%n] at 0 : memref<?x8xf32>
    // expected-error @below {{expected tile sizes in the planned stage}}
    qwen.linear(%x, %w) outs(%y) : (memref<?x4xf32>, tensor<8x4xf32>, memref<?x8xf32>) -> ()
    return
  }
  func.func @tensors(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
    // expected-error @below {{expected buffer semantics in the planned stage}}
    // expected-error @below {{expected no tensors but weights in the planned stage, found 'tensor<?x4xf32>'}}
    %y = qwen.add(%x, %x) : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }
}

// -----

// A quantized row is its codes and eight bytes for each group.
module attributes {qwen.plan = #qwen.plan<arenaBytes = 512, threadScratchBytes = 0, weightBytes = 128, cacheBytesPerPosition = 64, cacheGranule = 64, prefillRows = 8, decodeRows = 4>} {
  func.func @bad(%batch: !qwen.batch) {
    %t = qwen.batch_size %batch
    %x = qwen.buffer[%t] at 0 : memref<?x4xf32>
    // expected-error @below {{expected the buffer inside the arena of 512 bytes, found 472 bytes at 128}}
    %q = qwen.buffer[%t] at 128 : memref<?x4x!qwen.quant<i8, group = 16, scale = f32>, strided<[64, 1]>>
    // expected-error @below {{expected static strides and rows bounded by qwen.batch_size}}
    %short = qwen.buffer[%t] at 0 : memref<?x4x!qwen.quant<i8, group = 16, scale = f32>, strided<[16, 1]>>
    // expected-error @below {{expected tile sizes in the planned stage}}
    qwen.quantize(%x) outs(%q) : (memref<?x4xf32>, memref<?x4x!qwen.quant<i8, group = 16, scale = f32>, strided<[64, 1]>>) -> ()
    return
  }
}

// -----

// Decode steps have fewer rows: what does not fit a prefill may fit a decode.
module attributes {qwen.plan = #qwen.plan<arenaBytes = 128, threadScratchBytes = 0, weightBytes = 128, cacheBytesPerPosition = 64, cacheGranule = 64, prefillRows = 8, decodeRows = 4>} {
  func.func @layer.decode(%batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 1, dim = 2, f32>, %layer: index, %instance: index) {
    %t = qwen.batch_size %batch
    %x = qwen.buffer[%t] at 64 : memref<?x4xf32>
    return
  }
  func.func @decode(%batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 1, dim = 2, f32>) {
    %t = qwen.batch_size %batch
    %x = qwen.buffer[%t] at 64 : memref<?x4xf32>
    qwen.layers(%x, %x, %batch, %cache) through [@layer.decode] : (memref<?x4xf32>, memref<?x4xf32>, !qwen.batch, !qwen.cache<layers = 1, heads = 1, dim = 2, f32>) -> ()
    return
  }
  func.func @prefill(%batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 1, dim = 2, f32>) {
    %t = qwen.batch_size %batch
    // expected-error @below {{expected the buffer inside the arena of 128 bytes, found 128 bytes at 64}}
    %x = qwen.buffer[%t] at 64 : memref<?x4xf32>
    return
  }
}

// -----

module attributes {qwen.plan = #qwen.plan<arenaBytes = 4096, threadScratchBytes = 0, weightBytes = 128, cacheBytesPerPosition = 64, cacheGranule = 64, prefillRows = 8, decodeRows = 4>} {
  func.func @overlap(%batch: !qwen.batch) {
    %t = qwen.batch_size %batch
    %x = qwen.buffer[%t] at 0 : memref<?x4xf32>
    %y = qwen.buffer[%t] at 64 : memref<?x4xf32>
    // The left side of an add may be its result; here the right side reaches into it.
    // expected-error @below {{expected the result apart from what is read, found both at 0}}
    qwen.add(%x, %y) outs(%x) {tile = array<i64: 4>} : (memref<?x4xf32>, memref<?x4xf32>, memref<?x4xf32>) -> ()
    return
  }
  func.func @apart(%batch: !qwen.batch) {
    %t = qwen.batch_size %batch
    %x = qwen.buffer[%t] at 0 : memref<?x4xf32>
    %y = qwen.buffer[%t] at 128 : memref<?x4xf32>
    qwen.add(%x, %y) outs(%x) {tile = array<i64: 4>} : (memref<?x4xf32>, memref<?x4xf32>, memref<?x4xf32>) -> ()
    // expected-error @below {{expected the result apart from what is read, found both at 128}}
    qwen.add(%x, %y) outs(%y) {tile = array<i64: 4>} : (memref<?x4xf32>, memref<?x4xf32>, memref<?x4xf32>) -> ()
    return
  }
}

// -----

// expected-error @below {{expected weights apart from one another, found two at byte 64}}
module attributes {qwen.plan = #qwen.plan<arenaBytes = 0, threadScratchBytes = 0, weightBytes = 256, cacheBytesPerPosition = 64, cacheGranule = 64, prefillRows = 8, decodeRows = 4>} {
  qwen.weight @a : tensor<8x4xf32> instances 1 layers [0] source "a" layout <"rows", width = 1, depth = 1, align = 1, pair_halves = false> at 0 stride 128
  qwen.weight @b : tensor<8x4xf32> instances 1 layers [0] source "b" layout <"rows", width = 1, depth = 1, align = 1, pair_halves = false> at 64 stride 128
  func.func @reader(%i: index) {
    %a = qwen.param @a[%i] : tensor<8x4xf32>
    %b = qwen.param @b[%i] : tensor<8x4xf32>
    return
  }
}

// -----

// One tile chooses and sorts for all rows of a step.
module attributes {qwen.plan = #qwen.plan<arenaBytes = 4096, threadScratchBytes = 0, weightBytes = 128, cacheBytesPerPosition = 64, cacheGranule = 64, prefillRows = 8, decodeRows = 4>} {
  func.func @few(%batch: !qwen.batch) {
    %t = qwen.batch_size %batch
    %c2 = arith.constant 2 : index
    %count = arith.muli %t, %c2 : index
    %l = qwen.buffer[%t] at 0 : memref<?x4xf32>
    %w = qwen.buffer[%t] at 1024 : memref<?x2xf32>
    %o = qwen.buffer at 2048 : memref<5xi32>
    %p = qwen.buffer[%count] at 3072 : memref<?xi32>
    // expected-error @below {{expected a tile of all 8 rows of a step, found [4]}}
    qwen.router_dispatch(%l) outs(%w, %o, %p) {top_k = 2, normalize = true, tile = array<i64: 4>} : (memref<?x4xf32>, memref<?x2xf32>, memref<5xi32>, memref<?xi32>) -> ()
    qwen.router_dispatch(%l) outs(%w, %o, %p) {top_k = 2, normalize = true, tile = array<i64: 8>} : (memref<?x4xf32>, memref<?x2xf32>, memref<5xi32>, memref<?xi32>) -> ()
    return
  }
}
