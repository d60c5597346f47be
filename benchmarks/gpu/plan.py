"""What is compiled, checked and timed: the lists that prepare.py and run.py share.

Rows stand in the order of importance: when time runs out, the last ones are left. `seconds` is what one program of the row
takes on an H100, estimated: start and weights made at 4 GB/s (generated in memory by 16 cores, copied once, sent to the GPU),
and the steps at half of the goal's speed."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to compile. `measures`: what of a model it can change, "decode", "prefill" or both."""
    options: tuple
    measures: tuple
    only_gpu: str = ""  # the one architecture that has it; "": all


# Beside the first, each differs from it in one thing, so that what is wrong or slow is that thing. Another one is another line.
VARIANTS = {
    "graph-mma": Variant(("--schedule", "graph", "--matrix-unit", "mma"), ("decode", "prefill")),
    "persistent": Variant(("--schedule", "persistent", "--matrix-unit", "mma"), ("decode",)),
    "dependent": Variant(("--schedule", "graph", "--matrix-unit", "mma", "--dependent-launch", "on"), ("decode",), only_gpu="sm_90a"),
    "wgmma": Variant(("--schedule", "graph", "--matrix-unit", "wgmma"), ("prefill",), only_gpu="sm_90a"),
}
BASE = next(iter(VARIANTS))


def variants_for(gpus):
    """Names of the variants that programs for these architectures ("sm_80,sm_90a") can have."""
    return [name for name, variant in VARIANTS.items() if variant.only_gpu in ("", gpus)]


GOLDEN = ("dense-one-layer", "dense-base", "dense-bias", "dense-hd128", "dense-v5-sliding", "moe-base", "moe-hd128-one-layer",
          "moe-odd-sizes", "rope-yarn", "rope-longrope")
SANITIZED = ("dense-one-layer", "moe-hd128-one-layer")  # of those, the ones that compute-sanitizer runs


@dataclasses.dataclass(frozen=True)
class Shape:
    """A model with random weights: a file of benchmarks/configs, with as many layers as the released model has."""
    config: str
    layers: int
    dtype: str
    context: int = 8192


LONG = 131072
SHAPES = {
    "0.6b": Shape("qwen3-0.6b", 28, "bf16"),
    "8b": Shape("qwen3-8b-4-layers", 36, "bf16"),
    "30b-a3b": Shape("qwen3-30b-a3b-6-layers", 48, "bf16"),
    "8b-int4": Shape("qwen3-8b-4-layers", 36, "int4"),
    "30b-a3b-int4": Shape("qwen3-30b-a3b-6-layers", 48, "int4"),
    "8b-long": Shape("qwen3-8b-4-layers", 36, "bf16", LONG + 128),
}


@dataclasses.dataclass(frozen=True)
class Goal:
    """A row of the table. `ratio`: of the limit, at least; of a time in seconds (Start), at most."""
    what: str
    ratio: float


@dataclasses.dataclass(frozen=True)
class Bench:
    """`bench` of a shape, once for each variant: decode beside a copy, prefill beside a matmul."""
    shape: str
    seconds: float
    decode: Goal = None
    prefill: Goal = None
    prompt: int = 512       # tokens
    generated: int = 64     # tokens
    depth: int = 0          # positions before them; their cache is read, so it counts
    filled: bool = False    # whether the depth is computed; else it is zeros
    variants: tuple = None  # None: all that change what it measures


@dataclasses.dataclass(frozen=True)
class Start:
    """Start of a process to its first token, weights in the executable and in the page cache."""
    shape: str
    seconds: float
    goal: Goal


@dataclasses.dataclass(frozen=True)
class Peer:
    """Decode beside transformers' (peer.py) of the same shape: times as fast."""
    shape: str
    seconds: float
    goal: Goal


ROWS = (
    Bench("0.6b", 6, decode=Goal("decode 0.6B bf16", 0.70), generated=256),
    Bench("8b", 12, decode=Goal("decode 8B bf16", 0.85), prefill=Goal("prefill 8B bf16, 2048 tokens", 0.60), prompt=2048),
    Start("0.6b", 15, Goal("start to first token, 0.6B bf16", 1.0)),
    Peer("0.6b", 90, Goal("decode 0.6B bf16 beside transformers", 3.0)),
    Bench("30b-a3b", 28, decode=Goal("decode 30B-A3B bf16, active weights", 0.70),
          prefill=Goal("prefill 30B-A3B bf16, 4096 tokens, active operations", 0.45), prompt=4096),
    Bench("8b-int4", 8, decode=Goal("decode 8B int4", 0.65)),
    Bench("30b-a3b-int4", 12, decode=Goal("decode 30B-A3B int4, active weights", 0.65)),
    Bench("8b-long", 12, decode=Goal("decode 8B bf16 behind 128 K tokens", 0.75), depth=LONG),
    Peer("8b", 90, Goal("decode 8B bf16 beside transformers", 3.0)),
    Bench("8b-long", 60, decode=Goal("the same, the 128 K tokens computed", 0.75), depth=LONG, filled=True, variants=(BASE,)),
)
