"""Writes a golden model as a Hugging Face directory: configuration, random weights, one file or shards."""

import json
import zlib

import torch
from safetensors.torch import save_file
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

import quantized
from specs import BASE_DENSE, BASE_MOE, OMIT

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def seed_of(name):
    return zlib.crc32(name.encode())


def oracle_config(spec):
    """The 4.x configuration as a dict, without the keys that the spec leaves out."""
    config = dict(BASE_MOE if spec.moe else BASE_DENSE)
    config.update(spec.config)
    if spec.rope:
        config["rope_scaling"] = dict(spec.rope)
    return {k: v for k, v in config.items() if v is not OMIT}


def written_config(spec):
    """config.json as the transformers release named by spec.version writes it."""
    config = oracle_config(spec)
    if spec.quant:
        config["quantization_config"] = spec.quant.config()
    if spec.version == 4:
        return dict(config, torch_dtype=spec.dtype, transformers_version="4.51.0")
    rope = dict(config.pop("rope_scaling") or {}, rope_theta=config.pop("rope_theta"))
    rope.setdefault("rope_type", "default")
    if "original_max_position_embeddings" in config:
        rope["original_max_position_embeddings"] = config.pop("original_max_position_embeddings")
    config["rope_parameters"] = rope
    if spec.moe:
        config["num_local_experts"] = config.pop("num_experts")
    else:
        config["layer_types"] = list(Qwen3Config(**oracle_config(spec)).layer_types)
    return dict(config, dtype=spec.dtype, transformers_version="5.7.0")


def build_model(spec, dtype=torch.float32):
    """The oracle: random weights as the checkpoint holds them, then held in `dtype`, eager attention."""
    kind = (Qwen3MoeConfig, Qwen3MoeForCausalLM) if spec.moe else (Qwen3Config, Qwen3ForCausalLM)
    config = kind[0](**oracle_config(spec))
    config._attn_implementation = "eager"
    model = kind[1](config).eval()
    randomize(model, spec)
    return model.to(dtype)


def random_weights(model, spec):
    """Name and value of each parameter, at a scale at which logits spread over several units and no switch is without
    effect.

    Linear weights keep the variance of their input; q_norm and k_norm are around 1.5, which makes attention sharp
    enough to see a wrong rotation; the router's logits have a standard deviation of about 2.5.
    """
    generator = torch.Generator().manual_seed(seed_of(spec.name))
    tied = model.config.tie_word_embeddings
    for name, tensor in sorted(model.named_parameters()):
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("norm.weight"):
            centre = 1.5 if "q_norm" in name or "k_norm" in name else 1.0
            value = centre + 0.2 * noise
        elif name.endswith(".bias"):
            value = 0.5 * noise
        elif name.endswith("embed_tokens.weight"):
            value = noise * (2.5 * tensor.shape[1] ** -0.5 if tied else 1.0)
        else:
            gain = 2.5 if name.endswith(("lm_head.weight", "mlp.gate.weight")) else 1.0
            value = noise * gain * tensor.shape[1] ** -0.5
        yield name, value


@torch.no_grad()
def randomize(model, spec):
    """Gives a model the weights that its checkpoint will hold."""
    parameters = dict(model.named_parameters())
    for name, value in random_weights(model, spec):
        parameters[name].copy_(as_stored(value, name, spec))


def packed(value, name, spec):
    """The checkpoint's tensors of a quantized matrix."""
    generator = torch.Generator().manual_seed(seed_of(f"{spec.name} {name}"))
    return quantized.store(value, name, spec.quant, generator)


def as_stored(value, name, spec):
    """What the checkpoint makes of a weight: rounded to its type, or quantized."""
    if spec.quant and spec.quant.converts(name):
        return quantized.dequantize(packed(value, name, spec), name, spec.quant)
    return value.to(DTYPES[spec.dtype]).float()


def tensors_of(model, spec):
    """Name -> tensor in the checkpoint's type and layout."""
    dtype = DTYPES[spec.dtype]
    state = {k: v.to(dtype).contiguous() for k, v in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight")
    if spec.quant:
        for name, value in random_weights(model, spec):
            if spec.quant.converts(name):
                del state[name]
                state.update(packed(value, name, spec))
    return fuse_experts(state, model.config) if spec.fused_experts else state


def fuse_experts(state, config):
    """`experts.gate_up_proj` [E, 2 I, H] (gate rows first) and `experts.down_proj` [E, H, I], as 5.x holds them.

    Scales of fp8 follow as `experts.gate_up_proj_scale_inv`, which fits where I is a multiple of a block.
    """
    for layer in range(config.num_hidden_layers):
        prefix = f"model.layers.{layer}.mlp.experts."
        if prefix + "0.gate_proj.weight" not in state:
            continue
        for stored, fused in (("weight", ""), ("weight_scale_inv", "_scale_inv")):
            if f"{prefix}0.gate_proj.{stored}" not in state:
                continue
            part = {p: torch.stack([state.pop(f"{prefix}{e}.{p}_proj.{stored}") for e in range(config.num_experts)])
                    for p in ("gate", "up", "down")}
            state[f"{prefix}gate_up_proj{fused}"] = torch.cat([part["gate"], part["up"]], dim=1).contiguous()
            state[f"{prefix}down_proj{fused}"] = part["down"]
    return state


def write_checkpoint(model, spec, folder):
    """Writes config.json, generation_config.json and the weights into `folder`."""
    write_json(folder / "config.json", written_config(spec))
    write_json(folder / "generation_config.json", dict(
        bos_token_id=1, do_sample=True, eos_token_id=[2, 1], pad_token_id=1, temperature=0.6, top_k=20, top_p=0.95))
    state = tensors_of(model, spec)
    if spec.shards == 1:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(state)
    files = [f"model-{i + 1:05d}-of-{spec.shards:05d}.safetensors" for i in range(spec.shards)]
    place = {name: files[i * spec.shards // len(names)] for i, name in enumerate(names)}
    for file in files:
        save_file({n: state[n] for n in names if place[n] == file}, folder / file, metadata={"format": "pt"})
    size = sum(t.numel() * t.element_size() for t in state.values())
    write_json(folder / "model.safetensors.index.json", dict(metadata=dict(total_size=size), weight_map=place))


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
