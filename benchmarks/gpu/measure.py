"""Takes the times of plan.ROWS: each gives results as they come, one for each variant that the row is about."""

import dataclasses
import json
import pathlib
import statistics
import sys
import tempfile
import time

import bundle
import limits as limits_module
import plan
import processes


@dataclasses.dataclass
class Result:
    """A variant in a row of the table. Without a value, `reason` says why, and `failed` whether something is wrong."""
    what: str
    variant: str
    goal: float
    kind: str               # "decode", "prefill", "peer": at least the goal; "start": at most
    value: float = None     # tokens/s; seconds of a start
    ratio: float = None     # of the limit, or to the peer; None without a limit
    limit: float = None     # GB/s, TFLOP/s, or the peer's tokens/s
    reason: str = ""
    failed: bool = False
    seconds: float = None   # that measuring took
    raw: dict = None        # what the program printed


@dataclasses.dataclass
class Machine:
    """What the rows share. `wrong`: variants that are not timed. `decoded`: results of decode by shape, for the peer's row."""
    folder: pathlib.Path
    budget: processes.Budget
    limits: limits_module.Limits
    wrong: set
    decoded: dict = dataclasses.field(default_factory=dict)

    def program(self, shape, variant):
        return self.folder / "shapes" / shape / variant

    def reason_against(self, shape, variant, seconds):
        """Why this is not to be run, or ""."""
        if variant in self.wrong:
            return "not timed: golden models are wrong"
        if not self.program(shape, variant).exists():
            return "not run: not prepared"
        if seconds > self.budget.left():
            return f"not run: takes some {seconds:.0f} s, {max(self.budget.left(), 0):.0f} s are left"
        return ""

    def patience(self, seconds):
        """Seconds to wait for what should take `seconds`: what hangs must not take the time of the rows behind it."""
        return max(min(self.budget.left(), 4 * seconds + 30), 1)


def goals_of(row, variant):
    """[(kind, goal)] that this variant of a Bench measures."""
    kinds = plan.VARIANTS[variant].measures
    return [(kind, goal) for kind, goal in (("decode", row.decode), ("prefill", row.prefill)) if goal and kind in kinds]


def bench_command(row, program, kinds):
    command = [program, "bench", "--json", "-r", 3, "-p", row.prompt if "prefill" in kinds else 0,
               "-n", row.generated if "decode" in kinds else 0]
    return command + (["-d", row.depth] + ([] if row.filled else ["--empty-depth"]) if row.depth else [])


def bench_result(row, kind, goal, variant, out, limit, seconds):
    """A row's result from the JSON of `bench` and the limits around it."""
    if kind == "prefill":
        rate, of, value = out["gigaflops"] / 1e3, "matmul", out["prefill_tokens_per_second"]
    else:
        rate = out["gigabytes_per_second"] + (out["cache_gigabytes_per_second"] if row.depth else 0)
        of, value = "copy", out["decode_tokens_per_second"]
    most = limit[of] if limit else None
    return Result(goal.what, variant, goal.ratio, kind, value, rate / most if most else None, most, seconds=seconds, raw=out)


def measure_bench(row, machine):
    for variant in row.variants or plan.VARIANTS:
        goals = goals_of(row, variant)
        if not goals:
            continue
        start, failed, limit = machine.budget.spent(), False, None
        reason = machine.reason_against(row.shape, variant, row.seconds)
        if not reason:
            before = machine.limits.measure()
            command = bench_command(row, machine.program(row.shape, variant), [kind for kind, _ in goals])
            out, reason = processes.run(command, machine.patience(row.seconds))
            failed = bool(reason)
            limit = limits_module.between(before, machine.limits.measure()) if out else None
        seconds = machine.budget.spent() - start
        for kind, goal in goals:
            result = (Result(goal.what, variant, goal.ratio, kind, reason=reason, failed=failed, seconds=seconds) if reason else
                      bench_result(row, kind, goal, variant, json.loads(out), limit, seconds))
            if kind == "decode" and not reason and not row.depth:
                machine.decoded.setdefault(row.shape, []).append(result)
            yield result


def start_times(program, scratch, patience):
    """([seconds of each start after the first], "") of a copy of the program with weights inside, or ([], why not)."""
    out, reason = processes.run([program, "info", "--json"], patience)
    if reason:
        return [], reason
    full, times = scratch / "full", []
    bundle.append_weights(program, full, json.loads(out)["weight_bytes"])
    for _ in range(6):
        start = time.perf_counter()
        _, reason = processes.run([full, "generate", "--tokens", "1,2,3", "-n", 1, "--greedy", "--ids"], patience)
        times.append(time.perf_counter() - start)
        if reason:
            return [], reason
    return times[1:], ""


def measure_start(row, machine):
    start, failed = machine.budget.spent(), False
    result = Result(row.goal.what, plan.BASE, row.goal.ratio, "start",
                    reason=machine.reason_against(row.shape, plan.BASE, row.seconds))
    if not result.reason:
        with tempfile.TemporaryDirectory() as scratch:
            times, result.reason = start_times(machine.program(row.shape, plan.BASE), pathlib.Path(scratch),
                                               machine.patience(row.seconds))
        result.failed = bool(result.reason)
        result.value = statistics.median(times) if times else None
        result.raw = {"start_to_first_token_seconds": times}
    result.seconds = machine.budget.spent() - start
    return [result]


def measure_peer(row, machine):
    """Every variant's decode beside the same peer."""
    ours, start, out = machine.decoded.get(row.shape, []), machine.budget.spent(), ""
    reason = "" if ours else "not run: nothing of this shape was timed to stand beside it"
    if not reason and not machine.limits.torch:
        reason = "not run: torch with a GPU is not there"
    reason = reason or machine.reason_against(row.shape, plan.BASE, row.seconds)
    failed = False
    if not reason:
        config = machine.folder / "shapes" / row.shape / "config.json"
        out, reason = processes.run([sys.executable, machine.folder / "peer.py", config], machine.patience(row.seconds))
        failed = bool(reason)
    seconds = machine.budget.spent() - start
    if reason:
        return [Result(row.goal.what, plan.BASE, row.goal.ratio, "peer", reason=reason, failed=failed, seconds=seconds)]
    raw = json.loads(out)
    theirs = raw["decode_tokens_per_second"]
    return [Result(row.goal.what, decode.variant, row.goal.ratio, "peer", decode.value, decode.value / theirs, theirs,
                   seconds=seconds, raw=raw) for decode in ours]


def measure(row, machine):
    return {plan.Bench: measure_bench, plan.Start: measure_start, plan.Peer: measure_peer}[type(row)](row, machine)
