#!/usr/bin/env python3
"""Opens every golden model directory with the installed transformers and compares logits with the committed ones.

The goldens come from the release in requirements.txt; a 5.x release also opens the directories with 5.x configurations
and fused experts, which that release does not, and so shows that they say the same model. Exit code 1 on a difference.
"""

import json
import pathlib
import sys

import numpy
import torch
import transformers

import oracle

TOLERANCE = 1e-5


@torch.no_grad()
def worst_difference(folder, prompts):
    """The largest difference of a logit from the committed one, as a part of its row's range, over all prompts."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager").eval()
    details, worst = json.loads((folder / "golden.json").read_text()), 0.0
    for prompt in prompts:
        ids = numpy.load(folder / f"{prompt}.ids.npy").tolist()
        committed = torch.from_numpy(numpy.load(folder / f"{prompt}.logits.npy"))
        found = oracle.logits_of(model, ids)[details[prompt]["positions"]]
        span = committed.max(dim=1)[0] - committed.min(dim=1)[0]
        worst = max(worst, float(((found - committed).abs().max(dim=1)[0] / span).max()))
    return worst


def main():
    here, failed = pathlib.Path(__file__).resolve().parent, 0
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    release = int(transformers.__version__.split(".")[0])
    models = json.loads((here / "manifest.json").read_text())["models"]
    for name, entry in models.items():
        newer = any(c in ("5.x config", "fused experts layout") for c in entry["covers"])
        if newer and release < 5:
            print(f"{name:32s} skipped: needs transformers 5")
            continue
        worst = worst_difference(here / "models" / name, entry["prompts"])
        failed += worst > TOLERANCE
        print(f"{name:32s} {worst:.1e}{'  DIFFERS' if worst > TOLERANCE else ''}", flush=True)
    print(f"transformers {transformers.__version__}: {len(models)} models, {failed} differ")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
