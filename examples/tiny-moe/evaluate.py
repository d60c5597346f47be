#!/usr/bin/env python3
"""How good the example model is, by transformers: held-out perplexity, experts' shares, answers.

Also shows whether the training code's mathematics is that of transformers.

    evaluate.py [--model model] [--samples 1]
"""

import argparse
import math
import pathlib

import torch
import transformers
from safetensors.torch import load_file

from tiny_model import TinyMoe

CONTEXT = 256
TEXTS = ("In the beginning", "She was a young lady of", "The Lord is")
QUESTIONS = ("Hello!", "Who are you?", "Tell me a proverb.", "What is the meaning of love?",
             "Are you fond of dancing?", "Give me a verse from the Psalms.")


@torch.no_grad()
def perplexity(logits_of, ids):
    """exp of the mean negative log-likelihood in windows of CONTEXT tokens that do not overlap."""
    total, count = 0.0, 0
    for at in range(0, len(ids) - 1, CONTEXT):
        window = torch.tensor([ids[at:at + CONTEXT]])
        if window.shape[1] > 1:
            scores = torch.log_softmax(logits_of(window)[0, :-1].double(), dim=-1)
            total -= float(scores.gather(1, window[0, 1:, None]).sum())
            count += window.shape[1] - 1
    return math.exp(total / count)


@torch.no_grad()
def expert_shares(model, ids):
    """Per sparse layer, each expert's share of the token-expert pairs of the first tokens of the held-out text."""
    out = model(torch.tensor([ids]), output_router_logits=True, use_cache=False)
    k, experts = model.config.num_experts_per_tok, model.config.num_experts
    chosen = [layer.topk(k, dim=-1).indices.flatten() for layer in out.router_logits]
    return [torch.bincount(c, minlength=experts) / len(c) for c in chosen]


def show_samples(model, tokenizer, count):
    """Continues TEXTS and answers QUESTIONS with the sampling of generation_config.json."""
    prompts = [(t, t) for t in TEXTS]
    for question in QUESTIONS:
        turn = [dict(role="user", content=question)]
        prompts.append((question, tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)))
    for name, prompt in prompts:
        ids = torch.tensor([tokenizer(prompt)["input_ids"]])
        for _ in range(count):
            out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=80)[0, ids.shape[1]:]
            print(f"[{name}] {tokenizer.decode(out)!r}")


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=pathlib.Path, default=here / "model")
    parser.add_argument("--samples", type=int, default=1, help="answers per question")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    load = lambda dtype: transformers.AutoModelForCausalLM.from_pretrained(
        args.model, dtype=dtype, attn_implementation="eager").eval()
    model, half = load(torch.float32), load(torch.bfloat16)
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
    ids = tokenizer((here / "heldout.txt").read_text("utf-8"))["input_ids"]
    ours, state = TinyMoe(), load_file(args.model / "model.safetensors")
    for name, tensor in ours.checkpoint().items():
        tensor.copy_(state[name])
    runs = {"transformers fp32": lambda w: model(w, use_cache=False).logits,
            "transformers bf16": lambda w: half(w, use_cache=False).logits, "training code fp32": lambda w: ours(w)[0]}
    for name, run in runs.items():
        value = perplexity(run, ids)
        print(f"{name:20s} perplexity {value:.4f}  loss {math.log(value):.5f}")
    for layer, share in enumerate(expert_shares(model, ids[:1024])):
        print(f"sparse layer {layer}: experts' shares {' '.join(f'{x:.3f}' for x in share.tolist())}")
    show_samples(model, tokenizer, args.samples)


if __name__ == "__main__":
    main()
