#!/usr/bin/env python3
"""Checks and times, on a machine with a GPU, what prepare.py made. Builds nothing; needs python3 alone, and takes torch,
where it is there, for the limits (a copy on the device, a bf16 matmul).

    python3 run.py [FOLDER] [--rounds 3]

Every model is compared with transformers' logits first; what differs is not timed. The table comes last."""

import argparse
import ast
import json
import math
import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile


def read_npy(path):
    """Rows of numbers of a version 1 .npy file of one or two dimensions."""
    data = path.read_bytes()
    length = struct.unpack_from("<H", data, 8)[0]
    header = ast.literal_eval(data[10:10 + length].decode())
    code = {"<f4": "f", "<i4": "i", "<i8": "q"}[header["descr"]]
    shape = header["shape"]
    count = math.prod(shape)
    values = struct.unpack_from(f"<{count}{code}", data, 10 + length)
    width = shape[-1] if len(shape) > 1 else count
    return [values[at:at + width] for at in range(0, count, width)]


def run(command):
    """Standard output, or the reason why there is none."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    return (done.stdout, "") if done.returncode == 0 else ("", done.stderr.strip() or f"exit code {done.returncode}")


def log_softmax(row):
    most = max(row)
    total = most + math.log(math.fsum(math.exp(value - most) for value in row))
    return [value - total for value in row]


def divergence(expected, found):
    p, q = log_softmax(expected), log_softmax(found)
    return math.fsum(math.exp(a) * (a - b) for a, b in zip(p, q))


def compare(program, folder, scratch):
    """(largest difference relative to the range, mean divergence) over the prompts, prefilled but for two tokens; or why not."""
    worst, divergences = 0.0, []
    for name, entry in json.loads((folder / "golden.json").read_text()).items():
        ids = [value for row in read_npy(folder / f"{name}.ids.npy") for value in row]
        expected = read_npy(folder / f"{name}.logits.npy")
        out = scratch / "logits.npy"
        command = [program, "logits", "--tokens", ",".join(map(str, ids)), "-o", out, "--context", 512]
        if len(ids) > 2:
            command += ["--prefill", len(ids) - 2]
        _, reason = run(command)
        if reason:
            return None, f"{name}: {reason}"
        found = read_npy(out)
        for row, position in zip(expected, entry["positions"]):
            if not all(map(math.isfinite, found[position])):
                return None, f"{name}: position {position} is not finite"
            span = max(row) - min(row)
            worst = max(worst, max(abs(a - b) for a, b in zip(found[position], row)) / span)
            divergences.append(divergence(row, found[position]))
    return (worst, statistics.mean(divergences)), ""


def check(folder):
    manifest = json.loads((folder / "manifest.json").read_text())["models"]
    failures = 0
    with tempfile.TemporaryDirectory() as scratch:
        for model in sorted((folder / "golden").iterdir()):
            for program in (name for name in ("f32", "bf16", "bf16-wgmma") if (model / name).exists()):
                dtype = program.partition("-")[0]
                figures, reason = compare(model / program, model, pathlib.Path(scratch))
                right = figures is not None and (
                    figures[0] <= 1e-4 if dtype == "f32" else figures[1] <= 1.5 * manifest[model.name]["bf16_kl_mean"])
                failures += not right
                shown = f"difference {figures[0]:.1e}, KL {figures[1]:.1e}" if figures else reason
                print(f"{'right' if right else 'WRONG'}  {model.name} {program}: {shown}", flush=True)
    return failures


def limits():
    """GB/s of a copy on the device (read and written) and TFLOP/s of a bf16 matmul; None without torch."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None

    def seconds(body):
        times = []
        for _ in range(10):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            body()
            end.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(end) / 1e3)
        return statistics.median(times)

    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    matrix = torch.randn(8192, 8192, dtype=torch.bfloat16, device="cuda")
    return {"copy": 2 * source.numel() / seconds(lambda: target.copy_(source)) / 1e9,
            "matmul": 2 * 8192**3 / seconds(lambda: matrix @ matrix) / 1e12}


def time_shapes(folder, rounds):
    rows = []
    for program in sorted((folder / "shapes").glob("*")):
        for prompt, generated in ((512, 64), (2048, 64)):
            out, reason = run([program, "bench", "--json", "-r", rounds, "-p", prompt, "-n", generated])
            if reason:
                print(f"{program.name}: {reason}", flush=True)
                break
            rows.append((program.name, prompt, json.loads(out), limits()))
    return rows


def table(rows):
    print("\n| shape | prompt | prefill tokens/s | TFLOP/s | of matmul | decode tokens/s | GB/s | of copy |")
    print("|---|---|---|---|---|---|---|---|")
    for name, prompt, out, limit in rows:
        teraflops, bandwidth = out["gigaflops"] / 1e3, out["gigabytes_per_second"]
        of_matmul = f"{teraflops / limit['matmul']:.0%}" if limit else "-"
        of_copy = f"{bandwidth / limit['copy']:.0%}" if limit else "-"
        print(f"| {name} | {prompt} | {out['prefill_tokens_per_second']:.0f} | {teraflops:.1f} | {of_matmul} | "
              f"{out['decode_tokens_per_second']:.1f} | {bandwidth:.0f} | {of_copy} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, nargs="?", default=pathlib.Path(__file__).resolve().parent)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    failures = check(arguments.folder)
    if failures:
        sys.exit(f"{failures} models are wrong: nothing was timed")
    table(time_shapes(arguments.folder, arguments.rounds))


if __name__ == "__main__":
    main()
