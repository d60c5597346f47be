// Ops of the qwen dialect: programs and weights, the model level, and the fused level.
#ifndef QWENCH_DIALECTS_QWENOPS_TD
#define QWENCH_DIALECTS_QWENOPS_TD

include "QwenDialect.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/IR/SymbolInterfaces.td"

class Qwen_Op<string mnemonic, list<Trait> traits = []> : Op<Qwen_Dialect, mnemonic, traits>;

def Qwen_Shaped : AnyTypeOf<[AnyRankedTensor, AnyStridedMemRef], "tensor or strided buffer">;

// An op with value semantics (tensors in, `results` out) or buffer semantics (memrefs in, results written to `dests`).
// In buffer semantics `tile` holds the tile sizes: the op is then a tile program whose tile space is documented with
// the op. Weights stay tensors in both: they are constants whose place and layout is the qwen.weight symbol's matter.
class Qwen_TileOp<string mnemonic, list<Trait> traits = []>
    : Qwen_Op<mnemonic, traits # [DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    bool hasBufferSemantics() { return !getDests().empty(); }
  }];
}

//===-- Programs and weights ------------------------------------------------------------------------------------===//

def Qwen_WeightOp : Qwen_Op<"weight", [Symbol]> {
  let summary = "a family of weights: one tensor for each of its instances";
  let description = [{
    Names a weight that `instances` layers have, all of the same type. Instance `i` is read from the checkpoint tensor
    that `source` names with `{layer}` replaced by `layers[i]`, and `{expert}` by the index of the leading dimension of
    a stacked type `[E, N, K]`. A weight made by fusion has `parts` instead: other weights, concatenated along `N`.
    Bytes are never in the IR. Planning adds `layout`, and instance `i` then lies `offset + i * stride` bytes into the
    weight section.

    ```mlir
    qwen.weight @dense.q_proj : tensor<2048x1024xbf16> instances 2 layers [0, 1]
      source "model.layers.{layer}.self_attn.q_proj.weight"
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<AnyRankedTensor>:$type, I64Attr:$instances,
                       DenseI64ArrayAttr:$layers, OptionalAttr<StrAttr>:$source,
                       OptionalAttr<FlatSymbolRefArrayAttr>:$parts, OptionalAttr<Qwen_LayoutAttr>:$layout,
                       OptionalAttr<I64Attr>:$offset, OptionalAttr<I64Attr>:$stride);
  let assemblyFormat = [{
    $sym_name `:` $type `instances` $instances `layers` $layers (`source` $source^)? (`parts` $parts^)?
    (`layout` $layout^)? (`at` $offset^ `stride` $stride)? attr-dict
  }];
  let hasVerifier = 1;
}

def Qwen_RotaryOp : Qwen_Op<"rotary", [Symbol]> {
  let summary = "rotary frequencies of a model";
  let description = [{
    `fixed`: `inv_freq` at every context length. `longrope`: `long_inv_freq` when the context length exceeds
    `original_context`, else `inv_freq`. `dynamic`: `inv_freq` up to `original_context` tokens; beyond it those of base
    `theta * (factor * L / original_context - (factor - 1)) ^ (D / (D - 2))`. Cosine and sine are multiplied by
    `scaling`. Source: transformers' modeling_rope_utils.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Qwen_RotaryKind:$kind, DenseF32ArrayAttr:$inv_freq, F32Attr:$scaling,
                       OptionalAttr<DenseF32ArrayAttr>:$long_inv_freq, OptionalAttr<I64Attr>:$original_context,
                       OptionalAttr<F64Attr>:$theta, OptionalAttr<F64Attr>:$factor);
  let assemblyFormat = "$sym_name $kind `scaling` $scaling attr-dict";
  let hasVerifier = 1;
}

def Qwen_ParamOp : Qwen_Op<"param", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "instance `index` of a weight";
  let arguments = (ins FlatSymbolRefAttr:$weight, Index:$index);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$weight `[` $index `]` attr-dict `:` type($result)";
}

def Qwen_LayersOp : Qwen_Op<"layers", [DeclareOpInterfaceMethods<SymbolUserOpInterface>,
                                      DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "the decoder layers, one after another";
  let description = [{
    Calls `callees[l]` for each layer `l` with the hidden states, the rope table, the batch, the cache, the index `l`,
    and the instance: how many earlier layers have the same callee. Layers that are alike share a function, so the
    program's size does not depend on their number. In buffer semantics the hidden states are updated in place.
  }];
  let arguments = (ins Qwen_Shaped:$hidden, Qwen_Shaped:$rope, Qwen_BatchType:$batch, Qwen_CacheType:$cache,
                       FlatSymbolRefArrayAttr:$callees);
  let results = (outs Optional<AnyRankedTensor>:$result);
  let assemblyFormat = [{
    `(` $hidden `,` $rope `,` $batch `,` $cache `)` `through` $callees attr-dict `:`
    functional-type(operands, results)
  }];
}

def Qwen_BatchSizeOp : Qwen_Op<"batch_size", [Pure]> {
  let summary = "number of rows (T) of a step, or of the rows whose logits are wanted (O)";
  let arguments = (ins Qwen_BatchType:$batch, UnitAttr:$outputs);
  let results = (outs Index:$result);
  let assemblyFormat = "(`outputs` $outputs^)? $batch attr-dict";
}

def Qwen_BufferOp : Qwen_Op<"buffer", [Pure]> {
  let summary = "a buffer of the planned stage: bytes of the arena, or the step's logits or drawn tokens";
  let description = [{
    `rows` is the dynamic leading extent. `offset` counts bytes from the start of the arena; `logits` and `drawn` name the
    caller's result buffers instead.
  }];
  let arguments = (ins Optional<Index>:$rows, I64Attr:$offset, UnitAttr:$logits, UnitAttr:$drawn);
  let results = (outs AnyStridedMemRef:$result);
  let assemblyFormat = [{
    (`[` $rows^ `]`)? `at` $offset (`logits` $logits^)? (`drawn` $drawn^)? attr-dict `:` type($result)
  }];
  let extraClassDeclaration = [{
    bool isInArena() { return !getLogits() && !getDrawn(); }
  }];
}

//===-- Model level ---------------------------------------------------------------------------------------------===//

def Qwen_EmbeddingOp : Qwen_TileOp<"embedding"> {
  let summary = "rows of the embedding table: [T, H]";
  let description = "Row t is row `token(t)` of `table` [V, H], as f32. Tiles: rows.";
  let arguments = (ins Qwen_BatchType:$batch, AnyRankedTensor:$table, Variadic<AnyStridedMemRef>:$dests,
                       OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = "`(` $batch `,` $table `)` (`outs` `(` $dests^ `)`)? attr-dict `:` functional-type(operands, results)";
}

def Qwen_RopeTableOp : Qwen_TileOp<"rope_table", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "cosine and sine of every row's position: [T, D]";
  let description = [{
    Columns `0 .. D/2` hold `scaling * cos(position * inv_freq[i])`, the others the sines, all in f32 as transformers
    computes them. Tiles: rows.
  }];
  let arguments = (ins Qwen_BatchType:$batch, FlatSymbolRefAttr:$rotary, Variadic<AnyStridedMemRef>:$dests,
                       OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = "`(` $batch `)` $rotary (`outs` `(` $dests^ `)`)? attr-dict `:` functional-type(operands, results)";
}

def Qwen_RmsNormOp : Qwen_TileOp<"rms_norm"> {
  let summary = "root mean square normalisation over the last dimension";
  let description = "`x / sqrt(mean(x^2) + eps) * weight`; x is [T, H] or [T, heads, D]. Tiles: rows.";
  let arguments = (ins Qwen_Shaped:$input, AnyRankedTensor:$weight, F32Attr:$eps, Variadic<AnyStridedMemRef>:$dests,
                       OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = "`(` $input `,` $weight `)` (`outs` `(` $dests^ `)`)? attr-dict `:` functional-type(operands, results)";
}

def Qwen_LinearOp : Qwen_TileOp<"linear", [AttrSizedOperandSegments]> {
  let summary = "x @ weight^T + bias: [T, N]";
  let description = "x [T, K], weight [N, K], bias [N] or none. Tiles: rows by outputs by inputs.";
  let arguments = (ins Qwen_Shaped:$input, AnyRankedTensor:$weight, Optional<AnyRankedTensor>:$bias,
                       Variadic<AnyStridedMemRef>:$dests, OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `(` $input `,` $weight (`,` $bias^)? `)` (`outs` `(` $dests^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
}

def Qwen_SplitHeadsOp : Qwen_Op<"split_heads", [Pure]> {
  let summary = "[T, heads * D] seen as [T, heads, D]";
  let arguments = (ins AnyRankedTensor:$input);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Qwen_MergeHeadsOp : Qwen_Op<"merge_heads", [Pure]> {
  let summary = "[T, heads, D] seen as [T, heads * D]";
  let arguments = (ins AnyRankedTensor:$input);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Qwen_RopeOp : Qwen_TileOp<"rope"> {
  let summary = "rotary position embedding, half-rotation form: [T, heads, D]";
  let description = [{
    `(a, b)`, the two halves of a head, become `(a cos - b sin, b cos + a sin)` with row t of `table` [T, D]. Tiles: rows.
  }];
  let arguments = (ins Qwen_Shaped:$input, Qwen_Shaped:$table, Variadic<AnyStridedMemRef>:$dests,
                       OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = "`(` $input `,` $table `)` (`outs` `(` $dests^ `)`)? attr-dict `:` functional-type(operands, results)";
}

def Qwen_CacheWriteOp : Qwen_Op<"cache_write", [DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "keys and values [T, G, D] go to their rows' slots and positions of a layer's cache";
  let description = "Stored in the cache's element type. Tiles: rows.";
  let arguments = (ins Qwen_Shaped:$key, Qwen_Shaped:$value, Qwen_CacheType:$cache, Index:$layer, Qwen_BatchType:$batch,
                       OptionalAttr<DenseI64ArrayAttr>:$tile);
  let assemblyFormat = "`(` $key `,` $value `,` $batch `)` `into` $cache `[` $layer `]` attr-dict `:` type($key) `,` type($value) `,` type($cache)";
  let hasVerifier = 1;
}

def Qwen_AttentionOp : Qwen_TileOp<"attention"> {
  let summary = "causal grouped-query attention of every row over its sequence's cache: [T, A, D]";
  let description = [{
    Head `a` of row `t` attends to head `a / (A / G)` of the cache's layer, at positions `first .. position(t)`, where
    `first` is 0, or `position(t) - window + 1` with a sliding window; scores are scaled by `scale`. No mask exists: the
    window is a loop bound. Tiles: rows by key/value heads.

    With `splits` = S the keys of a row are cut into S runs, and each is attended to by itself: the results are
    `values` [T, S, A, D], the sums of `exp(score - maximum)` times value, and `stats` [T, S, A, 2], the run's maximum
    score and its sum of `exp(score - maximum)`. qwen.attention_combine makes the whole of them. Runs are made of blocks
    of `split_keys` positions that start at multiples of it: of a row's B blocks, run s has `s * B / S .. (s + 1) * B / S`
    (rounded down). They follow from the row's position alone, never from who computes them. A run without keys has
    sum 0; its maximum and values say nothing. Tiles: runs by rows by key/value heads.

    ```mlir
    %v, %s = qwen.attention(%q, %batch) over %cache[%layer] {scale = 0.125 : f32, splits = 4, split_keys = 64}
      : (tensor<?x4x32xf32>, !qwen.cache<layers = 2, heads = 2, dim = 32, f32>, index, !qwen.batch)
      -> (tensor<?x4x4x32xf32>, tensor<?x4x4x2xf32>)
    %y = qwen.attention_combine(%v, %s) : (tensor<?x4x4x32xf32>, tensor<?x4x4x2xf32>) -> tensor<?x4x32xf32>
    ```
  }];
  let arguments = (ins Qwen_Shaped:$query, Qwen_CacheType:$cache, Index:$layer, Qwen_BatchType:$batch, F32Attr:$scale,
                       OptionalAttr<I64Attr>:$window, OptionalAttr<I64Attr>:$splits,
                       OptionalAttr<I64Attr>:$split_keys, Variadic<AnyStridedMemRef>:$dests,
                       OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `(` $query `,` $batch `)` `over` $cache `[` $layer `]` (`outs` `(` $dests^ `)`)? attr-dict `:`
    functional-type(operands, results)
  }];
  let extraClassDeclaration = [{
    bool hasBufferSemantics() { return !getDests().empty(); }
    /// Query heads of each key/value head.
    int64_t groupSize();
  }];
}

def Qwen_AttentionCombineOp : Qwen_TileOp<"attention_combine"> {
  let summary = "what attention over runs of the keys amounts to: [T, A, D]";
  let description = [{
    `values` [T, S, A, D] and `stats` [T, S, A, 2] of qwen.attention with `splits`. With m the greatest maximum of the
    runs whose sum is not 0, the sum over these runs of `exp(maximum - m) * values`, divided by that of
    `exp(maximum - m) * sum`. Tiles: rows by heads.
  }];
  let arguments = (ins Qwen_Shaped:$values, Qwen_Shaped:$stats, Variadic<AnyStridedMemRef>:$dests,
                       OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = "`(` $values `,` $stats `)` (`outs` `(` $dests^ `)`)? attr-dict `:` functional-type(operands, results)";
}

def Qwen_SwigluOp : Qwen_TileOp<"swiglu"> {
  let summary = "silu(gate) * up: [T, I]";
  let description = "Tiles: rows.";
  let arguments = (ins Qwen_Shaped:$gate, Qwen_Shaped:$up, Variadic<AnyStridedMemRef>:$dests,
                       OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = "`(` $gate `,` $up `)` (`outs` `(` $dests^ `)`)? attr-dict `:` functional-type(operands, results)";
}

def Qwen_AddOp : Qwen_TileOp<"add"> {
  let summary = "elementwise sum: [T, H]";
  let description = "Tiles: rows.";
  let arguments = (ins Qwen_Shaped:$lhs, Qwen_Shaped:$rhs, Variadic<AnyStridedMemRef>:$dests,
                       OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = "`(` $lhs `,` $rhs `)` (`outs` `(` $dests^ `)`)? attr-dict `:` functional-type(operands, results)";
}

def Qwen_RouterOp : Qwen_TileOp<"router"> {
  let summary = "softmax over all experts, the k likeliest, renormalised if asked: weights [T, k], experts [T, k] i32";
  let description = [{
    Experts of a row stand in descending order of weight; of equals the lower index comes first. Tiles: rows.
  }];
  let arguments = (ins Qwen_Shaped:$logits, I64Attr:$top_k, BoolAttr:$normalize, Variadic<AnyStridedMemRef>:$dests,
                       OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = "`(` $logits `)` (`outs` `(` $dests^ `)`)? attr-dict `:` functional-type(operands, results)";
}

def Qwen_ExpertsOp : Qwen_Op<"experts", [Pure]> {
  let summary = "each row's chosen experts, weighted and summed: [T, H]";
  let description = [{
    For row t and each of its k experts e: `weights * (swiglu(x @ gate[e]^T, x @ up[e]^T) @ down[e]^T)`, summed in
    ascending order of e. x [T, H], gate and up [E, I, H], down [E, H, I]. Value semantics only: `decompose-experts`
    says how it runs.
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$weights, AnyRankedTensor:$experts,
                       AnyRankedTensor:$gate, AnyRankedTensor:$up, AnyRankedTensor:$down);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    `(` $input `,` $weights `,` $experts `,` $gate `,` $up `,` $down `)` attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Qwen_OutputRowsOp : Qwen_TileOp<"output_rows"> {
  let summary = "the rows whose logits are wanted: [O, H]";
  let description = "Tiles: output rows.";
  let arguments = (ins Qwen_Shaped:$input, Qwen_BatchType:$batch, Variadic<AnyStridedMemRef>:$dests,
                       OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = "`(` $input `,` $batch `)` (`outs` `(` $dests^ `)`)? attr-dict `:` functional-type(operands, results)";
}

def Qwen_SampleOp : Qwen_TileOp<"sample"> {
  let summary = "a token for each draw of the step: [draws]";
  let description = [{
    Draw d (QwenchDraw in runtime/abi/program.h) takes one of row `row(d)` of `logits` [O, V]. Candidates are the ids below
    `candidates(d)` whose logit is neither NaN nor -infinity; a is likelier than b if its logit is greater, or equal and its
    id lower. Without a candidate the token is -1; at temperature 0, or if the likeliest logit is infinite, it is the
    likeliest. Else, in this order:
    - temperature: a candidate weighs `exp((logit - likeliest) / temperature)`, an integer in units of 2^-40
      (runtime/abi/token_weight.h has each operation), so that no sum depends on its order;
    - top_k: the k likeliest stay; 0: all;
    - top_p: of these the likeliest that have a share p of the weight together, at least one; 1: all;
    - min_p: of these, those that weigh at least min_p times the likeliest.
    The weights of those that are left follow each other by id; the token is the one at `uniform(d)` of their total.
    Tiles: draws.

    ```mlir
    %id = qwen.sample(%logits, %batch) : (tensor<?x151936xf32>, !qwen.batch) -> tensor<?xi32>
    ```
  }];
  let arguments = (ins Qwen_Shaped:$logits, Qwen_BatchType:$batch, Variadic<AnyStridedMemRef>:$dests,
                       OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = "`(` $logits `,` $batch `)` (`outs` `(` $dests^ `)`)? attr-dict `:` functional-type(operands, results)";
}

//===-- Fused level ---------------------------------------------------------------------------------------------===//

def Qwen_FusedLinearOp : Qwen_TileOp<"fused_linear", [AttrSizedOperandSegments]> {
  let summary = "linear map with a norm before and bias, activation and residual behind";
  let description = [{
    `y = rms_norm(x, norm, eps) @ weight^T + bias`; with `swiglu` the N outputs are a gate half and an up half and the
    result is `silu(gate) * up` [T, N/2]; `residual` is added last. x [T, K], weight [N, K], bias [N], norm [K].
    Tiles: rows by outputs by inputs, where a target passes over a part of the inputs at a time.
  }];
  let arguments = (ins Qwen_Shaped:$input, AnyRankedTensor:$weight, Optional<AnyRankedTensor>:$bias,
                       Optional<AnyRankedTensor>:$norm, Optional<Qwen_Shaped>:$residual,
                       Variadic<AnyStridedMemRef>:$dests, OptionalAttr<F32Attr>:$eps,
                       DefaultValuedAttr<Qwen_Activation, "Activation::None">:$activation,
                       OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `(` $input `,` $weight `)` (`bias` `(` $bias^ `)`)? (`norm` `(` $norm^ `)`)? (`residual` `(` $residual^ `)`)?
    (`outs` `(` $dests^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
}

def Qwen_QkNormRopeCacheOp : Qwen_TileOp<"qk_norm_rope_cache"> {
  let summary = "from one projection of q, k and v: norm and rope of q and k, k and v into the cache; q: [T, A, D]";
  let description = [{
    `qkv` [T, (A + 2G) * D] holds the heads of q, then k, then v. Writes `rope(norm(k))` and v to the layer's cache as
    qwen.cache_write does and gives `rope(norm(q))`. Tiles: rows by key/value heads, each with the query heads that share it.
  }];
  let arguments = (ins Qwen_Shaped:$qkv, AnyRankedTensor:$q_norm, AnyRankedTensor:$k_norm, Qwen_Shaped:$table,
                       Qwen_CacheType:$cache, Index:$layer, Qwen_BatchType:$batch, Variadic<AnyStridedMemRef>:$dests,
                       F32Attr:$eps, OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `(` $qkv `,` $q_norm `,` $k_norm `,` $table `,` $batch `)` `into` $cache `[` $layer `]` (`outs` `(` $dests^ `)`)?
    attr-dict `:` functional-type(operands, results)
  }];
}

def Qwen_QuantizeOp : Qwen_TileOp<"quantize"> {
  let summary = "rows in groups of 8-bit codes with a scale each: [T, K]";
  let description = [{
    x [T, K] of floats, the result [T, K] of `!qwen.quant<i8, group = G, scale = f32, sums = S>`, G not 0: the scale of a group
    is its largest magnitude / 127, a code is `x / scale` rounded to the nearest, ties to even; a group of zeros has scale 0.

    In buffer semantics a row is a run of bytes: the codes of `K'` columns (K rounded up to a multiple of S), the scale (f32)
    of each of the `ceil(K / G)` groups, and for each S columns 2^15 - 16 * the sum of their codes (i32), by which integer products
    correct for unsigned weight codes. Tiles: rows.
  }];
  let arguments = (ins Qwen_Shaped:$input, Variadic<AnyStridedMemRef>:$dests, OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = "`(` $input `)` (`outs` `(` $dests^ `)`)? attr-dict `:` functional-type(operands, results)";
}

def Qwen_FusedRouterOp : Qwen_TileOp<"fused_router"> {
  let summary = "router projection, softmax, top-k and renormalisation: weights [T, k], experts [T, k] i32";
  let description = "`qwen.router(qwen.linear(x, weight))`; x [T, H], weight [E, H]. Tiles: rows.";
  let arguments = (ins Qwen_Shaped:$input, AnyRankedTensor:$weight, I64Attr:$top_k, BoolAttr:$normalize,
                       Variadic<AnyStridedMemRef>:$dests, OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = "`(` $input `,` $weight `)` (`outs` `(` $dests^ `)`)? attr-dict `:` functional-type(operands, results)";
}

def Qwen_DispatchOp : Qwen_TileOp<"dispatch"> {
  let summary = "counting sort of the (row, choice) pairs by expert: offsets [E + 1] i32, pairs [T * k] i32";
  let description = [{
    Segment `offsets[e] .. offsets[e+1]` of `pairs` lists the pairs `t * k + j` with `experts[t, j] = e`, ascending.
    No capacity, nothing dropped. Tiles: one.
  }];
  let arguments = (ins Qwen_Shaped:$experts, Variadic<AnyStridedMemRef>:$dests, OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = "`(` $experts `)` (`outs` `(` $dests^ `)`)? attr-dict `:` functional-type(operands, results)";
}

def Qwen_RouterDispatchOp : Qwen_TileOp<"router_dispatch"> {
  let summary = "router and dispatch in one: weights [T, k], offsets [E + 1] i32, pairs [T * k] i32";
  let description = [{
    `weights, experts = qwen.router(logits)` and `offsets, pairs = qwen.dispatch(experts)`; nobody else sees the experts.
    logits [T, E]. Planning makes it (`join-dispatch`). Tiles: one, of at most so many rows.
  }];
  let arguments = (ins Qwen_Shaped:$logits, I64Attr:$top_k, BoolAttr:$normalize, Variadic<AnyStridedMemRef>:$dests,
                       OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = "`(` $logits `)` (`outs` `(` $dests^ `)`)? attr-dict `:` functional-type(operands, results)";
}

def Qwen_GroupedLinearOp : Qwen_TileOp<"grouped_linear", [AttrSizedOperandSegments]> {
  let summary = "one linear map per expert over its segment: [T * k, N]";
  let description = [{
    Row i of the result, in segment e, is `x_i @ weight[e]^T` (with `swiglu`: as qwen.fused_linear, [T * k, N/2]).
    `x_i` is row `pairs[i] / top_k` of the input [T, K], or row i of the input [T * k, K] if not `gather`; with a norm [K],
    `rms_norm` of that row. weight [E, N, K]. Tiles: outputs by inputs, as qwen.fused_linear's.
  }];
  let arguments = (ins Qwen_Shaped:$input, AnyRankedTensor:$weight, Qwen_Shaped:$offsets, Qwen_Shaped:$pairs,
                       Optional<AnyRankedTensor>:$norm, I64Attr:$top_k, UnitAttr:$gather,
                       DefaultValuedAttr<Qwen_Activation, "Activation::None">:$activation,
                       Variadic<AnyStridedMemRef>:$dests, OptionalAttr<F32Attr>:$eps, OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `(` $input `,` $weight `,` $offsets `,` $pairs `)` (`norm` `(` $norm^ `)`)? (`outs` `(` $dests^ `)`)? attr-dict `:`
    functional-type(operands, results)
  }];
}

def Qwen_CombineOp : Qwen_TileOp<"combine", [AttrSizedOperandSegments]> {
  let summary = "weighted sum of each row's expert results, in ascending order of expert, plus residual: [T, H]";
  let description = [{
    Row t is `residual[t] + sum of weights[t, j] * x[i]` over the k pairs `pairs[i] = t * k + j`, ascending in i.
    x [T * k, H] in the order of `pairs`, weights [T, k]. Tiles: rows.
  }];
  let arguments = (ins Qwen_Shaped:$input, Qwen_Shaped:$weights, Qwen_Shaped:$offsets, Qwen_Shaped:$pairs,
                       Optional<Qwen_Shaped>:$residual, Variadic<AnyStridedMemRef>:$dests,
                       OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `(` $input `,` $weights `,` $offsets `,` $pairs `)` (`residual` `(` $residual^ `)`)? (`outs` `(` $dests^ `)`)?
    attr-dict `:` functional-type(operands, results)
  }];
}

def Qwen_GroupedLinearCombineOp : Qwen_TileOp<"grouped_linear_combine", [AttrSizedOperandSegments]> {
  let summary = "grouped linear map whose results are weighted and summed into the rows: [T, H]";
  let description = [{
    `qwen.combine(qwen.grouped_linear(x, weight), weights)` plus residual: x [T * k, K] in the order of `pairs`, weight
    [E, N, K]. A tile owns a range of outputs for all rows, so the sum needs no atomics and its order is fixed.
    Tiles: outputs by inputs.
  }];
  let arguments = (ins Qwen_Shaped:$input, AnyRankedTensor:$weight, Qwen_Shaped:$weights, Qwen_Shaped:$offsets,
                       Qwen_Shaped:$pairs, Optional<Qwen_Shaped>:$residual, Variadic<AnyStridedMemRef>:$dests,
                       OptionalAttr<DenseI64ArrayAttr>:$tile);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `(` $input `,` $weight `,` $weights `,` $offsets `,` $pairs `)` (`residual` `(` $residual^ `)`)?
    (`outs` `(` $dests^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
}

//===-- Kernels level -------------------------------------------------------------------------------------------===//

def Qwen_StepField : I32EnumAttr<"StepField", "a member of the step that a runtime hands to emitted code", [
    I32EnumAttrCase<"Tokens", 0, "tokens">, I32EnumAttrCase<"Positions", 1, "positions">,
    I32EnumAttrCase<"Slots", 2, "slots">, I32EnumAttrCase<"ContextLengths", 3, "context_lengths">,
    I32EnumAttrCase<"OutputRows", 4, "output_rows">, I32EnumAttrCase<"Rows", 5, "rows">,
    I32EnumAttrCase<"Outputs", 6, "outputs">, I32EnumAttrCase<"CacheCapacity", 7, "cache_capacity">,
    I32EnumAttrCase<"Arena", 8, "arena">, I32EnumAttrCase<"Weights", 9, "weights">,
    I32EnumAttrCase<"Cache", 10, "cache">, I32EnumAttrCase<"Logits", 11, "logits">,
    I32EnumAttrCase<"Draws", 12, "draws">, I32EnumAttrCase<"Drawn", 13, "drawn">,
    I32EnumAttrCase<"Team", 14, "team">]> {
  let cppNamespace = "::qwench::qwen";
}

def Qwen_StepFieldOp : Qwen_Op<"step_field", [Pure]> {
  let summary = "a member of the step: a number, or memory as a flat buffer";
  let description = [{
    The members are those of QwenchStep in runtime/abi/program.h. Draws are doubles, member by member; the team of a device is
    the i32 counter at which its blocks meet.
  }];
  let arguments = (ins Qwen_BatchType:$batch, Qwen_StepField:$field);
  let results = (outs AnyTypeOf<[Index, AnyStridedMemRef]>:$result);
  let assemblyFormat = "$batch $field attr-dict `:` type($result)";
}

def Qwen_LaunchOp : Qwen_Op<"launch", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "runs a kernel for tiles 0 .. tiles - 1, in any order and any distribution; all see the results after";
  let description = [{
    `kernel` is a function of `(args..., scratch, tile: index)`; scratch is memory that no other tile uses at the same
    time. In a module of a device, it is a function of `(args..., tile: index)` that a block of threads runs. What a launch becomes is the schedule's choice: every thread's share of the tiles and a barrier on a CPU, a
    kernel launch or a phase of a persistent kernel on a GPU.
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, Index:$tiles, Variadic<AnyType>:$args);
  let assemblyFormat = "$kernel `tiles` `(` $tiles `)` (`args` `(` $args^ `:` type($args) `)`)? attr-dict";
}

#endif
