// What the verifiers of the fused level say.
// RUN: qwench-opt %s --verify-diagnostics --split-input-file

func.func @f(%x: tensor<?x4xf32>, %w: tensor<6x4xf32>, %n: tensor<4xf32>) {
  // expected-error @below {{expected eps with a norm}}
  %y = qwen.fused_linear(%x, %w) norm(%n) : (tensor<?x4xf32>, tensor<6x4xf32>, tensor<4xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>, %w: tensor<6x4xf32>, %n: tensor<5xf32>) {
  // expected-error @below {{expected norm extent 4, found 5}}
  %y = qwen.fused_linear(%x, %w) norm(%n) {eps = 1.0e-06 : f32} : (tensor<?x4xf32>, tensor<6x4xf32>, tensor<5xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>, %w: tensor<6x4xf32>) {
  // expected-error @below {{expected result extent 3, found 6}}
  %y = qwen.fused_linear(%x, %w) {activation = 1 : i32} : (tensor<?x4xf32>, tensor<6x4xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>, %w: tensor<6x4xf32>, %r: tensor<?x6xf32>) {
  // expected-error @below {{expected residual extent 3, found 6}}
  %y = qwen.fused_linear(%x, %w) residual(%r) {activation = 1 : i32} : (tensor<?x4xf32>, tensor<6x4xf32>, tensor<?x6xf32>) -> tensor<?x3xf32>
  return
}

// -----

func.func @f(%qkv: tensor<?x24xf32>, %n: tensor<8xf32>, %t: tensor<?x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 1, dim = 8, f32>, %i: index) {
  // expected-error @below {{expected qkv extent 32, found 24}}
  %q = qwen.qk_norm_rope_cache(%qkv, %n, %n, %t, %batch) into %cache[%i] {eps = 1.0e-06 : f32} : (tensor<?x24xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?x8xf32>, !qwen.cache<layers = 1, heads = 1, dim = 8, f32>, index, !qwen.batch) -> tensor<?x2x8xf32>
  return
}

// -----

func.func @f(%qkv: tensor<?x32xf32>, %n: tensor<8xf32>, %m: tensor<6xf32>, %t: tensor<?x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 1, dim = 8, f32>, %i: index) {
  // expected-error @below {{expected k_norm extent 8, found 6}}
  %q = qwen.qk_norm_rope_cache(%qkv, %n, %m, %t, %batch) into %cache[%i] {eps = 1.0e-06 : f32} : (tensor<?x32xf32>, tensor<8xf32>, tensor<6xf32>, tensor<?x8xf32>, !qwen.cache<layers = 1, heads = 1, dim = 8, f32>, index, !qwen.batch) -> tensor<?x2x8xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>, %w: tensor<6x5xf32>) {
  // expected-error @below {{expected weight inputs 4, found 5}}
  %y, %e = qwen.fused_router(%x, %w) {top_k = 2, normalize = true} : (tensor<?x4xf32>, tensor<6x5xf32>) -> (tensor<?x2xf32>, tensor<?x2xi32>)
  return
}

// -----

func.func @f(%e: tensor<?x2xi32>) {
  // expected-error @below {{expected pairs of rank 1, found 'tensor<?x2xi32>'}}
  %o, %p = qwen.dispatch(%e) : (tensor<?x2xi32>) -> (tensor<5xi32>, tensor<?x2xi32>)
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>, %w: tensor<3x6x4xf32>, %n: tensor<4xf32>, %o: tensor<4xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected eps with a norm}}
  %y = qwen.grouped_linear(%x, %w, %o, %p) norm(%n) {top_k = 2} : (tensor<?x4xf32>, tensor<3x6x4xf32>, tensor<4xi32>, tensor<?xi32>, tensor<4xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>, %w: tensor<3x6x4xf32>, %n: tensor<6xf32>, %o: tensor<4xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected norm extent 4, found 6}}
  %y = qwen.grouped_linear(%x, %w, %o, %p) norm(%n) {top_k = 2, eps = 1.0e-06 : f32} : (tensor<?x4xf32>, tensor<3x6x4xf32>, tensor<4xi32>, tensor<?xi32>, tensor<6xf32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @f(%l: tensor<?x4xf32>) {
  // expected-error @below {{expected offsets extent 5, found 4}}
  %w, %o, %p = qwen.router_dispatch(%l) {top_k = 2, normalize = true} : (tensor<?x4xf32>) -> (tensor<?x2xf32>, tensor<4xi32>, tensor<?xi32>)
  return
}

// -----

func.func @f(%l: tensor<?x4xf32>) {
  // expected-error @below {{expected weights extent 2, found 3}}
  %w, %o, %p = qwen.router_dispatch(%l) {top_k = 2, normalize = true} : (tensor<?x4xf32>) -> (tensor<?x3xf32>, tensor<5xi32>, tensor<?xi32>)
  return
}

// -----

func.func @f(%l: tensor<?x4xf32>) {
  // expected-error @below {{expected top_k between 1 and 4 experts, found 0}}
  %w, %o, %p = qwen.router_dispatch(%l) {top_k = 0, normalize = true} : (tensor<?x4xf32>) -> (tensor<?x0xf32>, tensor<5xi32>, tensor<?xi32>)
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>, %w: tensor<3x6x4xf32>, %o: tensor<3xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected offsets extent 4, found 3}}
  %y = qwen.grouped_linear(%x, %w, %o, %p) {top_k = 2} : (tensor<?x4xf32>, tensor<3x6x4xf32>, tensor<3xi32>, tensor<?xi32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>, %w: tensor<?x2xf32>, %o: tensor<4xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected result extent 4, found 6}}
  %y = qwen.combine(%x, %w, %o, %p) : (tensor<?x4xf32>, tensor<?x2xf32>, tensor<4xi32>, tensor<?xi32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>, %d: tensor<6x4xf32>, %w: tensor<?x2xf32>, %o: tensor<4xi32>, %p: tensor<?xi32>) {
  // expected-error @below {{expected weight of rank 3, found 'tensor<6x4xf32>'}}
  %y = qwen.grouped_linear_combine(%x, %d, %w, %o, %p) : (tensor<?x4xf32>, tensor<6x4xf32>, tensor<?x2xf32>, tensor<4xi32>, tensor<?xi32>) -> tensor<?x6xf32>
  return
}

// -----

func.func @f(%x: memref<?x4xf32>, %y: tensor<?x4xf32>) {
  // expected-error @below {{expected only buffers, or only tensors, besides weights}}
  %z = qwen.add(%x, %y) : (memref<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func private @kernel(index)
func.func @f(%n: index) {
  // expected-error @below {{expected a kernel of 2 arguments, found 1}}
  qwen.launch @kernel tiles(%n)
  return
}

// -----

func.func @f(%q: tensor<?x2x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 2, dim = 8, f32>, %i: index) {
  // expected-error @below {{expected splits and split_keys together}}
  %a = qwen.attention(%q, %batch) over %cache[%i] {scale = 1.0 : f32, splits = 2} : (tensor<?x2x8xf32>, !qwen.cache<layers = 1, heads = 2, dim = 8, f32>, index, !qwen.batch) -> tensor<?x2x8xf32>
  return
}

// -----

func.func @f(%q: tensor<?x2x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 2, dim = 8, f32>, %i: index) {
  // expected-error @below {{expected splits and split_keys of at least 1, found 2 and 0}}
  %a, %s = qwen.attention(%q, %batch) over %cache[%i] {scale = 1.0 : f32, splits = 2, split_keys = 0} : (tensor<?x2x8xf32>, !qwen.cache<layers = 1, heads = 2, dim = 8, f32>, index, !qwen.batch) -> (tensor<?x2x2x8xf32>, tensor<?x2x2x2xf32>)
  return
}

// -----

func.func @f(%q: tensor<?x2x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 1, heads = 2, dim = 8, f32>, %i: index) {
  // expected-error @below {{expected runs 3, found 2}}
  %a, %s = qwen.attention(%q, %batch) over %cache[%i] {scale = 1.0 : f32, splits = 3, split_keys = 64} : (tensor<?x2x8xf32>, !qwen.cache<layers = 1, heads = 2, dim = 8, f32>, index, !qwen.batch) -> (tensor<?x2x2x8xf32>, tensor<?x2x2x2xf32>)
  return
}

// -----

func.func @f(%v: tensor<?x3x4x8xf32>, %s: tensor<?x3x4x2xf32>) {
  // expected-error @below {{expected heads of the values 2, found 4}}
  %a = qwen.attention_combine(%v, %s) : (tensor<?x3x4x8xf32>, tensor<?x3x4x2xf32>) -> tensor<?x2x8xf32>
  return
}

// -----

func.func @f(%v: tensor<?x3x4x8xf32>, %s: tensor<?x3x4x3xf32>) {
  // expected-error @below {{expected stats of a head 2, found 3}}
  %a = qwen.attention_combine(%v, %s) : (tensor<?x3x4x8xf32>, tensor<?x3x4x3xf32>) -> tensor<?x4x8xf32>
  return
}
