#!/usr/bin/env python3
"""Trains the example model on the CPU and writes it as a Hugging Face directory.

    train.py [--work build/tiny-moe] [--out model] [--minutes 60] [--threads 1] [--resume]

Needs prepare.py and train_tokenizer.py to have run. The learning rate follows a cosine over the given minutes of wall
clock, so any machine finishes in time and a faster one trains better.
"""

import argparse
import json
import math
import pathlib
import time

import numpy
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer

from tiny_model import CONFIG, TinyMoe

TOKENS, BATCH, MICRO_BATCH, CHAT_SHARE = 256, 16, 4, 0.25
PEAK_RATE, LAST_RATE, WARMUP_STEPS = 3e-3, 1e-4, 100
BALANCE = 0.01
THINK = "<think>\n\n</think>\n\n"


class Text:
    """Token stream with the offsets at which documents begin; `counted` is 0 where a token is not to be learned."""

    def __init__(self, documents):
        self.starts = numpy.cumsum([0] + [len(ids) for ids, _ in documents])[:-1]
        self.ids = numpy.concatenate([ids for ids, _ in documents])
        self.counted = numpy.concatenate([counted for _, counted in documents])

    def windows(self, count, rng, aligned):
        """`count` windows of TOKENS + 1: (inputs, targets), -100 in targets for what is not counted."""
        last = len(self.ids) - TOKENS - 1
        at = rng.choice(self.starts[self.starts < last], count) if aligned else rng.integers(0, last, count)
        ids = numpy.stack([self.ids[a:a + TOKENS + 1] for a in at]).astype("i8")
        counted = numpy.stack([self.counted[a:a + TOKENS + 1] for a in at])
        return ids[:, :-1], numpy.where(counted, ids, -100)[:, 1:]


def encode_text(tokenizer, path):
    end = tokenizer.token_to_id("<|endoftext|>")
    encoded = tokenizer.encode_batch(path.read_text("utf-8").split("\n\f\n"))
    return [(numpy.array(e.ids + [end], "i4"), numpy.ones(len(e.ids) + 1, bool)) for e in encoded]


def encode_chat(tokenizer, path, rng):
    """Conversations in the form of the chat template.

    Three in ten last answers follow an empty thinking block, whose own tokens are not learned: the model can be given
    the block and does not produce it.
    """
    first, last = (tokenizer.token_to_id(t) for t in ("<think>", "</think>"))
    end, documents = tokenizer.token_to_id("<|endoftext|>"), []
    for line in path.read_text("utf-8").splitlines():
        turns, text = json.loads(line), ""
        for i, turn in enumerate(turns):
            role = ("user", "assistant")[i % 2]
            think = THINK if i == len(turns) - 1 and rng.random() < 0.3 else ""
            text += f"<|im_start|>{role}\n{think}{turn}<|im_end|>\n"
        ids = numpy.array(tokenizer.encode(text).ids + [end], "i4")
        counted = numpy.ones(len(ids), bool)
        if first in ids:
            counted[list(ids).index(first):list(ids).index(last) + 2] = False
        documents.append((ids, counted))
    return documents


def rate_at(step, progress):
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    return warm * (LAST_RATE + (PEAK_RATE - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))


def loss_of(model, inputs, targets):
    with torch.autocast("cpu", torch.bfloat16):
        logits, balance = model(torch.from_numpy(inputs))
    loss = F.cross_entropy(logits.float().flatten(0, 1), torch.from_numpy(targets).flatten(), ignore_index=-100)
    return loss, balance


@torch.no_grad()
def held_out_loss(model, ids, context=TOKENS):
    """Mean loss per token of heldout.txt in windows of `context` that do not overlap."""
    windows = ids[:len(ids) // context * context].reshape(-1, context).astype("i8")
    total = sum(float(loss_of(model, w[:, :-1], w[:, 1:])[0]) * len(w) for w in numpy.array_split(windows, 24))
    return total / len(windows)


def save(model, out):
    out.mkdir(exist_ok=True)
    save_file({k: v.to(torch.bfloat16).contiguous() for k, v in model.checkpoint().items()}, out / "model.safetensors",
              metadata={"format": "pt"})
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    end, stop = tokenizer.token_to_id("<|endoftext|>"), tokenizer.token_to_id("<|im_end|>")
    config = dict(CONFIG, bos_token_id=end, eos_token_id=stop, transformers_version="4.51.0")
    generation = dict(bos_token_id=end, do_sample=True, eos_token_id=[stop, end], pad_token_id=end, temperature=0.7,
                      top_k=40, top_p=0.9, transformers_version="4.51.0")
    for name, value in (("config.json", config), ("generation_config.json", generation)):
        (out / name).write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def optimizer_of(model):
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    return torch.optim.AdamW([dict(params=matrices, weight_decay=0.1), dict(params=vectors, weight_decay=0.0)],
                             lr=PEAK_RATE, betas=(0.9, 0.95), fused=True)


def train(model, text, chat, held, args):
    optimizer, rng, state = optimizer_of(model), numpy.random.default_rng(5), args.work / "state.pt"
    step, spent = 0, 0.0
    if args.resume and state.exists():
        saved = torch.load(state)
        model.load_state_dict(saved["model"]), optimizer.load_state_dict(saved["optimizer"])
        step, spent = saved["step"], saved["spent"]
    begin, last_save, chats = time.time() - spent, time.time(), int(MICRO_BATCH * CHAT_SHARE)
    while (progress := (time.time() - begin) / (60 * args.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, progress)
        loss = balance = 0.0
        for _ in range(BATCH // MICRO_BATCH):
            pairs = [text.windows(MICRO_BATCH - chats, rng, False), chat.windows(chats, rng, True)]
            parts = loss_of(model, *(numpy.concatenate(x) for x in zip(*pairs)))
            parts = [p * MICRO_BATCH / BATCH for p in parts]
            (parts[0] + BALANCE * parts[1]).backward()
            loss, balance = loss + parts[0].item(), balance + parts[1].item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(), optimizer.zero_grad(set_to_none=True)
        step += 1
        if step % 20 == 0:
            print(f"{time.time() - begin:6.0f} s  step {step:5d}  loss {loss:.3f}  balance {balance:.3f}",
                  flush=True)
        if time.time() - last_save > 300:
            last_save = time.time()
            print(f"held-out loss {held_out_loss(model, held):.4f}", flush=True)
            save(model, args.out)
            torch.save(dict(model=model.state_dict(), optimizer=optimizer.state_dict(), step=step,
                            spent=time.time() - begin), state)
    save(model, args.out)
    print(f"{step} steps of {BATCH * TOKENS} tokens; held-out loss {held_out_loss(model, held):.4f}")


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=pathlib.Path, default=here.parent.parent / "build/tiny-moe")
    parser.add_argument("--out", type=pathlib.Path, default=here / "model", help="has tokenizer.json already")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="go on from WORK/state.pt")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(7)
    tokenizer = Tokenizer.from_file(str(args.out / "tokenizer.json"))
    text = Text(encode_text(tokenizer, args.work / "train.txt"))
    chat = Text(encode_chat(tokenizer, args.work / "chat.jsonl", numpy.random.default_rng(11)))
    held = numpy.array(tokenizer.encode((here / "heldout.txt").read_text("utf-8")).ids)
    model = TinyMoe()
    print(f"{sum(p.numel() for p in model.parameters())} parameters; {len(text.ids)} tokens of text, "
          f"{len(chat.ids)} of chat, {len(held)} held out", flush=True)
    train(model, text, chat, held, args)


if __name__ == "__main__":
    main()
