#!/usr/bin/env python3
"""What weight and cache formats cost in quality: the example model's perplexity, and the golden set's distance to fp32.

    quality.py [--tool build/bin/qwench] [--formats int8,int4,...] [--kv-formats fp8,...] [--markdown FILE]

Perplexity: of examples/tiny-moe/heldout.txt, in windows of 256 tokens, for each weight format on the dense layers only, the
MoE layers only, and everything, the head included; and for each cache format. KL divergence and top-1 agreement: mean over
the committed logits of the golden models, which are transformers' in fp32. Standard library only.
"""
import argparse
import array
import ast
import json
import math
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "tiny-moe"
WEIGHTS = ("int8", "int8:64", "int4:32", "int4", "int4:128", "int4z", "mxfp4", "nvfp4", "fp8")
CACHES = ("fp8", "int8", "int4")
LIMITS = {"int8": 0.5, "int8:64": 0.5, "fp8": 0.5}  # percent; 3 of the others
GOLDEN = {"dense": ("dense-base", "dense-wide-gqa"), "moe": ("moe-base", "moe-top8")}


def run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"quality.py: {' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def read_npy(path):
    """Shape and elements of a little-endian .npy file of floats or ints."""
    data = pathlib.Path(path).read_bytes()
    size = int.from_bytes(data[8:10], "little")
    header = ast.literal_eval(data[10:10 + size].decode())
    values = array.array({"<f4": "f", "<i4": "i"}[header["descr"]])
    values.frombytes(data[10 + size:])
    return header["shape"], values


class Model:
    """A compiled model, gone when the block ends."""

    def __init__(self, tool, directory, scratch, options):
        self.path = scratch / "model"
        run([tool, "compile", directory, "-o", self.path, "--max-context", "1024", *options])

    def perplexity(self):
        text = run([self.path, "perplexity", EXAMPLE / "heldout.txt", "--context", "256", "--json"])
        return json.loads(text)["perplexity"]

    def logits(self, ids, scratch):
        run([self.path, "logits", "--tokens", ",".join(map(str, ids)), "-o", scratch / "logits.npy"])
        return read_npy(scratch / "logits.npy")


def log_softmax(row):
    most = max(row)
    total = most + math.log(sum(math.exp(x - most) for x in row))
    return [x - total for x in row]


def distance(tool, name, scratch, options):
    """Sum of KL(oracle || found), rows of the same top-1, and rows, over a golden model's prompts."""
    directory = ROOT / "tests" / "golden" / "models" / name
    model = Model(tool, directory, scratch, ["--no-tokenizer", *options])
    kl, same, rows = 0.0, 0, 0
    for prompt, entry in json.loads((directory / "golden.json").read_text()).items():
        _, ids = read_npy(directory / f"{prompt}.ids.npy")
        (_, vocab), found = model.logits(ids, scratch)
        _, expected = read_npy(directory / f"{prompt}.logits.npy")
        for i, position in enumerate(entry["positions"]):
            p = log_softmax(expected[i * vocab:(i + 1) * vocab])
            q = log_softmax(found[position * vocab:(position + 1) * vocab])
            kl += sum(math.exp(a) * (a - b) for a, b in zip(p, q))
            same += max(range(vocab), key=p.__getitem__) == max(range(vocab), key=q.__getitem__)
            rows += 1
    return kl, same, rows


def golden_columns(tool, scratch, options):
    """"mean KL / top-1" of the dense and of the MoE models."""
    cells = []
    for names in GOLDEN.values():
        totals = [sum(column) for column in zip(*(distance(tool, name, scratch, options) for name in names))]
        cells.append(f"{totals[0] / totals[2]:.1e} / {100 * totals[1] / totals[2]:.0f} %")
    return cells


def change(value, base):
    return f"{value:.2f} ({100 * (value / base - 1):+.2f} %)"


def weight_rows(tool, scratch, formats, base):
    failed = []
    for name in formats:
        places = {"dense layers": ["--dtype-for", f"dense.*={name}"], "MoE layers": ["--dtype-for", f"moe.*={name}"],
                  "everything": ["--dtype", name]}
        cells = []
        for place, options in places.items():
            value = Model(tool, EXAMPLE / "model", scratch, options).perplexity()
            cells.append(change(value, base))
            if 100 * (value / base - 1) > LIMITS.get(name, 3):
                failed.append(f"{name} on {place}")
        yield [name, *cells, *golden_columns(tool, scratch, ["--dtype", name])]
    if failed:
        yield ["missed: " + ", ".join(failed)]


def cache_rows(tool, scratch, formats, base):
    for name in formats:
        value = Model(tool, EXAMPLE / "model", scratch, ["--kv-dtype", name]).perplexity()
        yield [name, change(value, base), *golden_columns(tool, scratch, ["--dtype", "bf16", "--kv-dtype", name])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", type=pathlib.Path, default=ROOT / "build" / "bin" / "qwench")
    parser.add_argument("--formats", default=",".join(WEIGHTS))
    parser.add_argument("--kv-formats", default=",".join(CACHES))
    parser.add_argument("--markdown", type=pathlib.Path, help="file to write the tables to, as well")
    args = parser.parse_args()
    lines = []

    def say(line):
        lines.append(line)
        print(line, flush=True)

    def table(head, rows):
        say("| " + " | ".join(head) + " |")
        say("|---" * len(head) + "|")
        for row in rows:
            say("| " + " | ".join(row) + " |" if len(row) > 1 else "\n" + row[0])

    with tempfile.TemporaryDirectory() as directory:
        scratch = pathlib.Path(directory)
        base = Model(args.tool, EXAMPLE / "model", scratch, ["--dtype", "bf16"]).perplexity()
        say(f"Perplexity of the example model in bf16: {base:.2f}. The golden columns are mean KL divergence to transformers' "
            "fp32 and top-1 agreement with it.\n")
        golden = ["golden, dense", "golden, MoE"]
        table(["weights", "dense layers", "MoE layers", "everything", *golden],
              [["bf16", "", "", f"{base:.2f}", *golden_columns(args.tool, scratch, ["--dtype", "bf16"])],
               *weight_rows(args.tool, scratch, [f for f in args.formats.split(",") if f], base)])
        say("")
        table(["KV cache", "perplexity", *golden],
              cache_rows(args.tool, scratch, [f for f in args.kv_formats.split(",") if f], base))
    if args.markdown:
        args.markdown.write_text("\n".join(lines) + "\n")
    return 1 if any(line.startswith("\nmissed") for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
