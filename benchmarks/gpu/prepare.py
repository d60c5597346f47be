#!/usr/bin/env python3
"""Compiles, on a machine without a GPU, what run.py checks and times on one with a GPU.

    benchmarks/gpu/prepare.py OUT --target cuda --gpu sm_90a

OUT then holds golden models with transformers' logits beside them, and programs of real shapes with random weights, in all
variants of plan.py; OUT.tar.xz holds OUT, for the way to the GPU. Needs python3 and a build."""

import argparse
import concurrent.futures
import json
import lzma
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile

import plan

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SCRIPTS = ("run.py", "plan.py", "golden.py", "measure.py", "bundle.py", "limits.py", "processes.py", "report.py", "peer.py")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help="build directory")
    parser.add_argument("--target", required=True, choices=("cuda", "rocm"))
    parser.add_argument("--gpu", required=True, help="architectures, as of qwench compile")
    parser.add_argument("--golden", nargs="*", default=plan.GOLDEN, metavar="NAME")
    parser.add_argument("--shapes", nargs="*", default=plan.SHAPES, choices=plan.SHAPES, metavar="NAME")
    parser.add_argument("--configs", type=pathlib.Path, default=ROOT / "benchmarks" / "configs", help="of the shapes")
    parser.add_argument("--most-mebibytes", type=float, default=60, help="that OUT.tar.xz may have")
    return parser.parse_args()


def compile_model(arguments, model, out, *options):
    command = [arguments.build / "bin" / "qwench", "compile", model, "-o", out, "--no-tokenizer", "--target", arguments.target,
               "--gpu", arguments.gpu, *options]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{out}: exit code {done.returncode}\n{done.stderr.strip()}")
    return done.stderr.strip()


def golden_programs(arguments, names):
    """(model, program, options): f32 of what tells decode from decode, bf16 of every variant."""
    for name in arguments.golden:
        source, folder = ROOT / "tests" / "golden" / "models" / name, arguments.out / "golden" / name
        folder.mkdir(parents=True)
        for file in (*source.glob("p*.npy"), source / "golden.json"):
            shutil.copy(file, folder)
        for variant in names:
            for dtype in ("f32", "bf16") if "decode" in plan.VARIANTS[variant].measures else ("bf16",):
                yield source, folder / f"{dtype}-{variant}", (*plan.VARIANTS[variant].options, "--dtype", dtype, "--kv-dtype", dtype,
                                                              "--max-context", 512)


def write_config(arguments, shape, folder):
    """The configuration with as many layers as the released model has."""
    config = json.loads((arguments.configs / f"{shape.config}.json").read_text())
    config["num_hidden_layers"] = config["max_window_layers"] = shape.layers
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return folder / "config.json"


def measured(shape_name, variant):
    """Whether a row times this variant of the shape."""
    benches = [row for row in plan.ROWS if isinstance(row, plan.Bench) and row.shape == shape_name]
    return variant == plan.BASE or any(
        kind in plan.VARIANTS[variant].measures for row in benches for kind in ("decode", "prefill") if getattr(row, kind))


def shape_programs(arguments, names):
    for name in arguments.shapes:
        shape, folder = plan.SHAPES[name], arguments.out / "shapes" / name
        folder.mkdir(parents=True)
        config = write_config(arguments, shape, folder)
        for variant in names:
            if measured(name, variant):
                yield config, folder / variant, (*plan.VARIANTS[variant].options, "--random-weights", 1, "--dtype", shape.dtype,
                                                 "--kv-dtype", "bf16", "--max-context", shape.context)


def pack(folder):
    """FOLDER.tar.xz: the programs share most of their bytes, so a window that holds several makes them small."""
    archive = folder.with_name(folder.name + ".tar.xz")
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 64 << 20}]
    with lzma.open(archive, "wb", format=lzma.FORMAT_XZ, filters=filters) as file, tarfile.open(fileobj=file, mode="w|") as tar:
        tar.add(folder, folder.name)
    return archive


def main():
    arguments = parse_arguments()
    if arguments.out.exists() and any(arguments.out.iterdir()):
        sys.exit(f"{arguments.out}: expected a folder that is empty or not there")
    arguments.out.mkdir(parents=True, exist_ok=True)
    names = plan.variants_for(arguments.gpu)
    programs = [*golden_programs(arguments, names), *shape_programs(arguments, names)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(compile_model, arguments, model, out, *options) for model, out, options in programs]
        try:
            for job in jobs:
                print(job.result(), flush=True)
        except RuntimeError as error:
            pool.shutdown(cancel_futures=True)
            sys.exit(str(error))
    shutil.copy(ROOT / "tests" / "golden" / "manifest.json", arguments.out)
    for script in SCRIPTS:
        shutil.copy(HERE / script, arguments.out)
    archive = pack(arguments.out)
    mebibytes = archive.stat().st_size / 2**20
    print(f"{archive}: {mebibytes:.1f} MiB, {len(programs)} programs")
    if mebibytes > arguments.most_mebibytes:
        sys.exit(f"{archive}: expected at most {arguments.most_mebibytes:g} MiB, found {mebibytes:.1f}")


if __name__ == "__main__":
    main()
