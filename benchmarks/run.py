#!/usr/bin/env python3
"""Speed of compiled models beside the limits of the machine, measured in turn.

    benchmarks/run.py                                  # all of configs/, about a quarter of an hour on two cores
    benchmarks/run.py --configs qwen3-0.6b --rounds 7
    benchmarks/run.py --dtypes bf16 int8 int4          # every format on every shape
    benchmarks/run.py --configs qwen3-0.6b --batch 8   # eight sequences at once; --depth 32768 --kv-dtype int4: a long context
    benchmarks/run.py --configs qwen3-0.6b --llama-bench PATH --gguf FILE    # a peer takes turns with it

Each configuration is compiled with --random-weights 1. A round is: the limits (a memory read and the arithmetic units), the compiled
model's bench, the peer if there is one; behind the last round the limits once more. What counts is the median over the
rounds of the ratio to the limits before and after: a virtual machine's speed changes from second to second, a ratio of
neighbours much less. Needs python3 and a build; nothing else."""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

import checkpoint
import report

HERE = pathlib.Path(__file__).resolve().parent


def parse_arguments():
    names = sorted(path.stem for path in (HERE / "configs").glob("*.json"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent / "build", help="build directory")
    parser.add_argument("--qwench", type=pathlib.Path, help="compiler [default: bin/qwench of the build directory]")
    parser.add_argument("--configs", nargs="+", default=names, choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--dtypes", nargs="+", default=["bf16"], metavar="FORMAT", help="of the weights, as --dtype takes them")
    parser.add_argument("--kv-dtype", help="format of the KV cache [default: the compiler's]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--prompt", type=int, default=512, help="tokens of prefill")
    parser.add_argument("--generated", type=int, default=64, help="tokens of decode")
    parser.add_argument("--batch", type=int, default=1, help="sequences decoded at once")
    parser.add_argument("--depth", type=int, default=0, help="tokens of context before prefill and decode")
    parser.add_argument("--no-start", action="store_true", help="do not measure start to first token from a file")
    parser.add_argument("--llama-bench", type=pathlib.Path, help="llama-bench of llama.cpp or a relative of it")
    parser.add_argument("--gguf", type=pathlib.Path, help="its model, of the same shape as the one configuration")
    parser.add_argument("--json", type=pathlib.Path, help="write everything measured to this file")
    parser.add_argument("--markdown", type=pathlib.Path, help="write the tables to this file, too")
    parser.add_argument("--note", default="", help="a sentence that goes with the tables")
    arguments = parser.parse_args()
    if bool(arguments.llama_bench) != bool(arguments.gguf):
        parser.error("expected --llama-bench and --gguf together")
    if arguments.llama_bench and len(arguments.configs) * len(arguments.dtypes) != 1:
        parser.error("expected one of --configs and one of --dtypes beside --gguf")
    arguments.qwench = arguments.qwench or arguments.build / "bin" / "qwench"
    return arguments


def run(command):
    """Standard output of a command that must succeed."""
    command = [str(word) for word in command]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr.strip()}")
    return done.stdout


def timed(command):
    """Wall seconds and CPU seconds of a command."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    run(command)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def limits(arguments, mebibytes):
    """{loop: rate}, of the loops that the CPU has."""
    command = [arguments.build / "bin" / "qwench-limits", "--json", "-r", 3, "-t", arguments.threads,
               "-m", mebibytes, "-l", "read-2m,f32,bf16,int8"]
    loops = json.loads(run(command))["loops"]
    return {name: loop["median"] for name, loop in loops.items() if "median" in loop}


def bench_model(arguments, program):
    out = json.loads(run([program, "bench", "--json", "-r", 1, "-p", arguments.prompt, "-n", arguments.generated,
                          "-b", arguments.batch, "-d", arguments.depth, "-t", arguments.threads]))
    return {"prefill_tokens_per_second": out["prefill_tokens_per_second"], "gigaflops": out["gigaflops"],
            "decode_tokens_per_second": out["decode_tokens_per_second"],
            "gigabytes_per_second": out["gigabytes_per_second"] + out["cache_gigabytes_per_second"], "peak_rss_bytes": out["peak_rss_bytes"],
            "flops_per_token": out["gigaflops"] * 1e9 / out["prefill_tokens_per_second"],
            "weight_bytes_per_token": out["weight_bytes_per_token"]}


def bench_peer(arguments, ours):
    """The peer's speed, in our units: its tokens a second times our FLOPs and bytes of a token."""
    out = json.loads(run([arguments.llama_bench, "-m", arguments.gguf, "-t", arguments.threads, "-fa", 1, "-r", 1,
                          "-p", arguments.prompt, "-n", arguments.generated, "-o", "json"]))
    prefill = next(test["avg_ts"] for test in out if test["n_gen"] == 0)
    decode = next(test["avg_ts"] for test in out if test["n_prompt"] == 0)
    return {"prefill_tokens_per_second": prefill, "gigaflops": prefill * ours["flops_per_token"] * 1e-9,
            "decode_tokens_per_second": decode,
            "gigabytes_per_second": decode * ours["weight_bytes_per_token"] * 1e-9}


def take_rounds(arguments, program, mebibytes, dtype):
    rounds, before = [], limits(arguments, mebibytes)
    for index in range(arguments.rounds):
        result = {"model": bench_model(arguments, program)}
        if arguments.gguf:
            result["peer"] = bench_peer(arguments, result["model"])
        after = limits(arguments, mebibytes)
        result["limits"] = {name: (rate + after[name]) / 2 for name, rate in before.items()}
        rounds.append(result)
        before = after
        print(f"  round {index + 1}: {report.one_round(result, dtype)}", flush=True)
    return rounds


def measure_start(arguments, config, options, scratch):
    """Compiles a checkpoint of that shape from files; seconds to pack it, and from start to the first token."""
    directory, program = scratch / "checkpoint", scratch / "packed"
    checkpoint.write(config, directory)
    wall, _ = timed([arguments.qwench, "compile", directory, "-o", program, "--no-tokenizer", *options])
    first = [program, "generate", "--tokens", "1,2,3", "-n", 1, "--greedy", "--ids", "-t", arguments.threads]
    seconds = statistics.median(timed(first)[0] for _ in range(5))
    for path in [program, *directory.iterdir()]:
        path.unlink()
    return {"compile_and_pack_seconds": wall, "start_to_first_token_seconds": seconds}


def measure(arguments, name, dtype, scratch):
    config = HERE / "configs" / f"{name}.json"
    program = scratch / f"{name}-{dtype}"
    options = ["--dtype", dtype, *(["--kv-dtype", arguments.kv_dtype] if arguments.kv_dtype else [])]
    if arguments.depth:
        options += ["--max-context", arguments.depth + arguments.prompt + arguments.generated + 64]
    print(f"{name}, {dtype}", flush=True)
    wall, cpu = timed([arguments.qwench, "compile", config, "-o", program, "--random-weights", 1, *options])
    print(f"  compiled in {wall:.1f} s ({cpu:.1f} s of CPU)", flush=True)
    info = json.loads(run([program, "info", "--json"]))
    mebibytes = min(max(info["weight_bytes"] >> 20, 512), 2048)  # as far beyond the caches as the weights are
    result = {"name": name, "dtype": dtype, "compile_seconds": wall, "compile_cpu_seconds": cpu, "weight_bytes": info["weight_bytes"],
              "weight_bytes_per_token": info["weight_bytes_per_token"], "read_mebibytes": mebibytes,
              "rounds": take_rounds(arguments, program, mebibytes, dtype)}
    if not arguments.no_start and checkpoint.can_write(config):
        result.update(measure_start(arguments, config, options, scratch))
    program.unlink()
    return result


def main():
    arguments = parse_arguments()
    scratch = arguments.build / "benchmarks"
    scratch.mkdir(parents=True, exist_ok=True)
    machine = report.machine(arguments.threads, arguments.note)
    results = [measure(arguments, name, dtype, scratch) for name in arguments.configs for dtype in arguments.dtypes]
    text = report.markdown(machine, results, arguments)
    print("\n" + text)
    if arguments.markdown:
        arguments.markdown.write_text("# Results\n\n" + text)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
