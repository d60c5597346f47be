// The pipeline runs whatever is switched off, and says which names there are.
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse | FileCheck %s --check-prefix=ALL
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse="disable=fuse-qkv,fuse-norm" | FileCheck %s --check-prefix=SOME
// RUN: qwench-opt %S/../../dialects/model.mlir --qwen-fuse="disable=fuse-qkv,fuse-rope-cache,fuse-swiglu,fuse-router,fuse-grouped-swiglu,fuse-combine,fuse-norm,fuse-residual" | FileCheck %s --check-prefix=NONE
// RUN: not qwench-opt %S/../../dialects/model.mlir --qwen-fuse="disable=fuse-what" 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not qwench-opt %S/../../dialects/model.mlir --qwen-fuse="enable=fuse-qkv" 2>&1 | FileCheck %s --check-prefix=OPTION

// ALL: qwen.weight @moe.qkv_proj
// ALL-LABEL: func.func @moe(
// ALL: qwen.fused_linear({{.*}}) norm
// ALL-NEXT: qwen.qk_norm_rope_cache
// ALL-NEXT: qwen.attention
// ALL-NEXT: qwen.merge_heads
// ALL-NEXT: qwen.fused_linear({{.*}}) residual
// ALL-NEXT: qwen.rms_norm
// ALL-NEXT: qwen.fused_router
// ALL-NEXT: qwen.dispatch
// ALL-NEXT: qwen.param
// ALL-NEXT: qwen.grouped_linear({{.*}}) {activation = 1 : i32, gather
// ALL-NEXT: qwen.grouped_linear_combine({{.*}}) residual
// ALL-NEXT: return
// ALL-LABEL: func.func @forward(
// ALL: qwen.fused_linear({{.*}}) norm

// SOME-NOT: qwen.weight @moe.qkv_proj
// SOME: qwen.rms_norm
// SOME-COUNT-3: qwen.linear
// SOME: qwen.cache_write
// SOME: qwen.fused_router

// NONE-LABEL: func.func @moe(
// NONE-COUNT-5: qwen.linear
// NONE: qwen.router
// NONE: qwen.dispatch
// NONE-COUNT-2: qwen.grouped_linear
// NONE: qwen.swiglu
// NONE: qwen.grouped_linear
// NONE: qwen.combine
// NONE: qwen.add

// NAME: expected a fusion of fuse-qkv, fuse-rope-cache, fuse-swiglu, fuse-router, fuse-grouped-swiglu, fuse-combine, fuse-norm, fuse-residual, found fuse-what
// OPTION: expected disable=NAME,..., dtype=, dtype-for= or group-size=, found enable=fuse-qkv
