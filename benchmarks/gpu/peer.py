#!/usr/bin/env python3
"""Decode speed of transformers with torch.compile and a static cache, batch 1: what run.py stands a compiled model beside.

    python3 peer.py config.json [--tokens 128] [--device cuda]

The model is made on the device with random bf16 weights. The prompt of four tokens goes through eagerly, then one compiled step
a token (mode reduce-overhead: CUDA graphs), greedy choice included. Prints JSON; needs torch and transformers, which nothing
else does."""

import argparse
import json
import pathlib
import statistics
import time

import torch
import transformers

WARM = 8    # steps that compile and record, not counted
ROUNDS = 3


def make_model(config_file, device):
    config = transformers.AutoConfig.for_model(**json.loads(config_file.read_text()))
    with torch.device(device):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    return model.eval()


def step(model, tokens, cache):
    """The likeliest next token, [1, 1], behind `tokens` [1, T], which the cache has afterwards."""
    logits = model(input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
    return logits[:, -1].argmax(-1, keepdim=True)


def decode(compiled, model, token, cache, count):
    """The last of `count` tokens that follow."""
    for _ in range(count):
        token = compiled(model, token, cache).clone()  # the next step's graph writes where this one's result is
    return token


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=pathlib.Path)
    parser.add_argument("--tokens", type=int, default=128, help="decoded in a round")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--mode", default="reduce-overhead", help="of torch.compile")
    arguments = parser.parse_args()
    torch.manual_seed(1)
    wait = torch.cuda.synchronize if arguments.device == "cuda" else lambda: None
    with torch.no_grad():
        model = make_model(arguments.config, arguments.device)
        prompt = torch.tensor([[1, 2, 3, 4]], device=arguments.device)
        length = prompt.shape[1] + WARM + ROUNDS * arguments.tokens
        cache = transformers.StaticCache(config=model.config, max_cache_len=(length + 63) // 64 * 64)
        compiled = torch.compile(step, mode=arguments.mode, fullgraph=True)
        start = time.perf_counter()
        token = decode(compiled, model, step(model, prompt, cache), cache, WARM)
        wait()
        warm, seconds = time.perf_counter() - start, []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            token = decode(compiled, model, token, cache, arguments.tokens)
            wait()
            seconds.append(time.perf_counter() - start)
    print(json.dumps({"decode_tokens_per_second": arguments.tokens / statistics.median(seconds), "compile_seconds": warm,
                      "torch": torch.__version__, "transformers": transformers.__version__}))


if __name__ == "__main__":
    main()
