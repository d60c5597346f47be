"""The golden models: one entry per model, each naming the configuration switches it is there for.

`config` holds the keys of config.json that differ from BASE_DENSE or BASE_MOE; the value OMIT leaves a key out, so
that the default of transformers applies. `rope` is `rope_scaling` in the 4.x form; `version=5` writes config.json
as transformers 5.x does while the oracle still runs from the equivalent 4.x configuration.
"""

from dataclasses import dataclass, field

from quantized import Quant

OMIT = object()

BASE_DENSE = dict(
    architectures=["Qwen3ForCausalLM"], model_type="qwen3", hidden_act="silu", attention_bias=False,
    attention_dropout=0.0, bos_token_id=1, eos_token_id=2, initializer_range=0.02, use_cache=True,
    vocab_size=272, hidden_size=64, intermediate_size=72, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=32, rms_norm_eps=1e-6, max_position_embeddings=512, rope_theta=10000.0,
    rope_scaling=None, sliding_window=None, use_sliding_window=False, max_window_layers=2,
    tie_word_embeddings=False,
)

BASE_MOE = dict(
    {k: v for k, v in BASE_DENSE.items() if k != "max_window_layers"},
    architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe", decoder_sparse_step=1, mlp_only_layers=[],
    moe_intermediate_size=24, norm_topk_prob=True, num_experts=8, num_experts_per_tok=2,
    output_router_logits=False, router_aux_loss_coef=0.001,
)


@dataclass
class Spec:
    """One golden model. `edges` adds prompts of those lengths, at a boundary of the model's rope type; `quant` says how
    its checkpoint is quantized."""

    name: str
    covers: list
    config: dict = field(default_factory=dict)
    moe: bool = False
    rope: dict = None
    dtype: str = "bfloat16"
    shards: int = 1
    fused_experts: bool = False
    version: int = 4
    edges: tuple = ()
    quant: Quant = None


def dense(name, covers, rope=None, dtype="bfloat16", shards=1, version=4, edges=(), **config):
    return Spec(name, covers, config, False, rope, dtype, shards, False, version, edges)


def moe(name, covers, rope=None, dtype="bfloat16", shards=1, fused_experts=False, version=4, edges=(), **config):
    return Spec(name, covers, config, True, rope, dtype, shards, fused_experts, version, edges)


def quantized(spec, **quant):
    spec.quant = Quant(**quant)
    return spec


def ramp(count, low, high):
    """`count` factors that rise from low to high, as longrope's per-frequency lists do."""
    return [round(low + (high - low) * i / (count - 1), 4) for i in range(count)]


DENSE = [
    dense("dense-base", ["f32", "vocab 331", "untied"], dtype="float32", vocab_size=331),
    dense("dense-tied", ["tied", "head_dim 64", "vocab 517", "theta 1e6", "hidden != heads * head_dim"],
          vocab_size=517, hidden_size=96, head_dim=64, tie_word_embeddings=True, rope_theta=1e6),
    dense("dense-hd128", ["head_dim 128", "1 kv head", "hidden 80"], hidden_size=80, num_attention_heads=2,
          num_key_value_heads=1, head_dim=128),
    dense("dense-hd96", ["head_dim 96", "heads = kv heads", "f16"], dtype="float16", num_attention_heads=3,
          num_key_value_heads=3, head_dim=96),
    dense("dense-bias", ["attention_bias", "1 kv head"], attention_bias=True, num_key_value_heads=1),
    dense("dense-bias-f32", ["attention_bias", "tied", "f32"], dtype="float32", attention_bias=True, hidden_size=48,
          tie_word_embeddings=True),
    dense("dense-one-layer", ["1 layer", "hidden 48", "heads = kv heads", "f32", "tied"], dtype="float32",
          num_hidden_layers=1, hidden_size=48, num_key_value_heads=4, tie_word_embeddings=True),
    dense("dense-wide-gqa", ["8 heads on 1 kv head", "hidden 112", "intermediate 136"], hidden_size=112,
          num_attention_heads=8, num_key_value_heads=1, intermediate_size=136),
    dense("dense-eps", ["rms_norm_eps 1e-3", "theta 5e6", "6 layers"], rms_norm_eps=1e-3, rope_theta=5e6,
          num_hidden_layers=6, hidden_size=48, intermediate_size=72),
    dense("dense-defaults", ["head_dim absent: 128", "rope_theta absent: 10000"], head_dim=OMIT, rope_theta=OMIT,
          rope_scaling=OMIT, sliding_window=OMIT, use_sliding_window=OMIT, max_window_layers=OMIT,
          attention_bias=OMIT, num_attention_heads=2, num_key_value_heads=1),
    dense("dense-sharded-f16", ["3 shards with index", "f16"], dtype="float16", shards=3, vocab_size=517),
    dense("dense-sliding-upper", ["sliding window from max_window_layers on"], use_sliding_window=True,
          sliding_window=16, max_window_layers=2, num_hidden_layers=4, hidden_size=48),
    dense("dense-sliding-layer-types", ["explicit layer_types", "sliding window", "f32"], dtype="float32",
          use_sliding_window=True, sliding_window=24, max_window_layers=0, num_hidden_layers=3, hidden_size=48,
          layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
    dense("dense-sliding-off", ["sliding_window given but not used"], use_sliding_window=False, sliding_window=8,
          max_window_layers=0),
    dense("dense-v5", ["5.x config", "tied"], version=5, tie_word_embeddings=True, rope_theta=1e6, vocab_size=331),
    dense("dense-v5-sliding", ["5.x config", "layer_types", "sliding window"], version=5, use_sliding_window=True,
          sliding_window=16, max_window_layers=1, num_hidden_layers=3, hidden_size=48),
]

YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=128)

ROPE = [
    dense("rope-linear", ["rope linear", "f32"], dtype="float32", hidden_size=48,
          rope=dict(rope_type="linear", factor=4.0)),
    dense("rope-linear-old-key", ["rope linear by its old key `type`"], rope=dict(type="linear", factor=2.5)),
    dense("rope-dynamic", ["rope dynamic"], max_position_embeddings=128, edges=(128, 129),
          rope=dict(rope_type="dynamic", factor=2.0)),
    dense("rope-dynamic-hd64", ["rope dynamic", "head_dim 64", "theta 1e6", "f32"], dtype="float32", hidden_size=48,
          num_attention_heads=2, num_key_value_heads=1, head_dim=64, max_position_embeddings=64, edges=(64, 65),
          rope_theta=1e6, rope=dict(rope_type="dynamic", factor=4.0)),
    dense("rope-yarn", ["rope yarn", "f32"], dtype="float32", hidden_size=48, rope=YARN),
    dense("rope-yarn-hd64", ["rope yarn", "head_dim 64", "theta 1e6"], head_dim=64, rope_theta=1e6, rope=YARN),
    dense("rope-yarn-attention-factor", ["rope yarn attention_factor"], rope=dict(YARN, attention_factor=1.3)),
    dense("rope-yarn-mscale", ["rope yarn mscale", "rope yarn mscale_all_dim"],
          rope=dict(YARN, mscale=1.2, mscale_all_dim=0.7)),
    dense("rope-yarn-mscale-only", ["rope yarn mscale without mscale_all_dim"], rope=dict(YARN, mscale=1.4)),
    dense("rope-yarn-betas", ["rope yarn beta_fast", "rope yarn beta_slow", "original length absent"], head_dim=64,
          max_position_embeddings=256, rope=dict(rope_type="yarn", factor=2.0, beta_fast=16.0, beta_slow=2.0)),
    dense("rope-yarn-no-truncate", ["rope yarn truncate false", "head_dim 128"], num_attention_heads=2,
          num_key_value_heads=1, head_dim=128, rope=dict(YARN, truncate=False)),
    dense("rope-longrope", ["rope longrope", "factor given"], max_position_embeddings=96, edges=(96, 97),
          rope=dict(rope_type="longrope", factor=4.0, short_factor=ramp(16, 1.0, 1.5),
                    long_factor=ramp(16, 1.2, 9.0))),
    dense("rope-longrope-original", ["rope longrope", "original_max_position_embeddings beside rope_scaling", "f32"],
          dtype="float32", hidden_size=48, original_max_position_embeddings=128, edges=(128, 129),
          rope=dict(rope_type="longrope", short_factor=ramp(16, 1.0, 1.4), long_factor=ramp(16, 1.1, 6.0))),
    dense("rope-longrope-attention-factor", ["rope longrope attention_factor"], max_position_embeddings=64,
          edges=(64, 65), rope=dict(rope_type="longrope", factor=2.0, attention_factor=1.25,
                                    short_factor=ramp(16, 1.0, 1.3), long_factor=ramp(16, 1.3, 4.0))),
    dense("rope-llama3", ["rope llama3", "partial_rotary_factor 1.0"], partial_rotary_factor=1.0,
          rope=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                    original_max_position_embeddings=128)),
    dense("rope-v5-yarn", ["5.x config", "rope yarn", "partial_rotary_factor 1.0 in rope_parameters"], version=5,
          rope=dict(YARN, attention_factor=1.1, partial_rotary_factor=1.0)),
    dense("rope-v5-longrope", ["5.x config", "rope longrope"], version=5, original_max_position_embeddings=96,
          edges=(96, 97), rope=dict(rope_type="longrope", short_factor=ramp(16, 1.0, 1.6),
                                    long_factor=ramp(16, 1.1, 5.0))),
]

MOE = [
    moe("moe-base", ["8 experts top-2", "norm_topk_prob true", "moe_intermediate 32"], moe_intermediate_size=32),
    moe("moe-f32", ["f32", "norm_topk_prob false", "6 experts top-2"], dtype="float32", num_experts=6,
        norm_topk_prob=False, hidden_size=48),
    moe("moe-f16", ["f16", "6 experts top-3", "moe_intermediate 40"], dtype="float16", num_experts=6,
        num_experts_per_tok=3, moe_intermediate_size=40),
    moe("moe-top1", ["top-1", "5 experts", "norm_topk_prob true"], num_experts=5, num_experts_per_tok=1),
    moe("moe-top1-plain", ["top-1", "6 experts", "norm_topk_prob false", "f32"], dtype="float32", num_experts=6,
        num_experts_per_tok=1, norm_topk_prob=False, hidden_size=48),
    moe("moe-top8", ["top-8", "12 experts", "moe_intermediate 24"], num_experts=12, num_experts_per_tok=8,
        moe_intermediate_size=24),
    moe("moe-top8-plain", ["top-8", "12 experts", "norm_topk_prob false"], num_experts=12, num_experts_per_tok=8,
        moe_intermediate_size=24, norm_topk_prob=False, hidden_size=48),
    moe("moe-every-expert", ["top-k = experts"], num_experts=6, num_experts_per_tok=6),
    moe("moe-many-experts", ["20 experts top-4", "moe_intermediate 20"], num_experts=20, num_experts_per_tok=4,
        moe_intermediate_size=20, hidden_size=48),
    moe("moe-odd-sizes", ["moe_intermediate 20", "vocab 331", "hidden 80", "tied"], moe_intermediate_size=20,
        vocab_size=331, hidden_size=80, tie_word_embeddings=True),
    moe("moe-mlp-only", ["mlp_only_layers", "tied"], mlp_only_layers=[0, 2], num_hidden_layers=4, hidden_size=48,
        tie_word_embeddings=True),
    moe("moe-sparse-step", ["decoder_sparse_step 2"], decoder_sparse_step=2, num_hidden_layers=4, hidden_size=48),
    moe("moe-sparse-step-mlp-only", ["decoder_sparse_step 2", "mlp_only_layers", "f16"], dtype="float16",
        decoder_sparse_step=2, mlp_only_layers=[1], num_hidden_layers=4, hidden_size=48),
    moe("moe-bias-hd64", ["attention_bias", "head_dim 64", "1 kv head"], attention_bias=True, head_dim=64,
        num_attention_heads=2, num_key_value_heads=1),
    moe("moe-hd96", ["head_dim 96", "heads = kv heads"], head_dim=96, num_attention_heads=2, num_key_value_heads=2),
    moe("moe-hd128-one-layer", ["head_dim 128", "1 layer", "1 kv head", "theta 1e6"], head_dim=128,
        num_attention_heads=4, num_key_value_heads=1, num_hidden_layers=1, rope_theta=1e6),
    moe("moe-defaults", ["head_dim absent: hidden / heads", "norm_topk_prob absent: false", "mlp_only_layers null"],
        head_dim=OMIT, hidden_size=128, num_experts=4, norm_topk_prob=OMIT, decoder_sparse_step=OMIT,
        mlp_only_layers=None, rope_theta=OMIT, attention_bias=OMIT),
    moe("moe-no-experts", ["0 experts: every layer dense", "num_experts_per_tok over num_experts"], num_experts=0),
    moe("moe-sliding", ["sliding window of every layer", "f32"], dtype="float32", use_sliding_window=True,
        sliding_window=16, hidden_size=48, num_experts=5, max_window_layers=1),
    moe("moe-sliding-off", ["sliding_window given but not used"], use_sliding_window=False, sliding_window=8),
    moe("moe-sharded", ["3 shards with index", "experts of a layer in different shards"], shards=3),
    moe("moe-fused-experts", ["fused experts layout", "mlp_only_layers"], fused_experts=True, mlp_only_layers=[0],
        num_hidden_layers=3, hidden_size=48, moe_intermediate_size=40),
    moe("moe-v5", ["5.x config", "experts per tensor"], version=5, num_experts=6, rope_theta=1e6),
    moe("moe-v5-fused", ["5.x config", "fused experts layout", "f32"], version=5, dtype="float32",
        fused_experts=True, hidden_size=48, num_experts=5, moe_intermediate_size=24),
    moe("moe-v5-fused-sharded", ["5.x config", "fused experts layout", "2 shards with index"], version=5,
        fused_experts=True, shards=2, norm_topk_prob=False),
    moe("moe-rope-dynamic", ["rope dynamic"], max_position_embeddings=128, edges=(128, 129), hidden_size=48,
        rope=dict(rope_type="dynamic", factor=2.0)),
    moe("moe-rope-yarn", ["rope yarn", "theta 1e6"], rope_theta=1e6, rope=YARN, hidden_size=48),
    moe("moe-rope-longrope", ["rope longrope"], original_max_position_embeddings=96, edges=(96, 97), hidden_size=48,
        rope=dict(rope_type="longrope", short_factor=ramp(16, 1.0, 1.5), long_factor=ramp(16, 1.2, 5.0))),
    moe("moe-rope-llama3", ["rope llama3"], hidden_size=48,
        rope=dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
                  original_max_position_embeddings=64)),
]

# Widths that are no multiples of groups and blocks, where the layout allows it.
GPTQ_ODD = dict(hidden_size=80, intermediate_size=112)

QUANTIZED = [
    quantized(dense("fp8-dense", ["fp8", "bf16 scales", "blocks cut by the matrix", "tied"], hidden_size=160,
                    intermediate_size=144, tie_word_embeddings=True), method="fp8", scale="bfloat16"),
    quantized(moe("fp8-moe", ["fp8", "f32 scales", "mlp_only_layers", "experts per tensor"], hidden_size=128,
                  intermediate_size=128, moe_intermediate_size=128, num_experts=4, mlp_only_layers=[0],
                  tie_word_embeddings=True),
              method="fp8", scale="float32", excludes=("model.layers.1.mlp.gate",)),
    quantized(moe("fp8-moe-fused", ["fp8", "5.x config", "fused experts layout"], version=5, fused_experts=True,
                  hidden_size=64, moe_intermediate_size=128, num_experts=3, num_hidden_layers=1),
              method="fp8", scale="float32"),
    quantized(dense("fp8-some-layers", ["fp8", "layers left unquantized", "e8m0 scales"], num_hidden_layers=3),
              method="fp8", scale="float8_e8m0fnu", excludes=("model.layers.1", "model.layers.2.mlp.down_proj")),
    quantized(dense("gptq-int4", ["gptq int4", "symmetric", "format gptq", "f16"], dtype="float16"),
              method="gptq", bits=4, group=32),
    quantized(dense("gptq-int4-asym", ["gptq int4", "zero points", "format gptq", "last group shorter"], **GPTQ_ODD),
              method="gptq", bits=4, group=32, sym=False),
    quantized(dense("gptq-int8", ["gptq int8", "symmetric", "format gptq_v2", "attention_bias"], attention_bias=True),
              method="gptq", bits=8, group=64, checkpoint_format="gptq_v2"),
    quantized(dense("gptq-int8-rows", ["gptq int8", "group_size -1", "f16"], dtype="float16"),
              method="gptq", bits=8, group=-1),
    quantized(dense("gptq-int8-asym", ["gptq int8", "zero points"]), method="gptq", bits=8, group=32, sym=False),
    quantized(dense("gptq-act-order", ["gptq int4", "g_idx", "zero points", "format gptq_v2"]),
              method="gptq", bits=4, group=16, sym=False, act_order=True, checkpoint_format="gptq_v2"),
    quantized(dense("gptq-act-order-some", ["gptq int4", "g_idx of some matrices"]),
              method="gptq", bits=4, group=32, act_order=True, scattered=("o_proj", "layers.1.mlp.down_proj")),
    quantized(moe("gptq-moe", ["gptq int4", "symmetric", "experts per tensor"], moe_intermediate_size=32),
              method="gptq", bits=4, group=32),
    quantized(dense("awq", ["awq", "zero points", "f16"], dtype="float16", intermediate_size=96), method="awq", bits=4,
              group=32, sym=False),
    quantized(moe("awq-moe", ["awq", "zero points", "modules_to_not_convert", "experts of a layer mixed"],
                  moe_intermediate_size=32), method="awq", bits=4, group=32, sym=False,
              excludes=("self_attn.v_proj", "mlp.gate", "model.layers.1.mlp.experts.3.up_proj")),
]

SPECS = DENSE + ROPE + MOE + QUANTIZED
