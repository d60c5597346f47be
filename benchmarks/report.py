"""What run.py prints."""

import datetime
import os
import platform
import statistics
import subprocess

# What the compiler is held to on its first target, in percent of the loops beside it, and in seconds.
DECODE_FLOOR, PREFILL_FLOOR, COMPILE_FLOOR = 50, 30, 20


def machine(threads, note):
    fields = {}
    with open("/proc/cpuinfo") as file:
        for line in file:
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) / 2**20
    commit = subprocess.run(["git", "-C", os.path.dirname(os.path.abspath(__file__)), "describe", "--always", "--dirty"],
                            capture_output=True, text=True).stdout.strip()
    return {"cpu": f"{fields.get('model name', '?')}, family {fields.get('cpu family')} model {fields.get('model')}, "
                   f"{os.cpu_count()} CPUs",
            "memory_gib": round(memory, 1), "kernel": platform.release(), "threads": threads,
            "load_average": os.getloadavg()[0], "date": datetime.date.today().isoformat(), "commit": commit, "note": note}


def unit(dtype):
    """The arithmetic loop that prefill with weights of this format is held against, and its instruction."""
    return {"f32": ("f32", "vfmadd231ps"), "bf16": ("bf16", "vdpbf16ps")}.get(dtype, ("int8", "vpdpbusd"))


def ratios(rounds, who, dtype):
    """Percent of the limit, one of each round: decode of the read loop, prefill of the unit (None if the CPU lacks it)."""
    loop, _ = unit(dtype)
    decode = [100 * r[who]["gigabytes_per_second"] / r["limits"]["read-2m"] for r in rounds]
    prefill = [100 * r[who]["gigaflops"] / r["limits"][loop] for r in rounds] if loop in rounds[0]["limits"] else None
    return decode, prefill


def one_round(result, dtype):
    limits = result["limits"]
    text = "limits " + ", ".join(f"{name} {rate:.1f}" for name, rate in limits.items())
    for who in ("model", "peer"):
        if who in result:
            decode, prefill = ratios([result], who, dtype)
            text += (f"; {who} decode {result[who]['gigabytes_per_second']:.1f} GB/s = {decode[0]:.0f} %, "
                     f"prefill {result[who]['gigaflops']:.0f} GFLOP/s")
            text += f" = {prefill[0]:.0f} %" if prefill else ""
    return text


def _spread(values):
    return f"{statistics.median(values):.0f} % ({min(values):.0f} to {max(values):.0f})"


def _speed_row(result, who, title):
    rounds = result["rounds"]
    decode, prefill = ratios(rounds, who, result["dtype"])
    median = lambda key: statistics.median(r[who][key] for r in rounds)
    return (f"| {title} | {median('decode_tokens_per_second'):.1f} | {median('gigabytes_per_second'):.1f} | {_spread(decode)} "
            f"| {median('prefill_tokens_per_second'):.0f} | {median('gigaflops'):.0f} "
            f"| {_spread(prefill) if prefill else 'none here'} of {unit(result['dtype'])[1]} |")


def _title(result):
    return f"{result['name']}, {result['dtype']}"


def _floor(name, value, unit, floor, below):
    met = value < floor if below else value >= floor
    return f"- {name}: {value:.1f} {unit}, floor {'<' if below else '>='} {floor} {unit}: {'met' if met else 'NOT met'}"


def _floors(result):
    decode, prefill = ratios(result["rounds"], "model", result["dtype"])
    lines = [_floor("decode of the read loop", statistics.median(decode), "%", DECODE_FLOOR, False)]
    if prefill:
        lines.append(_floor("prefill of vdpbf16ps", statistics.median(prefill), "%", PREFILL_FLOOR, False))
    return lines + [_floor("compile, without packing", result["compile_seconds"], "s", COMPILE_FLOOR, True)]


def _setting(arguments):
    said = [f"{arguments.batch} sequences at once"] if arguments.batch > 1 else []
    said += [f"behind {arguments.depth} tokens"] if arguments.depth else []
    said += [f"{arguments.kv_dtype} cache"] if arguments.kv_dtype else []
    return f" Decode: {', '.join(said)}." if said else ""


def markdown(machine, results, arguments):
    lines = [f"{machine['date']}, commit {machine['commit']}: {machine['cpu']}, {machine['memory_gib']} GiB, Linux "
             f"{machine['kernel']}; {machine['threads']} threads, load average at the start {machine['load_average']:.1f}, "
             f"{arguments.rounds} rounds.{_setting(arguments)} {machine['note']}".strip(), "",
             f"| shape, weights | decode tok/s | GB/s | of the read loop | prefill {arguments.prompt} tok/s | GFLOP/s | of the unit |",
             "|---|---|---|---|---|---|---|"]
    for result in results:
        lines.append(_speed_row(result, "model", _title(result)))
        if "peer" in result["rounds"][0]:
            lines.append(_speed_row(result, "peer", f"peer, {arguments.gguf.name}"))
    lines += ["", "Percentages: median over the rounds of the ratio to the limits measured before and after (least to most).", "",
              "| shape, weights | read loop GB/s | vdpbf16ps GFLOP/s | vpdpbusd GOP/s | f32 FMA GFLOP/s | peak memory GB "
              "| compile s (CPU s) | compile and pack s | start to first token s |", "|---|---|---|---|---|---|---|---|---|"]
    for result in results:
        limit = lambda name: (f"{statistics.median(r['limits'][name] for r in result['rounds']):.1f}"
                              if name in result["rounds"][0]["limits"] else "none")
        seconds = lambda key: f"{result[key]:.2f}" if key in result else ""
        peak = max(r["model"]["peak_rss_bytes"] for r in result["rounds"]) / 1e9
        lines.append(f"| {_title(result)} | {limit('read-2m')} | {limit('bf16')} | {limit('int8')} | {limit('f32')} | {peak:.2f} "
                     f"| {result['compile_seconds']:.1f} ({result['compile_cpu_seconds']:.1f}) "
                     f"| {seconds('compile_and_pack_seconds')} | {seconds('start_to_first_token_seconds')} |")
    for result in results:
        if result["name"] == "qwen3-0.6b" and result["dtype"] == "bf16" and arguments.batch == 1 and not arguments.depth:
            lines += ["", "Floors, held by qwen3-0.6b in bf16:", "", *_floors(result)]
    if all(r["limits"].get("bf16", 0) and r["limits"]["f32"] > r["limits"]["bf16"] for x in results for r in x["rounds"]):
        lines += ["", "On this CPU the `vdpbf16ps` loop does fewer operations a second than the f32 FMA loop: a percentage of it "
                  "near 100 is", "the end of that instruction, not of the machine."]
    return "\n".join(lines) + "\n"
