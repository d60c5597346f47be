"""Writes a checkpoint of a dense configuration with made-up weights, to time what needs files."""

import array
import json
import random
import shutil
import struct


def can_write(config_path):
    """Dense shapes with a tied head: one tensor name for each weight."""
    config = json.loads(config_path.read_text())
    return config["model_type"] == "qwen3" and config["tie_word_embeddings"]


def _tensors(config):
    hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    q, kv = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    yield "model.embed_tokens.weight", [config["vocab_size"], hidden]
    yield "model.norm.weight", [hidden]
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", [hidden]
        yield prefix + "post_attention_layernorm.weight", [hidden]
        for name, shape in [("q_proj", [q, hidden]), ("k_proj", [kv, hidden]), ("v_proj", [kv, hidden]),
                            ("o_proj", [hidden, q]), ("q_norm", [head]), ("k_norm", [head])]:
            yield f"{prefix}self_attn.{name}.weight", shape
        for name, shape in [("gate_proj", [inner, hidden]), ("up_proj", [inner, hidden]), ("down_proj", [hidden, inner])]:
            yield f"{prefix}mlp.{name}.weight", shape


def _bf16_block(count, seed):
    """count normal numbers of deviation 0.02 in bf16."""
    generator = random.Random(seed)
    words = (struct.unpack("<I", struct.pack("<f", generator.gauss(0, 0.02)))[0] >> 16 for _ in range(count))
    return array.array("H", words).tobytes()


def write(config_path, directory):
    """model.safetensors and config.json in `directory`. Values repeat every 131,071 elements, a prime."""
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(config_path, directory / "config.json")
    header, offset = {}, 0
    for name, shape in _tensors(json.loads(config_path.read_text())):
        size = 2
        for extent in shape:
            size *= extent
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    block = _bf16_block(131071, 1) * 64
    with open(directory / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        while offset > 0:
            file.write(block[:offset])
            offset -= len(block)
