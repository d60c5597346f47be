// RUN: qwench-opt %s --fuse-rope-cache --split-input-file | FileCheck %s

qwen.weight @l.qkv_proj : tensor<64x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.qkv_proj"
qwen.weight @l.q_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.q_norm"
qwen.weight @l.k_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.k_norm"

// CHECK-LABEL: @fuses(
// CHECK-SAME: %{{[^:]*}}: tensor<?x16xf32>, %[[ROPE:[^:]*]]: tensor<?x8xf32>, %[[BATCH:[^:]*]]: !qwen.batch, %[[CACHE:[^:]*]]: !qwen.cache<{{.*}}>, %[[LAYER:[^:]*]]: index
// CHECK-DAG: %[[NQ:.*]] = qwen.param @l.q_norm
// CHECK-DAG: %[[NK:.*]] = qwen.param @l.k_norm
// CHECK: %[[QKV:.*]] = qwen.linear
// CHECK-NEXT: %[[Q:.*]] = qwen.qk_norm_rope_cache(%[[QKV]], %[[NQ]], %[[NK]], %[[ROPE]], %[[BATCH]]) into %[[CACHE]][%[[LAYER]]] {eps = {{.*}}} : {{.*}} -> tensor<?x4x8xf32>
// CHECK-NEXT: %[[A:.*]] = qwen.attention(%[[Q]], %[[BATCH]])
// CHECK-NEXT: return %[[A]]
func.func @fuses(%h: tensor<?x16xf32>, %rope: tensor<?x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>, %layer: index, %i: index) -> tensor<?x4x8xf32> {
  %nq = qwen.param @l.q_norm[%i] : tensor<8xf32>
  %nk = qwen.param @l.k_norm[%i] : tensor<8xf32>
  %w = qwen.param @l.qkv_proj[%i] : tensor<64x16xbf16>
  %qkv = qwen.linear(%h, %w) : (tensor<?x16xf32>, tensor<64x16xbf16>) -> tensor<?x64xf32>
  %t = qwen.batch_size %batch
  %q = tensor.extract_slice %qkv[0, 0] [%t, 32] [1, 1] : tensor<?x64xf32> to tensor<?x32xf32>
  %k = tensor.extract_slice %qkv[0, 32] [%t, 16] [1, 1] : tensor<?x64xf32> to tensor<?x16xf32>
  %v = tensor.extract_slice %qkv[0, 48] [%t, 16] [1, 1] : tensor<?x64xf32> to tensor<?x16xf32>
  %qh = qwen.split_heads %q : tensor<?x32xf32> -> tensor<?x4x8xf32>
  %kh = qwen.split_heads %k : tensor<?x16xf32> -> tensor<?x2x8xf32>
  %vh = qwen.split_heads %v : tensor<?x16xf32> -> tensor<?x2x8xf32>
  %qn = qwen.rms_norm(%qh, %nq) {eps = 1.0e-06 : f32} : (tensor<?x4x8xf32>, tensor<8xf32>) -> tensor<?x4x8xf32>
  %kn = qwen.rms_norm(%kh, %nk) {eps = 1.0e-06 : f32} : (tensor<?x2x8xf32>, tensor<8xf32>) -> tensor<?x2x8xf32>
  %qr = qwen.rope(%qn, %rope) : (tensor<?x4x8xf32>, tensor<?x8xf32>) -> tensor<?x4x8xf32>
  %kr = qwen.rope(%kn, %rope) : (tensor<?x2x8xf32>, tensor<?x8xf32>) -> tensor<?x2x8xf32>
  qwen.cache_write(%kr, %vh, %batch) into %cache[%layer] : tensor<?x2x8xf32>, tensor<?x2x8xf32>, !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>
  %a = qwen.attention(%qr, %batch) over %cache[%layer] {scale = 0.25 : f32} : (tensor<?x4x8xf32>, !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>, index, !qwen.batch) -> tensor<?x4x8xf32>
  return %a : tensor<?x4x8xf32>
}

// -----

qwen.weight @l.qkv_proj : tensor<64x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.qkv_proj"
qwen.weight @l.q_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.q_norm"
qwen.weight @l.k_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.k_norm"

// CHECK-LABEL: @declines_order_of_columns
// CHECK-NOT: qwen.qk_norm_rope_cache
// CHECK: qwen.cache_write
// CHECK-NOT: qwen.qk_norm_rope_cache
func.func @declines_order_of_columns(%h: tensor<?x16xf32>, %rope: tensor<?x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>, %layer: index, %i: index) -> tensor<?x4x8xf32> {
  %nq = qwen.param @l.q_norm[%i] : tensor<8xf32>
  %nk = qwen.param @l.k_norm[%i] : tensor<8xf32>
  %w = qwen.param @l.qkv_proj[%i] : tensor<64x16xbf16>
  %qkv = qwen.linear(%h, %w) : (tensor<?x16xf32>, tensor<64x16xbf16>) -> tensor<?x64xf32>
  %t = qwen.batch_size %batch
  %q = tensor.extract_slice %qkv[0, 0] [%t, 32] [1, 1] : tensor<?x64xf32> to tensor<?x32xf32>
  %k = tensor.extract_slice %qkv[0, 48] [%t, 16] [1, 1] : tensor<?x64xf32> to tensor<?x16xf32>
  %v = tensor.extract_slice %qkv[0, 32] [%t, 16] [1, 1] : tensor<?x64xf32> to tensor<?x16xf32>
  %qh = qwen.split_heads %q : tensor<?x32xf32> -> tensor<?x4x8xf32>
  %kh = qwen.split_heads %k : tensor<?x16xf32> -> tensor<?x2x8xf32>
  %vh = qwen.split_heads %v : tensor<?x16xf32> -> tensor<?x2x8xf32>
  %qn = qwen.rms_norm(%qh, %nq) {eps = 1.0e-06 : f32} : (tensor<?x4x8xf32>, tensor<8xf32>) -> tensor<?x4x8xf32>
  %kn = qwen.rms_norm(%kh, %nk) {eps = 1.0e-06 : f32} : (tensor<?x2x8xf32>, tensor<8xf32>) -> tensor<?x2x8xf32>
  %qr = qwen.rope(%qn, %rope) : (tensor<?x4x8xf32>, tensor<?x8xf32>) -> tensor<?x4x8xf32>
  %kr = qwen.rope(%kn, %rope) : (tensor<?x2x8xf32>, tensor<?x8xf32>) -> tensor<?x2x8xf32>
  qwen.cache_write(%kr, %vh, %batch) into %cache[%layer] : tensor<?x2x8xf32>, tensor<?x2x8xf32>, !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>
  %a = qwen.attention(%qr, %batch) over %cache[%layer] {scale = 0.25 : f32} : (tensor<?x4x8xf32>, !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>, index, !qwen.batch) -> tensor<?x4x8xf32>
  return %a : tensor<?x4x8xf32>
}

// -----

qwen.weight @l.qkv_proj : tensor<64x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.qkv_proj"
qwen.weight @l.q_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.q_norm"
qwen.weight @l.k_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.k_norm"

// CHECK-LABEL: @declines_other_eps
// CHECK-NOT: qwen.qk_norm_rope_cache
// CHECK: qwen.cache_write
// CHECK-NOT: qwen.qk_norm_rope_cache
func.func @declines_other_eps(%h: tensor<?x16xf32>, %rope: tensor<?x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>, %layer: index, %i: index) -> tensor<?x4x8xf32> {
  %nq = qwen.param @l.q_norm[%i] : tensor<8xf32>
  %nk = qwen.param @l.k_norm[%i] : tensor<8xf32>
  %w = qwen.param @l.qkv_proj[%i] : tensor<64x16xbf16>
  %qkv = qwen.linear(%h, %w) : (tensor<?x16xf32>, tensor<64x16xbf16>) -> tensor<?x64xf32>
  %t = qwen.batch_size %batch
  %q = tensor.extract_slice %qkv[0, 0] [%t, 32] [1, 1] : tensor<?x64xf32> to tensor<?x32xf32>
  %k = tensor.extract_slice %qkv[0, 32] [%t, 16] [1, 1] : tensor<?x64xf32> to tensor<?x16xf32>
  %v = tensor.extract_slice %qkv[0, 48] [%t, 16] [1, 1] : tensor<?x64xf32> to tensor<?x16xf32>
  %qh = qwen.split_heads %q : tensor<?x32xf32> -> tensor<?x4x8xf32>
  %kh = qwen.split_heads %k : tensor<?x16xf32> -> tensor<?x2x8xf32>
  %vh = qwen.split_heads %v : tensor<?x16xf32> -> tensor<?x2x8xf32>
  %qn = qwen.rms_norm(%qh, %nq) {eps = 1.0e-06 : f32} : (tensor<?x4x8xf32>, tensor<8xf32>) -> tensor<?x4x8xf32>
  %kn = qwen.rms_norm(%kh, %nk) {eps = 1.0e-05 : f32} : (tensor<?x2x8xf32>, tensor<8xf32>) -> tensor<?x2x8xf32>
  %qr = qwen.rope(%qn, %rope) : (tensor<?x4x8xf32>, tensor<?x8xf32>) -> tensor<?x4x8xf32>
  %kr = qwen.rope(%kn, %rope) : (tensor<?x2x8xf32>, tensor<?x8xf32>) -> tensor<?x2x8xf32>
  qwen.cache_write(%kr, %vh, %batch) into %cache[%layer] : tensor<?x2x8xf32>, tensor<?x2x8xf32>, !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>
  %a = qwen.attention(%qr, %batch) over %cache[%layer] {scale = 0.25 : f32} : (tensor<?x4x8xf32>, !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>, index, !qwen.batch) -> tensor<?x4x8xf32>
  return %a : tensor<?x4x8xf32>
}

// -----

qwen.weight @l.qkv_proj : tensor<64x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.qkv_proj"
qwen.weight @l.q_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.q_norm"
qwen.weight @l.k_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.k_norm"

// CHECK-LABEL: @declines_key_read_elsewhere
// CHECK-NOT: qwen.qk_norm_rope_cache
// CHECK: qwen.cache_write
// CHECK-NOT: qwen.qk_norm_rope_cache
func.func @declines_key_read_elsewhere(%h: tensor<?x16xf32>, %rope: tensor<?x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>, %layer: index, %i: index) -> tensor<?x4x8xf32> {
  %nq = qwen.param @l.q_norm[%i] : tensor<8xf32>
  %nk = qwen.param @l.k_norm[%i] : tensor<8xf32>
  %w = qwen.param @l.qkv_proj[%i] : tensor<64x16xbf16>
  %qkv = qwen.linear(%h, %w) : (tensor<?x16xf32>, tensor<64x16xbf16>) -> tensor<?x64xf32>
  %t = qwen.batch_size %batch
  %q = tensor.extract_slice %qkv[0, 0] [%t, 32] [1, 1] : tensor<?x64xf32> to tensor<?x32xf32>
  %k = tensor.extract_slice %qkv[0, 32] [%t, 16] [1, 1] : tensor<?x64xf32> to tensor<?x16xf32>
  %v = tensor.extract_slice %qkv[0, 48] [%t, 16] [1, 1] : tensor<?x64xf32> to tensor<?x16xf32>
  %qh = qwen.split_heads %q : tensor<?x32xf32> -> tensor<?x4x8xf32>
  %kh = qwen.split_heads %k : tensor<?x16xf32> -> tensor<?x2x8xf32>
  %vh = qwen.split_heads %v : tensor<?x16xf32> -> tensor<?x2x8xf32>
  %qn = qwen.rms_norm(%qh, %nq) {eps = 1.0e-06 : f32} : (tensor<?x4x8xf32>, tensor<8xf32>) -> tensor<?x4x8xf32>
  %kn = qwen.rms_norm(%kh, %nk) {eps = 1.0e-06 : f32} : (tensor<?x2x8xf32>, tensor<8xf32>) -> tensor<?x2x8xf32>
  %qr = qwen.rope(%qn, %rope) : (tensor<?x4x8xf32>, tensor<?x8xf32>) -> tensor<?x4x8xf32>
  %kr = qwen.rope(%kn, %rope) : (tensor<?x2x8xf32>, tensor<?x8xf32>) -> tensor<?x2x8xf32>
  qwen.cache_write(%kr, %vh, %batch) into %cache[%layer] : tensor<?x2x8xf32>, tensor<?x2x8xf32>, !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>
  %a = qwen.attention(%qr, %batch) over %cache[%layer] {scale = 0.25 : f32} : (tensor<?x4x8xf32>, !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>, index, !qwen.batch) -> tensor<?x4x8xf32>
  %kk = qwen.add(%kr, %kr) : (tensor<?x2x8xf32>, tensor<?x2x8xf32>) -> tensor<?x2x8xf32>
  qwen.cache_write(%kk, %vh, %batch) into %cache[%i] : tensor<?x2x8xf32>, tensor<?x2x8xf32>, !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>
  %b = qwen.attention(%qr, %batch) over %cache[%layer] {scale = 0.25 : f32} : (tensor<?x4x8xf32>, !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>, index, !qwen.batch) -> tensor<?x4x8xf32>
  return %b : tensor<?x4x8xf32>
}

// -----

qwen.weight @l.qkv_proj : tensor<64x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.qkv_proj"
qwen.weight @l.q_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.q_norm"
qwen.weight @l.k_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.k_norm"

// CHECK-LABEL: @declines_two_projections
// CHECK-NOT: qwen.qk_norm_rope_cache
// CHECK: qwen.cache_write
// CHECK-NOT: qwen.qk_norm_rope_cache
func.func @declines_two_projections(%h: tensor<?x16xf32>, %rope: tensor<?x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>, %layer: index, %i: index) -> tensor<?x4x8xf32> {
  %nq = qwen.param @l.q_norm[%i] : tensor<8xf32>
  %nk = qwen.param @l.k_norm[%i] : tensor<8xf32>
  %w = qwen.param @l.qkv_proj[%i] : tensor<64x16xbf16>
  %qkv = qwen.linear(%h, %w) : (tensor<?x16xf32>, tensor<64x16xbf16>) -> tensor<?x64xf32>
  %t = qwen.batch_size %batch
  %w2 = qwen.param @l.qkv_proj[%layer] : tensor<64x16xbf16>
  %qkv2 = qwen.linear(%h, %w2) : (tensor<?x16xf32>, tensor<64x16xbf16>) -> tensor<?x64xf32>
  %q = tensor.extract_slice %qkv[0, 0] [%t, 32] [1, 1] : tensor<?x64xf32> to tensor<?x32xf32>
  %k = tensor.extract_slice %qkv2[0, 32] [%t, 16] [1, 1] : tensor<?x64xf32> to tensor<?x16xf32>
  %v = tensor.extract_slice %qkv[0, 48] [%t, 16] [1, 1] : tensor<?x64xf32> to tensor<?x16xf32>
  %qh = qwen.split_heads %q : tensor<?x32xf32> -> tensor<?x4x8xf32>
  %kh = qwen.split_heads %k : tensor<?x16xf32> -> tensor<?x2x8xf32>
  %vh = qwen.split_heads %v : tensor<?x16xf32> -> tensor<?x2x8xf32>
  %qn = qwen.rms_norm(%qh, %nq) {eps = 1.0e-06 : f32} : (tensor<?x4x8xf32>, tensor<8xf32>) -> tensor<?x4x8xf32>
  %kn = qwen.rms_norm(%kh, %nk) {eps = 1.0e-06 : f32} : (tensor<?x2x8xf32>, tensor<8xf32>) -> tensor<?x2x8xf32>
  %qr = qwen.rope(%qn, %rope) : (tensor<?x4x8xf32>, tensor<?x8xf32>) -> tensor<?x4x8xf32>
  %kr = qwen.rope(%kn, %rope) : (tensor<?x2x8xf32>, tensor<?x8xf32>) -> tensor<?x2x8xf32>
  qwen.cache_write(%kr, %vh, %batch) into %cache[%layer] : tensor<?x2x8xf32>, tensor<?x2x8xf32>, !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>
  %a = qwen.attention(%qr, %batch) over %cache[%layer] {scale = 0.25 : f32} : (tensor<?x4x8xf32>, !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>, index, !qwen.batch) -> tensor<?x4x8xf32>
  return %a : tensor<?x4x8xf32>
}
