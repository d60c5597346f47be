#!/usr/bin/env python3
"""Compiles, on a machine without a GPU, what run.py checks and times on one with a GPU.

    benchmarks/gpu/prepare.py OUT --target cuda --gpu sm_90a

OUT then holds tiny models with transformers' logits beside them, and programs of real shapes with random weights; for sm_90a
in both forms of products (--matrix-unit). Needs python3 and a build; copy OUT and run.py to the machine with the GPU."""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ("dense-one-layer", "dense-base", "dense-bias", "dense-hd128", "dense-v5-sliding", "moe-base", "moe-hd128-one-layer",
          "moe-odd-sizes", "rope-yarn", "rope-longrope")
SHAPES = ("qwen3-0.6b", "qwen3-8b-4-layers", "qwen3-30b-a3b-6-layers")


def compile_model(arguments, model, out, *options):
    command = [arguments.build / "bin" / "qwench", "compile", model, "-o", out, "--no-tokenizer", "--target", arguments.target,
               "--gpu", arguments.gpu, *options]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{out.name}: exit code {done.returncode}\n{done.stderr.strip()}")
    print(done.stderr.strip(), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="build directory")
    parser.add_argument("--target", required=True, choices=("cuda", "rocm"))
    parser.add_argument("--gpu", required=True, help="architectures, as of qwench compile")
    parser.add_argument("--golden", nargs="*", default=GOLDEN, metavar="NAME")
    parser.add_argument("--shapes", nargs="*", default=SHAPES, metavar="NAME")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    forms = {"": (), **({"-wgmma": ("--matrix-unit", "wgmma")} if arguments.gpu == "sm_90a" else {})}
    for name in arguments.golden:
        source, folder = ROOT / "tests" / "golden" / "models" / name, arguments.out / "golden" / name
        folder.mkdir(parents=True, exist_ok=True)
        for program in ("f32", *("bf16" + form for form in forms)):
            dtype, _, form = program.partition("-")
            compile_model(arguments, source, folder / program, "--dtype", dtype, "--kv-dtype", dtype, "--max-context", "512",
                          *forms["-" + form if form else ""])
        for file in (*source.glob("p*.npy"), source / "golden.json"):
            shutil.copy(file, folder)
    for name in arguments.shapes:
        (arguments.out / "shapes").mkdir(exist_ok=True)
        for form, options in forms.items():
            compile_model(arguments, ROOT / "benchmarks" / "configs" / f"{name}.json", arguments.out / "shapes" / (name + form),
                          "--random-weights", "1", "--max-context", "8192", *options)
    shutil.copy(ROOT / "tests" / "golden" / "manifest.json", arguments.out)
    shutil.copy(pathlib.Path(__file__).with_name("run.py"), arguments.out)


if __name__ == "__main__":
    main()
