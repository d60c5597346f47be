"""The table of benchmarks/RESULTS.md, from results."""

LIMITS = {"decode": "copy {:.0f} GB/s", "prefill": "matmul {:.0f} TFLOP/s", "peer": "transformers {:.0f} tokens/s"}


def shown_ratio(kind, ratio):
    return f"{ratio:.2f}x" if kind == "peer" else f"{ratio:.0%}"


def cell(result):
    """A variant's figure."""
    if result.reason:
        return "failed" if result.failed else "not run"
    if result.kind == "start":
        return f"{result.value:.2f} s"
    speed = f"{result.value:.0f} tokens/s"
    return f"{shown_ratio(result.kind, result.ratio)}, {speed}" if result.ratio is not None else speed


def goal_of(result):
    return f"<= {result.goal:g} s" if result.kind == "start" else f">= {shown_ratio(result.kind, result.goal)}"


def met(result):
    return result.value <= result.goal if result.kind == "start" else result.ratio >= result.goal


def verdict(results):
    """Of the variants of a row, the best one's."""
    judged = [met(result) for result in results if (result.value if result.kind == "start" else result.ratio) is not None]
    return ("met" if any(judged) else "missed") if judged else "not measured"


def line(results, variants):
    by_variant = {result.variant: result for result in results}
    limit = next((LIMITS[result.kind].format(result.limit) for result in results if result.limit), "")
    cells = [cell(by_variant[name]) if name in by_variant else "" for name in variants]
    return "| " + " | ".join([results[0].what, limit, *cells, goal_of(results[0]), verdict(results)]) + " |"


def markdown(title, results, variants):
    """The table, and below it what was not measured, with the reasons."""
    rows = {}
    for result in results:
        rows.setdefault(result.what, []).append(result)
    header = ["", "limit", *variants, "goal", "best variant"]
    text = [title, "", "| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    text += [line(row, variants) for row in rows.values()]
    missing = [f"- {result.what}, {result.variant}: {result.reason}" for result in results if result.reason]
    return "\n".join(text + (["", "Not measured:", "", *missing] if missing else [])) + "\n"
