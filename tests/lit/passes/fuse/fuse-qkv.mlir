// RUN: qwench-opt %s --fuse-qkv --split-input-file | FileCheck %s

// CHECK: qwen.weight @l.qkv_proj : tensor<64x16xbf16> instances 2 layers [0, 2] parts [@l.q_proj, @l.k_proj, @l.v_proj]
qwen.weight @l.q_proj : tensor<32x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.q_proj"
qwen.weight @l.k_proj : tensor<16x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.k_proj"
qwen.weight @l.v_proj : tensor<16x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.v_proj"
qwen.weight @l.q_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.q_norm"
qwen.weight @l.k_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.k_norm"

// CHECK-LABEL: @fuses(
// CHECK-SAME: %[[H:[^:]*]]: tensor<?x16xf32>, %{{.*}}, %[[BATCH:[^:]*]]: !qwen.batch, {{.*}}, %[[I:[^:]*]]: index)
// CHECK: %[[W:.*]] = qwen.param @l.qkv_proj[%[[I]]] : tensor<64x16xbf16>
// CHECK: %[[QKV:.*]] = qwen.linear(%[[H]], %[[W]]) : {{.*}} -> tensor<?x64xf32>
// CHECK: %[[T:.*]] = qwen.batch_size %[[BATCH]]
// CHECK: %[[Q:.*]] = tensor.extract_slice %[[QKV]][0, 0] [%[[T]], 32] [1, 1]
// CHECK: %[[K:.*]] = tensor.extract_slice %[[QKV]][0, 32] [%[[T]], 16] [1, 1]
// CHECK: %[[V:.*]] = tensor.extract_slice %[[QKV]][0, 48] [%[[T]], 16] [1, 1]
// CHECK-NOT: qwen.linear
// CHECK: qwen.split_heads %[[Q]]
// CHECK: qwen.split_heads %[[K]]
// CHECK: qwen.split_heads %[[V]]
func.func @fuses(%h: tensor<?x16xf32>, %rope: tensor<?x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>, %layer: index, %i: index) -> tensor<?x4x8xf32> {
  %wq = qwen.param @l.q_proj[%i] : tensor<32x16xbf16>
  %wk = qwen.param @l.k_proj[%i] : tensor<16x16xbf16>
  %wv = qwen.param @l.v_proj[%i] : tensor<16x16xbf16>
  %nq = qwen.param @l.q_norm[%i] : tensor<8xf32>
  %nk = qwen.param @l.k_norm[%i] : tensor<8xf32>
  %q = qwen.linear(%h, %wq) : (tensor<?x16xf32>, tensor<32x16xbf16>) -> tensor<?x32xf32>
  %k = qwen.linear(%h, %wk) : (tensor<?x16xf32>, tensor<16x16xbf16>) -> tensor<?x16xf32>
  %v = qwen.linear(%h, %wv) : (tensor<?x16xf32>, tensor<16x16xbf16>) -> tensor<?x16xf32>
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

qwen.weight @l.q_proj : tensor<32x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.q_proj"
qwen.weight @l.k_proj : tensor<16x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.k_proj"
qwen.weight @l.v_proj : tensor<16x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.v_proj"
qwen.weight @l.q_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.q_norm"
qwen.weight @l.k_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.k_norm"

// With a static number of rows, in another order of projections.
// CHECK-LABEL: @static_rows
// CHECK-NOT: qwen.batch_size
// CHECK: tensor.extract_slice %{{.*}}[0, 0] [3, 32] [1, 1]
func.func @static_rows(%h: tensor<3x16xf32>, %rope: tensor<3x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>, %layer: index, %i: index) -> tensor<3x4x8xf32> {
  %wq = qwen.param @l.q_proj[%i] : tensor<32x16xbf16>
  %wk = qwen.param @l.k_proj[%i] : tensor<16x16xbf16>
  %wv = qwen.param @l.v_proj[%i] : tensor<16x16xbf16>
  %nq = qwen.param @l.q_norm[%i] : tensor<8xf32>
  %nk = qwen.param @l.k_norm[%i] : tensor<8xf32>
  %v = qwen.linear(%h, %wv) : (tensor<3x16xf32>, tensor<16x16xbf16>) -> tensor<3x16xf32>
  %k = qwen.linear(%h, %wk) : (tensor<3x16xf32>, tensor<16x16xbf16>) -> tensor<3x16xf32>
  %q = qwen.linear(%h, %wq) : (tensor<3x16xf32>, tensor<32x16xbf16>) -> tensor<3x32xf32>
  %qh = qwen.split_heads %q : tensor<3x32xf32> -> tensor<3x4x8xf32>
  %kh = qwen.split_heads %k : tensor<3x16xf32> -> tensor<3x2x8xf32>
  %vh = qwen.split_heads %v : tensor<3x16xf32> -> tensor<3x2x8xf32>
  %qn = qwen.rms_norm(%qh, %nq) {eps = 1.0e-06 : f32} : (tensor<3x4x8xf32>, tensor<8xf32>) -> tensor<3x4x8xf32>
  %kn = qwen.rms_norm(%kh, %nk) {eps = 1.0e-06 : f32} : (tensor<3x2x8xf32>, tensor<8xf32>) -> tensor<3x2x8xf32>
  %qr = qwen.rope(%qn, %rope) : (tensor<3x4x8xf32>, tensor<3x8xf32>) -> tensor<3x4x8xf32>
  %kr = qwen.rope(%kn, %rope) : (tensor<3x2x8xf32>, tensor<3x8xf32>) -> tensor<3x2x8xf32>
  qwen.cache_write(%kr, %vh, %batch) into %cache[%layer] : tensor<3x2x8xf32>, tensor<3x2x8xf32>, !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>
  %a = qwen.attention(%qr, %batch) over %cache[%layer] {scale = 0.25 : f32} : (tensor<3x4x8xf32>, !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>, index, !qwen.batch) -> tensor<3x4x8xf32>
  return %a : tensor<3x4x8xf32>
}

// -----

qwen.weight @l.q_proj : tensor<32x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.q_proj"
qwen.weight @l.k_proj : tensor<16x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.k_proj"
qwen.weight @l.v_proj : tensor<16x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.v_proj"
qwen.weight @l.q_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.q_norm"
qwen.weight @l.k_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.k_norm"
qwen.weight @l.q_bias : tensor<32xf32> instances 2 layers [0, 2] source "layers.{layer}.q_bias"
qwen.weight @l.k_bias : tensor<16xf32> instances 2 layers [0, 2] source "layers.{layer}.k_bias"
qwen.weight @l.v_bias : tensor<16xf32> instances 2 layers [0, 2] source "layers.{layer}.v_bias"

// CHECK: qwen.weight @l.qkv_proj_bias : tensor<64xf32> instances 2 layers [0, 2] parts [@l.q_bias, @l.k_bias, @l.v_bias]
// CHECK-LABEL: @bias
// CHECK: %[[W:.*]] = qwen.param @l.qkv_proj[
// CHECK: %[[B:.*]] = qwen.param @l.qkv_proj_bias[
// CHECK: qwen.linear(%{{.*}}, %[[W]], %[[B]])
func.func @bias(%h: tensor<?x16xf32>, %rope: tensor<?x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>, %layer: index, %i: index) -> tensor<?x4x8xf32> {
  %wq = qwen.param @l.q_proj[%i] : tensor<32x16xbf16>
  %wk = qwen.param @l.k_proj[%i] : tensor<16x16xbf16>
  %wv = qwen.param @l.v_proj[%i] : tensor<16x16xbf16>
  %nq = qwen.param @l.q_norm[%i] : tensor<8xf32>
  %nk = qwen.param @l.k_norm[%i] : tensor<8xf32>
  %bq = qwen.param @l.q_bias[%i] : tensor<32xf32>
  %bk = qwen.param @l.k_bias[%i] : tensor<16xf32>
  %bv = qwen.param @l.v_bias[%i] : tensor<16xf32>
  %q = qwen.linear(%h, %wq, %bq) : (tensor<?x16xf32>, tensor<32x16xbf16>, tensor<32xf32>) -> tensor<?x32xf32>
  %k = qwen.linear(%h, %wk, %bk) : (tensor<?x16xf32>, tensor<16x16xbf16>, tensor<16xf32>) -> tensor<?x16xf32>
  %v = qwen.linear(%h, %wv, %bv) : (tensor<?x16xf32>, tensor<16x16xbf16>, tensor<16xf32>) -> tensor<?x16xf32>
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

qwen.weight @l.q_proj : tensor<32x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.q_proj"
qwen.weight @l.k_proj : tensor<16x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.k_proj"
qwen.weight @l.v_proj : tensor<16x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.v_proj"
qwen.weight @l.q_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.q_norm"
qwen.weight @l.k_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.k_norm"
qwen.weight @l.q_bias : tensor<32xf32> instances 2 layers [0, 2] source "layers.{layer}.q_bias"

// CHECK-LABEL: @declines_bias_of_one
// CHECK-COUNT-3: qwen.linear
// CHECK-NOT: tensor.extract_slice
func.func @declines_bias_of_one(%h: tensor<?x16xf32>, %rope: tensor<?x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>, %layer: index, %i: index) -> tensor<?x4x8xf32> {
  %wq = qwen.param @l.q_proj[%i] : tensor<32x16xbf16>
  %wk = qwen.param @l.k_proj[%i] : tensor<16x16xbf16>
  %wv = qwen.param @l.v_proj[%i] : tensor<16x16xbf16>
  %nq = qwen.param @l.q_norm[%i] : tensor<8xf32>
  %nk = qwen.param @l.k_norm[%i] : tensor<8xf32>
  %bq = qwen.param @l.q_bias[%i] : tensor<32xf32>
  %q = qwen.linear(%h, %wq, %bq) : (tensor<?x16xf32>, tensor<32x16xbf16>, tensor<32xf32>) -> tensor<?x32xf32>
  %k = qwen.linear(%h, %wk) : (tensor<?x16xf32>, tensor<16x16xbf16>) -> tensor<?x16xf32>
  %v = qwen.linear(%h, %wv) : (tensor<?x16xf32>, tensor<16x16xbf16>) -> tensor<?x16xf32>
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

qwen.weight @l.q_proj : tensor<32x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.q_proj"
qwen.weight @l.k_proj : tensor<16x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.k_proj"
qwen.weight @l.v_proj : tensor<16x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.v_proj"
qwen.weight @l.q_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.q_norm"
qwen.weight @l.k_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.k_norm"

// CHECK-LABEL: @declines_other_input
// CHECK-COUNT-3: qwen.linear
// CHECK-NOT: tensor.extract_slice
func.func @declines_other_input(%h: tensor<?x16xf32>, %rope: tensor<?x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>, %layer: index, %i: index) -> tensor<?x4x8xf32> {
  %wq = qwen.param @l.q_proj[%i] : tensor<32x16xbf16>
  %wk = qwen.param @l.k_proj[%i] : tensor<16x16xbf16>
  %wv = qwen.param @l.v_proj[%i] : tensor<16x16xbf16>
  %nq = qwen.param @l.q_norm[%i] : tensor<8xf32>
  %nk = qwen.param @l.k_norm[%i] : tensor<8xf32>
  %h2 = qwen.add(%h, %h) : (tensor<?x16xf32>, tensor<?x16xf32>) -> tensor<?x16xf32>
  %q = qwen.linear(%h, %wq) : (tensor<?x16xf32>, tensor<32x16xbf16>) -> tensor<?x32xf32>
  %k = qwen.linear(%h2, %wk) : (tensor<?x16xf32>, tensor<16x16xbf16>) -> tensor<?x16xf32>
  %v = qwen.linear(%h, %wv) : (tensor<?x16xf32>, tensor<16x16xbf16>) -> tensor<?x16xf32>
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

qwen.weight @l.q_proj : tensor<32x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.q_proj"
qwen.weight @l.k_proj : tensor<16x16xbf16> instances 2 layers [0, 1] source "layers.{layer}.k_proj"
qwen.weight @l.v_proj : tensor<16x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.v_proj"
qwen.weight @l.q_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.q_norm"
qwen.weight @l.k_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.k_norm"

// CHECK-LABEL: @declines_other_layers
// CHECK-COUNT-3: qwen.linear
// CHECK-NOT: tensor.extract_slice
func.func @declines_other_layers(%h: tensor<?x16xf32>, %rope: tensor<?x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>, %layer: index, %i: index) -> tensor<?x4x8xf32> {
  %wq = qwen.param @l.q_proj[%i] : tensor<32x16xbf16>
  %wk = qwen.param @l.k_proj[%i] : tensor<16x16xbf16>
  %wv = qwen.param @l.v_proj[%i] : tensor<16x16xbf16>
  %nq = qwen.param @l.q_norm[%i] : tensor<8xf32>
  %nk = qwen.param @l.k_norm[%i] : tensor<8xf32>
  %q = qwen.linear(%h, %wq) : (tensor<?x16xf32>, tensor<32x16xbf16>) -> tensor<?x32xf32>
  %k = qwen.linear(%h, %wk) : (tensor<?x16xf32>, tensor<16x16xbf16>) -> tensor<?x16xf32>
  %v = qwen.linear(%h, %wv) : (tensor<?x16xf32>, tensor<16x16xbf16>) -> tensor<?x16xf32>
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

qwen.weight @l.q_proj : tensor<32x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.q_proj"
qwen.weight @l.k_proj : tensor<16x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.k_proj"
qwen.weight @l.v_proj : tensor<16x16xbf16> instances 2 layers [0, 2] source "layers.{layer}.v_proj"
qwen.weight @l.q_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.q_norm"
qwen.weight @l.k_norm : tensor<8xf32> instances 2 layers [0, 2] source "layers.{layer}.k_norm"

// CHECK-LABEL: @declines_other_index
// CHECK-COUNT-3: qwen.linear
// CHECK-NOT: tensor.extract_slice
func.func @declines_other_index(%h: tensor<?x16xf32>, %rope: tensor<?x8xf32>, %batch: !qwen.batch, %cache: !qwen.cache<layers = 3, heads = 2, dim = 8, bf16>, %layer: index, %i: index) -> tensor<?x4x8xf32> {
  %wq = qwen.param @l.q_proj[%i] : tensor<32x16xbf16>
  %wk = qwen.param @l.k_proj[%i] : tensor<16x16xbf16>
  %wv = qwen.param @l.v_proj[%i] : tensor<16x16xbf16>
  %nq = qwen.param @l.q_norm[%i] : tensor<8xf32>
  %nk = qwen.param @l.k_norm[%i] : tensor<8xf32>
  %wk2 = qwen.param @l.k_proj[%layer] : tensor<16x16xbf16>
  %q = qwen.linear(%h, %wq) : (tensor<?x16xf32>, tensor<32x16xbf16>) -> tensor<?x32xf32>
  %k = qwen.linear(%h, %wk2) : (tensor<?x16xf32>, tensor<16x16xbf16>) -> tensor<?x16xf32>
  %v = qwen.linear(%h, %wv) : (tensor<?x16xf32>, tensor<16x16xbf16>) -> tensor<?x16xf32>
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
