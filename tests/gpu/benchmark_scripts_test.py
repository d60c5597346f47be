#!/usr/bin/env python3
"""benchmarks/gpu prepares and runs without a GPU, on a driver that computes nothing (tests/unit/device/fake_driver.h): what is
checked, timed, left out and refused, and what the table says. Times themselves are of no interest.

    benchmark_scripts_test.py BUILD FAKE_CUDA"""

import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
GPU = ROOT / "benchmarks" / "gpu"
sys.path.insert(0, str(GPU))

import bundle
import measure
import plan
import report

BUILD, DRIVER = (pathlib.Path(word).resolve() for word in sys.argv[1:3])

# One second for 13 runs each: a copy of 2 GiB in 1 s, a matmul in 1 s.
TORCH = """
class Event:
    def __init__(self, enable_timing): pass
    def record(self): pass
    def elapsed_time(self, end): return 1e3
class cuda:
    Event = Event
    is_available = staticmethod(lambda: True)
    synchronize = empty_cache = staticmethod(lambda: None)
class Tensor:
    def copy_(self, other): pass
    def __matmul__(self, other): pass
uint8 = bfloat16 = None
empty = randn = empty_like = lambda *sizes, **options: Tensor()
"""
PEER = 'print(\'{"decode_tokens_per_second": 0.001}\')\n'

# In place of a golden program: transformers' own logits.
RIGHT = """#!/usr/bin/env python3
import json, pathlib, sys
sys.path.insert(0, SCRIPTS)
import golden, struct
folder, words = pathlib.Path(__file__).resolve().parent, sys.argv
ids, out = words[words.index("--tokens") + 1], words[words.index("-o") + 1]
name = next(name for name in json.load(open(folder / "golden.json")) if golden.read_ids(folder / f"{name}.ids.npy") == ids)
rows, positions = golden.read_npy(folder / f"{name}.logits.npy"), json.load(open(folder / "golden.json"))[name]["positions"]
table = [rows[positions.index(at)] if at in positions else [0.0] * len(rows[0]) for at in range(ids.count(",") + 1)]
header = str({"descr": "<f4", "fortran_order": False, "shape": (len(table), len(rows[0]))}).encode()
with open(out, "wb") as file:
    file.write(b"\\x93NUMPY\\x01\\x00" + struct.pack("<H", len(header)) + header)
    for row in table:
        file.write(struct.pack(f"<{len(row)}f", *row))
"""
SANITIZER = """#!/bin/sh
echo "========= COMPUTE-SANITIZER"
[ "$2" = "$BAD_TOOL" ] && { echo "========= a hazard of $2"; echo "========= ERROR SUMMARY: 1 error"; exit 9; }
echo "========= ERROR SUMMARY: 0 errors"
"""


def tiny_config(name):
    """The configuration of that name, narrow."""
    config = json.loads((ROOT / "benchmarks" / "configs" / f"{name}.json").read_text())
    return {**config, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2,
            "head_dim": 32, "vocab_size": 512}


def write_program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def run(*words, **environment):
    settings = {"QWENCH_GPU_DRIVER": str(DRIVER), "QWENCH_PTXAS": "none", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True,
                          env={**os.environ, **settings, **environment})


class Scripts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.holder = tempfile.TemporaryDirectory()
        cls.scratch = pathlib.Path(cls.holder.name)
        cls.configs = cls.scratch / "configs"
        cls.configs.mkdir()
        for name in ("qwen3-0.6b", "qwen3-8b-4-layers"):
            (cls.configs / f"{name}.json").write_text(json.dumps(tiny_config(name)))
        cls.prepared = cls.prepare("gpu", "--golden", "dense-one-layer", "--shapes", "0.6b", "8b")
        assert cls.prepared.returncode == 0, cls.prepared.stderr
        subprocess.run(["tar", "xJf", cls.scratch / "gpu.tar.xz", "-C", cls.fresh("there")], check=True)
        cls.folder = cls.scratch / "there" / "gpu"
        cls.torch = cls.fresh("torch")
        (cls.torch / "torch.py").write_text(TORCH)
        (cls.folder / "peer.py").write_text(PEER)

    @classmethod
    def tearDownClass(cls):
        cls.holder.cleanup()

    @classmethod
    def fresh(cls, name):
        (cls.scratch / name).mkdir()
        return cls.scratch / name

    @classmethod
    def prepare(cls, out, *words):
        return run(GPU / "prepare.py", cls.scratch / out, "--build", BUILD, "--target", "cuda", "--gpu", "sm_90a", "--configs",
                   cls.configs, *words)

    def time(self, *words, torch=True, folder=None, **environment):
        """(run, the rows of its JSON by what and variant)."""
        out = self.scratch / "out.json"
        folder = folder or self.folder
        environment = {**({"PYTHONPATH": str(self.torch)} if torch else {}), **environment}
        done = run(folder / "run.py", folder, "--json", out, *words, **environment)
        found = json.loads(out.read_text())
        return done, {(row["what"], row["variant"]): row for row in found.get("rows", [])}

    def copy_with_right_models(self, name):
        folder = self.scratch / name
        shutil.copytree(self.folder, folder)
        for program in folder.glob("golden/*/*-*"):
            write_program(program, RIGHT.replace("SCRIPTS", repr(str(folder))))
        return folder

    def test_prepared_programs_travel_in_one_archive_whose_size_is_told(self):
        self.assertRegex(self.prepared.stdout, r"gpu\.tar\.xz: \d+\.\d MiB, 14 programs\n$")
        for program in ("golden/dense-one-layer/f32-persistent", "golden/dense-one-layer/bf16-wgmma", "shapes/0.6b/persistent",
                        "shapes/8b/wgmma"):
            self.assertTrue((self.folder / program).stat().st_mode & stat.S_IXUSR, program)
        self.assertFalse((self.folder / "shapes/0.6b/wgmma").exists(), "no row prefills 0.6B")

    def test_what_does_not_travel_is_refused(self):
        done = self.prepare("heavy", "--golden", "--shapes", "--most-mebibytes", "0.001")
        self.assertEqual(done.returncode, 1)
        self.assertIn("heavy.tar.xz: expected at most 0.001 MiB, found 0.0", done.stderr)
        self.assertIn("expected a folder that is empty or not there", self.prepare("gpu").stderr)
        done = self.prepare("lost", "--golden", "--shapes", "30b-a3b")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("qwen3-30b-a3b-6-layers", done.stderr)

    def test_wrong_logits_are_named_and_refuse_timing(self):
        done, rows = self.time()
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout.count("WRONG  "), 7)
        self.assertIn("0 of 7 golden programs are right.", done.stdout)
        self.assertIn("wrong on golden models, and not timed: dependent, graph-mma, persistent, wgmma", done.stderr)
        self.assertEqual({row["value"] for row in rows.values()}, {None})
        self.assertEqual(rows["decode 0.6B bf16", "graph-mma"]["reason"], "not timed: golden models are wrong")

    def test_a_variant_that_is_wrong_is_the_only_one_not_timed(self):
        folder = self.copy_with_right_models("right-but-wgmma")
        shutil.copy(self.folder / "golden/dense-one-layer/bf16-wgmma", folder / "golden/dense-one-layer/bf16-wgmma")
        done, rows = self.time(folder=folder)
        self.assertEqual(done.returncode, 1)
        self.assertIn("right  dense-one-layer bf16 persistent: difference 0.0e+00", done.stdout)
        self.assertIn("WRONG  dense-one-layer bf16 wgmma", done.stdout)
        self.assertGreater(rows["prefill 8B bf16, 2048 tokens", "graph-mma"]["value"], 0)
        self.assertEqual(rows["prefill 8B bf16, 2048 tokens", "wgmma"]["reason"], "not timed: golden models are wrong")

    def test_unchecked_rows_are_timed_beside_limits_and_peer(self):
        done, rows = self.time("--no-check")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("Golden models were not checked.", done.stdout)
        for variant in ("graph-mma", "persistent", "dependent"):
            row = rows["decode 8B bf16", variant]
            self.assertAlmostEqual(row["limit"], 2 * 2**30 / 1e9)
            self.assertAlmostEqual(row["ratio"], row["raw"]["gigabytes_per_second"] / row["limit"])
            peer = rows["decode 0.6B bf16 beside transformers", variant]
            self.assertAlmostEqual(peer["ratio"], rows["decode 0.6B bf16", variant]["value"] / 0.001)
        for variant in ("graph-mma", "wgmma"):
            row = rows["prefill 8B bf16, 2048 tokens", variant]
            self.assertEqual(row["raw"]["prompt"], 2048)
            self.assertAlmostEqual(row["ratio"], row["raw"]["gigaflops"] / 1e3 / (2 * 8192**3 / 1e12))
        self.assertNotIn(("decode 8B bf16", "wgmma"), rows)
        self.assertEqual(len(rows["start to first token, 0.6B bf16", "graph-mma"]["raw"]["start_to_first_token_seconds"]), 5)
        self.assertEqual(rows["decode 8B int4", "persistent"]["reason"], "not run: not prepared")
        self.assertIn("\n- decode 8B int4, persistent: not run: not prepared\n", done.stdout)
        self.assertRegex(done.stdout, r"\n\| decode 0.6B bf16 \| copy 2 GB/s( \| \d+%, \d+ tokens/s){3} \|  \| >= 70% \| (met|missed) \|\n")
        self.assertRegex(done.stdout, r"\n\| decode 0.6B bf16 beside transformers \| transformers 0 tokens/s \|.*x, .* \| >= 3.00x \| met \|\n")

    def test_rows_that_do_not_fit_the_time_are_listed(self):
        done, rows = self.time("--no-check", "--seconds", "0")
        self.assertEqual(done.returncode, 0)
        self.assertTrue(rows)
        self.assertEqual({row["value"] for row in rows.values()}, {None})
        self.assertIn("- decode 8B bf16, graph-mma: not run: takes some 12 s, 0 s are left\n", done.stdout)
        self.assertRegex(done.stdout, r"\n\| decode 8B bf16 \|  \| not run \| not run \| not run \|  \| >= 85% \| not measured \|\n")

    def test_without_torch_speeds_have_no_ratio_and_no_peer(self):
        (self.scratch / "none").mkdir()
        (self.scratch / "none" / "torch.py").write_text("raise ImportError")
        done, rows = self.time("--no-check", torch=False, PYTHONPATH=str(self.scratch / "none"))
        self.assertEqual(done.returncode, 0, done.stderr)
        row = rows["decode 0.6B bf16", "graph-mma"]
        self.assertGreater(row["value"], 0)
        self.assertIsNone(row["ratio"])
        self.assertEqual(rows["decode 0.6B bf16 beside transformers", "graph-mma"]["reason"], "not run: torch with a GPU is not there")
        self.assertRegex(done.stdout, r"\n\| decode 0.6B bf16 \| ( \| \d+ tokens/s){3} \|  \| >= 70% \| not measured \|\n")

    def test_a_row_that_fails_says_why_and_the_others_go_on(self):
        done, rows = self.time("--no-check", QWENCH_FAKE_GPU_FAIL="cuGraphLaunch")
        self.assertEqual(done.returncode, 1)
        self.assertTrue(rows["decode 8B bf16", "graph-mma"]["failed"])
        self.assertIn("cuGraphLaunch", rows["decode 8B bf16", "graph-mma"]["reason"])
        self.assertGreater(rows["decode 8B bf16", "persistent"]["value"], 0)

    def test_reports_of_the_sanitizer_count_but_for_initcheck(self):
        tools = self.scratch / "tools"
        write_program(tools / "compute-sanitizer", SANITIZER)
        for bad, code in (("", 0), ("initcheck", 0), ("racecheck", 1)):
            done, _ = self.time("--no-check", "--no-time", "--sanitize", PATH=f"{tools}:{os.environ['PATH']}", BAD_TOOL=bad)
            self.assertEqual(done.returncode, code, done.stdout)
            self.assertEqual(done.stdout.count("REPORTED  "), 4 if bad else 0)
            self.assertEqual("a hazard of racecheck" in done.stdout, code == 1)
        done, _ = self.time("--no-check", "--no-time", "--sanitize", PATH="/usr/bin:/bin")
        self.assertEqual((done.returncode, "compute-sanitizer is not found" in done.stdout), (1, True))

    def test_an_empty_depth_is_not_computed_and_counts_as_read(self):
        row = next(row for row in plan.ROWS if isinstance(row, plan.Bench) and row.depth and not row.filled)
        words = measure.bench_command(row, "program", ["decode"])
        self.assertEqual(words[-3:], ["-d", plan.LONG, "--empty-depth"])
        program, log = self.folder / "shapes/0.6b/graph-mma", self.scratch / "log"
        environment = {**os.environ, "QWENCH_GPU_DRIVER": str(DRIVER), "QWENCH_FAKE_GPU_LOG": str(log)}
        done = subprocess.run([program, "bench", "--json", "-r", "1", "-p", "0", "-n", "4", "-d", "8000", "--empty-depth"], env=environment,
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        out = json.loads(done.stdout)
        self.assertEqual((out["depth"], out["empty_depth"]), (8000, True))
        self.assertNotIn("launch prefill", log.read_text())
        result = measure.bench_result(row, "decode", row.decode, "graph-mma", out, {"copy": 1000.0}, 1)
        self.assertAlmostEqual(result.ratio, (out["gigabytes_per_second"] + out["cache_gigabytes_per_second"]) / 1000)

    def test_weights_can_be_put_into_a_program(self):
        program, full = self.folder / "shapes/0.6b/graph-mma", self.scratch / "full"
        size = json.loads(subprocess.run([program, "info", "--json"], capture_output=True).stdout)["weight_bytes"]
        bundle.append_weights(program, full, size)
        info = json.loads(subprocess.run([full, "info", "--json"], capture_output=True, check=True).stdout)
        self.assertIn(size, [section["bytes"] for section in info["sections"]])
        with self.assertRaisesRegex(ValueError, "expected a bundle of version 1 at its end"):
            bundle.append_weights(pathlib.Path("/bin/sh"), full, size)


class Table(unittest.TestCase):
    def line(self, *results):
        return report.line(results, ["a", "b"])

    def test_the_best_variant_is_judged(self):
        low, high = (measure.Result("decode", name, 0.7, "decode", 100, ratio, 3000) for name, ratio in (("a", 0.6), ("b", 0.7)))
        self.assertEqual(self.line(low, high), "| decode | copy 3000 GB/s | 60%, 100 tokens/s | 70%, 100 tokens/s | >= 70% | met |")
        self.assertEqual(self.line(low), "| decode | copy 3000 GB/s | 60%, 100 tokens/s |  | >= 70% | missed |")

    def test_a_start_is_judged_by_its_seconds(self):
        for seconds, verdict in ((0.5, "met"), (1.5, "missed")):
            result = measure.Result("start", "a", 1.0, "start", seconds)
            self.assertEqual(self.line(result), f"| start |  | {seconds:.2f} s |  | <= 1 s | {verdict} |")

    def test_failures_are_told_from_what_was_not_run(self):
        failed = measure.Result("decode", "a", 0.7, "decode", reason="it fell", failed=True)
        late = measure.Result("decode", "b", 0.7, "decode", reason="not run: late")
        self.assertEqual(self.line(failed, late), "| decode |  | failed | not run | >= 70% | not measured |")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
