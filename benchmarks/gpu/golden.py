"""Golden models: their logits beside transformers', and runs of them under compute-sanitizer."""

import ast
import concurrent.futures
import json
import math
import pathlib
import re
import shutil
import statistics
import struct
import subprocess
import tempfile

import plan
import processes

AT_ONCE = 8        # processes on the GPU: what a check takes is its start
MOST_SECONDS = 60  # of a process that checks
SANITIZER_SECONDS = 180
# initcheck also names reads whose results are masked: what it finds is shown, and counts for nothing.
TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
NOT_COUNTED = ("initcheck",)


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


def read_ids(path):
    return ",".join(str(value) for row in read_npy(path) for value in row)


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
        ids = read_ids(folder / f"{name}.ids.npy")
        expected, count = read_npy(folder / f"{name}.logits.npy"), ids.count(",") + 1
        out = scratch / f"{folder.name}-{program.name}.npy"
        command = [program, "logits", "--tokens", ids, "-o", out, "--context", 512]
        _, reason = processes.run(command + (["--prefill", count - 2] if count > 2 else []), MOST_SECONDS)
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


def check_one(program, folder, entry, scratch):
    dtype, _, variant = program.name.partition("-")
    figures, reason = compare(program, folder, scratch)
    right = figures is not None and (figures[0] <= 1e-4 if dtype == "f32" else figures[1] <= 1.5 * entry["bf16_kl_mean"])
    shown = f"difference {figures[0]:.1e}, KL {figures[1]:.1e}" if figures else reason
    return {"model": folder.name, "dtype": dtype, "variant": variant, "right": right, "shown": shown}


def check(folder):
    """What became of every golden program (FOLDER/golden/MODEL/DTYPE-VARIANT), printed as well."""
    manifest = json.loads((folder / "manifest.json").read_text())["models"]
    with tempfile.TemporaryDirectory() as scratch, concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [pool.submit(check_one, program, model, manifest[model.name], pathlib.Path(scratch))
                for model in sorted((folder / "golden").iterdir()) for program in sorted(model.glob("*-*"))]
        results = []
        for job in jobs:
            results.append(job.result())
            print("{0}  {model} {dtype} {variant}: {shown}".format("right" if results[-1]["right"] else "WRONG", **results[-1]),
                  flush=True)
    return results


def sanitize_one(tool, program, folder):
    """What compute-sanitizer says of a prompt of 17 tokens, and three drawn behind it."""
    command = ["compute-sanitizer", "--tool", tool, "--error-exitcode", 9, program, "generate", "--tokens",
               read_ids(folder / "p17.ids.npy"), "-n", 3, "--greedy", "--ids", "--ignore-eos"]
    result = {"model": folder.name, "program": program.name, "tool": tool, "counts": tool not in NOT_COUNTED}
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=SANITIZER_SECONDS)
    except subprocess.TimeoutExpired:
        return {**result, "clean": False, "report": f"stopped after {SANITIZER_SECONDS} s"}
    report = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("=========")]
    summary = [line for line in report if re.search(r"SUMMARY", line)]
    clean = done.returncode == 0 and bool(summary)
    return {**result, "clean": clean, "summary": summary[-1:], "report": "" if clean else "\n".join(report[:40] or [done.stderr.strip()])}


def sanitize(folder):
    """Runs the models of plan.SANITIZED in bf16, every variant, under every tool; prints what is found."""
    if not shutil.which("compute-sanitizer"):
        print("compute-sanitizer is not found: nothing was run under it", flush=True)
        return [{"model": "", "program": "", "tool": "compute-sanitizer", "counts": True, "clean": False, "report": "not found"}]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [pool.submit(sanitize_one, tool, program, folder / "golden" / name) for tool in TOOLS for name in plan.SANITIZED
                for program in sorted((folder / "golden" / name).glob("bf16-*"))]
        results = [job.result() for job in jobs]
    for result in results:
        print("{0}  {tool} {model} {program}".format("clean   " if result["clean"] else "REPORTED", **result), flush=True)
        if result["report"]:
            print(result["report"], flush=True)
    return results
