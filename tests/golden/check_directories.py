#!/usr/bin/env python3
"""Opens every golden model directory with the installed transformers and compares logits with the committed ones.

The goldens come from the release in requirements.txt; a 5.x release also opens the directories with 5.x configurations
and fused experts, which that release does not, and so shows that they say the same model. Of FP8 directories it compares
what its loader dequantizes (5.x with accelerate); GPTQ and AWQ need libraries that need a GPU. Exit code 1 on a
difference.
"""

import json
import pathlib
import sys

import numpy
import torch
import transformers

from safetensors.torch import load_file

import oracle
import quantized

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


def expert_of(state, name):
    """A weight of a loaded model by its name in the checkpoint; 5.x holds experts fused."""
    if name in state:
        return state[name]
    stem, rest = name.split(".experts.")
    expert, projection, _ = rest.split(".")
    if projection == "down_proj":
        return state[stem + ".experts.down_proj"][int(expert)]
    return state[stem + ".experts.gate_up_proj"][int(expert)].chunk(2)[projection == "up_proj"]


def different_matrices(folder):
    """FP8 matrices that the loader dequantizes (to bf16), and how many of them otherwise than the goldens do."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, quantization_config=transformers.FineGrainedFP8Config(dequantize=True))
    stored, state = load_file(folder / "model.safetensors"), model.state_dict()
    names = [n for n in stored if n + "_scale_inv" in stored]
    differ = sum(not torch.equal(expert_of(state, n),
                                 quantized.dequantize_fp8(stored[n], stored[n + "_scale_inv"]).bfloat16())
                 for n in names)
    return len(names), differ


def check_quantized(name, entry, folder, release):
    """Prints how a quantized directory fares; 1 if it differs."""
    cut = "blocks cut by the matrix" in entry["covers"] or "fused experts layout" in entry["covers"]
    if entry["quantized"] != "fp8" or cut or release < 5:
        print(f"{name:32s} skipped: this release does not dequantize it on a CPU")
        return 0
    count, differ = different_matrices(folder)
    print(f"{name:32s} {count} matrices, {differ} differ", flush=True)
    return int(differ > 0 or count == 0)


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
        if "quantized" in entry:
            failed += check_quantized(name, entry, here / "models" / name, release)
            continue
        worst = worst_difference(here / "models" / name, entry["prompts"])
        failed += worst > TOLERANCE
        print(f"{name:32s} {worst:.1e}{'  DIFFERS' if worst > TOLERANCE else ''}", flush=True)
    print(f"transformers {transformers.__version__}: {len(models)} models, {failed} differ")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
