#!/usr/bin/env python3
"""Writes tests/golden/tiny-moe: what transformers computes for examples/tiny-moe/model, and its perplexity.

    generate_example.py [--model ../../examples/tiny-moe/model] [--out tiny-moe]
"""

import argparse
import hashlib
import json
import math
import pathlib

import numpy
import torch
import transformers

import checkpoint
import oracle

CONTEXT = 256
TEXTS = {
    "novel": "She was not struck by any thing remarkably clever in Miss Smith's conversation, but",
    "verse": "And the LORD said unto Moses,",
    "word": "The",
}
QUESTION = [dict(role="user", content="Tell me a proverb.")]


@torch.no_grad()
def negative_log_likelihood(model, ids, context=CONTEXT):
    """(sum of nats over the predicted tokens, their number), in windows of `context` tokens that do not overlap."""
    total, count = 0.0, 0
    for at in range(0, len(ids), context):
        window = torch.tensor([ids[at:at + context]])
        if window.shape[1] < 2:
            continue
        scores = torch.log_softmax(model(window, use_cache=False).logits[0, :-1].double(), dim=-1)
        total -= float(scores.gather(1, window[0, 1:, None]).sum())
        count += window.shape[1] - 1
    return total, count


def prompts_of(tokenizer, held_out):
    """Prompt name -> ids: texts, a question with and without thinking, and the beginning of the held-out text."""
    prompts = {name: tokenizer(text)["input_ids"] for name, text in TEXTS.items()}
    for name, thinking in (("chat", True), ("chat-no-think", False)):
        text = tokenizer.apply_chat_template(QUESTION, tokenize=False, add_generation_prompt=True,
                                             enable_thinking=thinking)
        prompts[name] = tokenizer(text)["input_ids"]
    prompts["long"] = held_out[:333]
    return prompts


def main():
    here = pathlib.Path(__file__).resolve().parent
    example = here.parent.parent / "examples/tiny-moe"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=pathlib.Path, default=example / "model")
    parser.add_argument("--out", type=pathlib.Path, default=here / "tiny-moe")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    load = lambda dtype: transformers.AutoModelForCausalLM.from_pretrained(
        args.model, dtype=dtype, attn_implementation="eager").eval()
    model, half = load(torch.float32), load(torch.bfloat16)
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
    held_out = tokenizer((example / "heldout.txt").read_text("utf-8"), add_special_tokens=False)["input_ids"]
    numpy.save(args.out / "heldout.ids.npy", numpy.array(held_out, dtype="<i4"))
    prompts = {}
    for name, ids in prompts_of(tokenizer, held_out).items():
        keep = oracle.kept_positions(len(ids))
        logits = oracle.logits_of(model, ids)[keep]
        tokens, gaps, router_gaps = oracle.greedy(model, ids)
        bf16_kl = oracle.kl(logits, oracle.logits_of(half, ids)[keep])
        numpy.save(args.out / f"{name}.ids.npy", numpy.array(ids, dtype="<i4"))
        numpy.save(args.out / f"{name}.logits.npy", logits.numpy().astype("<f4"))
        prompts[name] = dict(positions=keep, greedy=tokens, greedy_gap=oracle.rounded(gaps),
                             greedy_router_gap=oracle.rounded(router_gaps), bf16_kl=oracle.rounded(bf16_kl),
                             text=tokenizer.decode(ids), greedy_text=tokenizer.decode(tokens))
        print(f"{name}: {tokenizer.decode(tokens)!r}")
    perplexity = dict(context=CONTEXT, tokens=len(held_out))
    for name, run in (("fp32", model), ("bf16", half)):
        total, count = negative_log_likelihood(run, held_out)
        perplexity |= {"predicted": count, name: float(f"{math.exp(total / count):.6g}")}
    print(perplexity)
    digest = hashlib.sha256((args.model / "model.safetensors").read_bytes()).hexdigest()
    versions = dict(torch=torch.__version__, transformers=transformers.__version__, numpy=numpy.__version__)
    checkpoint.write_json(args.out / "golden.json", dict(model_sha256=digest, versions=versions, prompts=prompts,
                                                         perplexity=perplexity))


if __name__ == "__main__":
    main()
