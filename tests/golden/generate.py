#!/usr/bin/env python3
"""Writes tests/golden/models and manifest.json: small random Qwen3 models and what transformers computes for them.

Deterministic on one machine and with the versions of requirements.txt: seeds come from the models' names.
    generate.py [--only NAME ...] [--out DIR]
"""

import argparse
import json
import pathlib
import shutil

import numpy
import torch
import transformers

import checkpoint
import oracle
from specs import SPECS

LENGTHS = (1, 2, 17, 333)


def prompts_of(spec, model):
    """Prompt name -> ids: random ids of lengths 1, 2, 17, 333 and the spec's own edges."""
    generator = torch.Generator().manual_seed(checkpoint.seed_of(spec.name + " prompts"))
    lengths = sorted(set(LENGTHS) | set(spec.edges))
    return {f"p{n}": oracle.random_prompt(model, n, generator) for n in lengths}


def check_directory(spec, model, folder, ids):
    """The directory as written, opened by transformers as any user's, is the model that the oracle ran.

    transformers 4.x does not read 5.x configurations or fused experts, nor quantized checkpoints without a GPU: those
    are the same weights rewritten.
    """
    if spec.version != 4 or spec.fused_experts or spec.quant:
        return
    opened = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager").eval()
    assert torch.equal(oracle.logits_of(opened, ids), oracle.logits_of(model, ids)), f"{spec.name}: not what was run"


def golden_of(spec, folder):
    """Writes one model's directory and returns its manifest entry."""
    model = checkpoint.build_model(spec)
    half = checkpoint.build_model(spec, torch.bfloat16)
    checkpoint.write_checkpoint(model, spec, folder)
    details, kls, gaps, spreads = {}, [], [], []
    prompts = prompts_of(spec, model)
    check_directory(spec, model, folder, prompts["p333"])
    for name, ids in prompts.items():
        keep = oracle.kept_positions(len(ids))
        logits = oracle.logits_of(model, ids)[keep]
        bf16_kl = oracle.kl(logits, oracle.logits_of(half, ids)[keep])
        tokens, token_gaps, token_router = oracle.greedy(model, ids)
        assert tokens[0] == int(logits[-1].argmax()), f"{spec.name} {name}: cached and uncached runs disagree"
        numpy.save(folder / f"{name}.ids.npy", numpy.array(ids, dtype="<i4"))
        numpy.save(folder / f"{name}.logits.npy", logits.numpy().astype("<f4"))
        details[name] = dict(positions=keep, greedy=tokens, greedy_gap=oracle.rounded(token_gaps),
                             bf16_kl=oracle.rounded(bf16_kl))
        router = oracle.router_gaps(model, ids)
        if router is not None:
            details[name]["router_gap"] = oracle.rounded(router[keep])
            details[name]["greedy_router_gap"] = oracle.rounded(token_router)
        kls += bf16_kl.tolist()
        gaps += token_gaps
        spreads += (logits.max(dim=1)[0] - logits.min(dim=1)[0]).tolist()
    (folder / "golden.json").write_text(json.dumps(details, sort_keys=True) + "\n")
    print(f"{spec.name:32s} spread {numpy.mean(spreads):5.1f}  top-2 gap median {numpy.median(gaps):.3f} "
          f"min {min(gaps):.4f}  bf16 KL mean {numpy.mean(kls):.2e} max {max(kls):.2e}", flush=True)
    quantized = dict(quantized=spec.quant.method) if spec.quant else {}
    return dict(architecture="moe" if spec.moe else "dense", covers=spec.covers, dtype=spec.dtype,
                prompts={n: dict(tokens=d["positions"][-1] + 1, rows=len(d["positions"])) for n, d in details.items()},
                bf16_kl_mean=float(f"{numpy.mean(kls):.6g}"), bf16_kl_max=float(f"{max(kls):.6g}"),
                **quantized)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = pathlib.Path(__file__).resolve().parent
    parser.add_argument("--only", nargs="*", metavar="NAME", help="generate these models, keep the others")
    parser.add_argument("--out", type=pathlib.Path, default=here, help="folder of models/ and manifest.json")
    args = parser.parse_args()
    unknown = set(args.only or ()) - {s.name for s in SPECS}
    if unknown:
        parser.error(f"unknown model: {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    path = args.out / "manifest.json"
    models = json.loads(path.read_text())["models"] if args.only and path.exists() else {}
    for spec in SPECS:
        if args.only and spec.name not in args.only:
            continue
        folder = args.out / "models" / spec.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        models[spec.name] = golden_of(spec, folder)
    versions = dict(torch=torch.__version__, transformers=transformers.__version__, numpy=numpy.__version__)
    checkpoint.write_json(path, dict(versions=versions, models=models))


if __name__ == "__main__":
    main()
