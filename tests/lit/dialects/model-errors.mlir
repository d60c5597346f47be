// What the verifiers of programs, weights and the model level say.
// RUN: qwench-opt %s --verify-diagnostics --split-input-file

// expected-error @below {{expected at least one instance, found 0}}
qwen.weight @w : tensor<4x4xf32> instances 0 layers [] source "w"

// -----

// expected-error @below {{expected a static shape, found 'tensor<?x4xf32>'}}
qwen.weight @w : tensor<?x4xf32> instances 1 layers [] source "w"

// -----

// expected-error @below {{expected a vector, a matrix or a stack of matrices, found 'tensor<f32>'}}
qwen.weight @w : tensor<f32> instances 1 layers [] source "w"

// -----

// expected-error @below {{expected either a source or parts}}
qwen.weight @w : tensor<4x4xf32> instances 1 layers [] source "w" parts [@v]

// -----

// expected-error @below {{expected 2 layers, found 1}}
qwen.weight @w : tensor<4x4xf32> instances 2 layers [0] source "w"

// -----

// expected-error @below {{expected layout rows, panels, planes or swizzled, found columns}}
qwen.weight @w : tensor<4x4xf32> instances 1 layers [] source "w" layout <"columns", width = 1, depth = 1, align = 1, pair_halves = false>

// -----

// expected-error @below {{expected width 8, depth 64 and no pair_halves for swizzled}}
qwen.weight @w : tensor<4x4xbf16> instances 1 layers [] source "w" layout <"swizzled", width = 8, depth = 32, align = 64, pair_halves = false>

// -----

// expected-error @below {{expected align to be a multiple of depth 4, found 6}}
qwen.weight @w : tensor<4x4xf32> instances 1 layers [] source "w" layout <"panels", width = 16, depth = 4, align = 6, pair_halves = false>

// -----

// expected-error @below {{expected long_inv_freq with longrope and only there}}
qwen.rotary @r longrope scaling 1.0 {inv_freq = array<f32: 1.0>, original_context = 8}

// -----

// expected-error @below {{expected as many long as short frequencies}}
qwen.rotary @r longrope scaling 1.0 {inv_freq = array<f32: 1.0>, long_inv_freq = array<f32: 1.0, 0.5>, original_context = 8}

// -----

// expected-error @below {{expected original_context with dynamic and longrope and only there}}
qwen.rotary @r fixed scaling 1.0 {inv_freq = array<f32: 1.0>, original_context = 8}

// -----

// expected-error @below {{expected theta and factor with dynamic and only there}}
qwen.rotary @r dynamic scaling 1.0 {inv_freq = array<f32: 1.0>, original_context = 8}

// -----

func.func @f(%i: index) {
  // expected-error @below {{expected w to name a qwen.weight}}
  %w = qwen.param @w[%i] : tensor<4x4xf32>
  return
}

// -----

qwen.weight @w : tensor<4x4xf32> instances 1 layers [] source "w"
func.func @f(%i: index) {
  // expected-error @below {{expected type 'tensor<4x4xf32>' of w, found 'tensor<4x2xf32>'}}
  %w = qwen.param @w[%i] : tensor<4x2xf32>
  return
}

// -----

// expected-error @below {{expected layers >= 1, heads >= 1 and an even dim, found 1, 2 and 31}}
func.func private @f(!qwen.cache<layers = 1, heads = 2, dim = 31, f32>)

// -----

// expected-error @below {{expected a float or quantized element type, found 'i8'}}
func.func private @f(!qwen.cache<layers = 1, heads = 2, dim = 32, i8>)

// -----

func.func @f(%x: tensor<?x4xf32>, %r: tensor<?x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 1, dim = 8, f32>) {
  // expected-error @below {{expected @gone to name a function}}
  %y = qwen.layers(%x, %r, %batch, %cache) through [@gone] : (tensor<?x4xf32>, tensor<?x8xf32>, !qwen.batch, !qwen.cache<layers = 1, heads = 1, dim = 8, f32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%batch: !qwen.batch, %t: tensor<8x4xf32>) {
  // expected-error @below {{expected hidden size 4, found 6}}
  %x = qwen.embedding(%batch, %t) : (!qwen.batch, tensor<8x4xf32>) -> tensor<?x6xf32>
  return
}

// -----

qwen.rotary @r fixed scaling 1.0 {inv_freq = array<f32: 1.0, 0.5>}
func.func @f(%batch: !qwen.batch) {
  // expected-error @below {{expected columns 4, found 8}}
  %t = qwen.rope_table(%batch) @r : (!qwen.batch) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%batch: !qwen.batch) {
  // expected-error @below {{expected r to name a qwen.rotary}}
  %t = qwen.rope_table(%batch) @r : (!qwen.batch) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>, %w: tensor<6xf32>) {
  // expected-error @below {{expected weight extent 4, found 6}}
  %y = qwen.rms_norm(%x, %w) {eps = 1.0e-06 : f32} : (tensor<?x4xf32>, tensor<6xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>, %w: tensor<6x5xf32>) {
  // expected-error @below {{expected weight inputs 4, found 5}}
  %y = qwen.linear(%x, %w) : (tensor<?x4xf32>, tensor<6x5xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>, %w: tensor<6x4xf32>, %b: tensor<4xf32>) {
  // expected-error @below {{expected bias extent 6, found 4}}
  %y = qwen.linear(%x, %w, %b) : (tensor<?x4xf32>, tensor<6x4xf32>, tensor<4xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4x2xf32>, %w: tensor<6x2xf32>) {
  // expected-error @below {{expected input of rank 2, found 'tensor<?x4x2xf32>'}}
  %y = qwen.linear(%x, %w) : (tensor<?x4x2xf32>, tensor<6x2xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @f(%s: tensor<f32>, %w: tensor<4xf32>) {
  // expected-error @below {{expected weight extent -1, found 4}}
  %y = qwen.rms_norm(%s, %w) {eps = 1.0e-06 : f32} : (tensor<f32>, tensor<4xf32>) -> tensor<?xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>) {
  // expected-error @below {{expected 1 results or 1 dests, found 0 and 0}}
  qwen.add(%x, %x) : (tensor<?x4xf32>, tensor<?x4xf32>) -> ()
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>) {
  // expected-error @below {{expected buffer semantics with a tile size}}
  %y = qwen.add(%x, %x) {tile = array<i64: 4>} : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x12xf32>) {
  // expected-error @below {{expected heads * dim 12, found 16}}
  %y = qwen.split_heads %x : tensor<?x12xf32> -> tensor<?x2x8xf32>
  return
}

// -----

func.func @f(%x: tensor<?x2x8xf32>) {
  // expected-error @below {{expected heads * dim 16, found 12}}
  %y = qwen.merge_heads %x : tensor<?x2x8xf32> -> tensor<?x12xf32>
  return
}

// -----

func.func @f(%x: tensor<?x2x8xf32>, %t: tensor<?x4xf32>) {
  // expected-error @below {{expected table columns 8, found 4}}
  %y = qwen.rope(%x, %t) : (tensor<?x2x8xf32>, tensor<?x4xf32>) -> tensor<?x2x8xf32>
  return
}

// -----

func.func @f(%k: tensor<?x2x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 1, dim = 8, f32>, %i: index) {
  // expected-error @below {{expected heads 1, found 2}}
  qwen.cache_write(%k, %k, %batch) into %cache[%i] : tensor<?x2x8xf32>, tensor<?x2x8xf32>, !qwen.cache<layers = 1, heads = 1, dim = 8, f32>
  return
}

// -----

func.func @f(%q: tensor<?x3x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 2, dim = 8, f32>, %i: index) {
  // expected-error @below {{expected query heads to be a multiple of the cache's 2, found 3}}
  %a = qwen.attention(%q, %batch) over %cache[%i] {scale = 1.0 : f32} : (tensor<?x3x8xf32>, !qwen.cache<layers = 1, heads = 2, dim = 8, f32>, index, !qwen.batch) -> tensor<?x3x8xf32>
  return
}

// -----

func.func @f(%q: tensor<?x2x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 2, dim = 8, f32>, %i: index) {
  // expected-error @below {{expected a positive window, found 0}}
  %a = qwen.attention(%q, %batch) over %cache[%i] {scale = 1.0 : f32, window = 0} : (tensor<?x2x8xf32>, !qwen.cache<layers = 1, heads = 2, dim = 8, f32>, index, !qwen.batch) -> tensor<?x2x8xf32>
  return
}

// -----

func.func @f(%g: tensor<?x8xf32>, %u: tensor<?x6xf32>) {
  // expected-error @below {{expected up extent 8, found 6}}
  %a = qwen.swiglu(%g, %u) : (tensor<?x8xf32>, tensor<?x6xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>, %y: tensor<?x6xf32>) {
  // expected-error @below {{expected extent 8, found 6}}
  %a = qwen.add(%x, %y) : (tensor<?x8xf32>, tensor<?x6xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%l: tensor<?x4xf32>) {
  // expected-error @below {{expected top_k between 1 and 4 experts, found 5}}
  %w, %e = qwen.router(%l) {top_k = 5, normalize = true} : (tensor<?x4xf32>) -> (tensor<?x5xf32>, tensor<?x5xi32>)
  return
}

// -----

func.func @f(%l: tensor<?x4xf32>) {
  // expected-error @below {{expected result extent 2, found 3}}
  %w, %e = qwen.router(%l) {top_k = 2, normalize = true} : (tensor<?x4xf32>) -> (tensor<?x2xf32>, tensor<?x3xi32>)
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>, %w: tensor<?x2xf32>, %e: tensor<?x2xi32>, %g: tensor<4x6x8xf32>, %d: tensor<4x8x5xf32>) {
  // expected-error @below {{expected down inputs 6, found 5}}
  %y = qwen.experts(%x, %w, %e, %g, %g, %d) : (tensor<?x8xf32>, tensor<?x2xf32>, tensor<?x2xi32>, tensor<4x6x8xf32>, tensor<4x6x8xf32>, tensor<4x8x5xf32>) -> tensor<?x8xf32>
  return
}

// -----

func.func @f(%x: tensor<?x8xf32>, %batch: !qwen.batch) {
  // expected-error @below {{expected result extent 8, found 6}}
  %y = qwen.output_rows(%x, %batch) : (tensor<?x8xf32>, !qwen.batch) -> tensor<?x6xf32>
  return
}

// -----

func.func @f(%l: tensor<?x8xbf16>, %batch: !qwen.batch) {
  // expected-error @below {{expected logits of f32 and a result of i32, found 'tensor<?x8xbf16>' and 'tensor<?xi32>'}}
  %y = qwen.sample(%l, %batch) : (tensor<?x8xbf16>, !qwen.batch) -> tensor<?xi32>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>, %batch: !qwen.batch) {
  // expected-error @below {{expected result of rank 1, found 'tensor<?x1xi32>'}}
  %y = qwen.sample(%l, %batch) : (tensor<?x8xf32>, !qwen.batch) -> tensor<?x1xi32>
  return
}

// -----

func.func @f(%l: tensor<?x5000000xf32>, %batch: !qwen.batch) {
  // expected-error @below {{expected a vocabulary of 1 to 4194304, found 5000000}}
  %y = qwen.sample(%l, %batch) : (tensor<?x5000000xf32>, !qwen.batch) -> tensor<?xi32>
  return
}
