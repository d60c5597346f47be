#!/usr/bin/env python3
"""Checks and times, on a machine with a GPU, what prepare.py made, and prints the table of benchmarks/RESULTS.md last.

    python3 run.py [FOLDER] [--seconds 540] [--json FILE]
    python3 run.py --sanitize --no-time      # the golden models alone, then some of them under compute-sanitizer

Builds nothing. Needs python3; torch where it is there for the limits (a copy on the device, a bf16 matmul), and transformers for
the peer. Golden models come first: a variant of which one is wrong is not timed. Rows come in the order of importance; what
does not fit into --seconds is listed as not run. Exit code: 0, or 1 if a model is wrong, a sanitizer reports, or a row fails."""

import argparse
import dataclasses
import datetime
import json
import pathlib
import sys

import golden
import limits
import measure
import plan
import processes
import report


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, nargs="?", default=pathlib.Path(__file__).resolve().parent)
    parser.add_argument("--seconds", type=float, default=540, help="that the whole may take")
    parser.add_argument("--json", type=pathlib.Path, help="write everything measured to this file, anew behind each result")
    parser.add_argument("--no-check", action="store_true", help="time without looking whether golden models are right")
    parser.add_argument("--sanitize", action="store_true", help="run some golden models under compute-sanitizer")
    parser.add_argument("--no-time", action="store_true", help="do not time")
    return parser.parse_args()


def device_name():
    out, reason = processes.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], 30)
    return f"an unknown GPU ({reason})" if reason else out.splitlines()[0].replace(", ", ", driver ")


def summary(checked):
    if checked is None:
        return "Golden models were not checked."
    right = sum(result["right"] for result in checked)
    return f"{right} of {len(checked)} golden programs are right."


def time_rows(arguments, budget, wrong, found):
    """Adds the results of all rows to `found`, and writes it after each result."""
    machine = measure.Machine(arguments.folder, budget, limits.Limits(), wrong)
    if not machine.limits.torch:
        print("torch with a GPU is not there: no limits, and no peer", flush=True)
    results = []
    for row in plan.ROWS:
        for result in measure.measure(row, machine):
            results.append(result)
            print(f"{budget.spent():4.0f} s  {result.what}, {result.variant}: {result.reason or report.cell(result)}", flush=True)
            found.update(limits=machine.limits.taken, rows=[dataclasses.asdict(result) for result in results])
            write(arguments.json, found)
    return results


def write(path, found):
    if path:
        path.write_text(json.dumps(found, indent=2) + "\n")


def main():
    arguments = parse_arguments()
    budget = processes.Budget(arguments.seconds)
    checked = None if arguments.no_check else golden.check(arguments.folder)
    wrong = {result["variant"] for result in checked or () if not result["right"]}
    sanitized = golden.sanitize(arguments.folder) if arguments.sanitize else []
    title = f"{datetime.date.today()}, {device_name()}. {summary(checked)}"
    found = {"title": title, "checked": checked, "sanitized": sanitized}
    write(arguments.json, found)
    results = [] if arguments.no_time else time_rows(arguments, budget, wrong, found)
    if results:
        print("\n" + report.markdown(title, results, list(plan.VARIANTS)), flush=True)
    reported = any(result["counts"] and not result["clean"] for result in sanitized)
    if wrong:
        print(f"wrong on golden models, and not timed: {', '.join(sorted(wrong))}", file=sys.stderr)
    sys.exit(bool(wrong) or reported or any(result.failed for result in results))


if __name__ == "__main__":
    main()
