#!/usr/bin/env python3
"""The lint finds each kind of violation when one is planted, and nothing in a tree that keeps the rules."""
import os
import subprocess
import sys
import tempfile
import unittest

LINT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "check_rooms.py")
OUTSIDE = "/" + "work/there"

GOOD = {
    "compiler/driver/main.cpp": '#include "passes/fuse/Fuse.h"\n#include "frontends/huggingface/config.h"\n'
                                '#include "runtime/abi/result.h"\n#include "mlir/IR/Builders.h"\n#include <vector>\n',
    "compiler/target/cuda/a.cpp": '#include "compiler/target/gpu/map.h"\n',
    "frontends/huggingface/tokenizer/check.cpp": '#include "runtime/tokenizer/template.h"\n',
    "frontends/huggingface/import/import.cpp": '#include "mlir/IR/Builders.h"\n',
    "passes/fuse/Fuse.h": '#include "dialects/Qwen.h"\n',
    "runtime/core/run.cpp": '#include "runtime/abi/program.h"\n',
    "tests/unit/a.cpp": '#include "compiler/driver/main.h"\n#include "tests/unit/fixtures.h"\n',
    "docs/long.md": "text\n" * 600,
    "passes/long.cpp": "int a;\n" * 500,
}

BAD = {
    "passes_to_compiler": (
        "passes/fuse/Fuse.cpp", '#include <vector>\n#include "compiler/driver/main.h"\n',
        "passes/fuse/Fuse.cpp:2: expected passes to include only passes, dialects, runtime/abi, found "
        "compiler/driver/main.h"),
    "passes_to_frontends": (
        "passes/a.cpp", '#include "frontends/huggingface/config.h"\n',
        "passes/a.cpp:1: expected passes to include only passes, dialects, runtime/abi, found "
        "frontends/huggingface/config.h"),
    "dialects_to_passes": (
        "dialects/Qwen.cpp", '#include "passes/Passes.h"\n',
        "dialects/Qwen.cpp:1: expected dialects to include only dialects, runtime/abi, found passes/Passes.h"),
    "frontends_to_runtime": (
        "frontends/a.h", '#include "runtime/core/session.h"\n',
        "frontends/a.h:1: expected frontends to include only frontends, dialects, runtime/abi, runtime/tokenizer, "
        "found runtime/core/session.h"),
    "compiler_to_runtime": (
        "compiler/a.cpp", '#include "runtime/abi2/x.h"\n',
        "compiler/a.cpp:1: expected compiler to include only compiler, dialects, passes, frontends, runtime/abi, "
        "found runtime/abi2/x.h"),
    "runtime_to_compiler": (
        "runtime/core/a.cpp", '#include "compiler/pack/pack.h"\n',
        "runtime/core/a.cpp:1: expected runtime to include only runtime, found compiler/pack/pack.h"),
    "runtime_to_llvm": (
        "runtime/core/a.cpp", "#  include <llvm/ADT/StringRef.h>\n",
        "runtime/core/a.cpp:1: expected no MLIR, LLVM or lld in runtime, found llvm/ADT/StringRef.h"),
    "reader_to_mlir": (
        "frontends/huggingface/a.cpp", '#include "mlir/IR/Builders.h"\n',
        "frontends/huggingface/a.cpp:1: expected no MLIR, LLVM or lld in frontends/huggingface, found "
        "mlir/IR/Builders.h"),
    "into_tests": (
        "frontends/a.cpp", '#include "tests/unit/fixtures.h"\n',
        "frontends/a.cpp:1: expected nothing from tests outside tests, found tests/unit/fixtures.h"),
    "backend_to_backend": (
        "compiler/target/rocm/a.cpp", '#include "compiler/target/cuda/emit.h"\n',
        "compiler/target/rocm/a.cpp:1: expected compiler/target/rocm to include no other backend, found "
        "compiler/target/cuda/emit.h"),
    "too_long": (
        "passes/a.cpp", "int a;\n" * 501, "passes/a.cpp:501: expected at most 500 lines, found 501"),
    "outside": (
        "docs/a.md", f"see {OUTSIDE}\n", "docs/a.md:1: expected no path outside the repository, found /" + "work/"),
}


def lint(files):
    """Exit code and lines of the lint over a tree of these files."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w") as file:
                file.write(text)
        done = subprocess.run([sys.executable, LINT, root], capture_output=True, text=True)
        return done.returncode, done.stdout.splitlines()


class CheckRooms(unittest.TestCase):
    def test_good_tree_passes(self):
        self.assertEqual(lint(GOOD), (0, []))

    def test_each_planted_violation_fails(self):
        for name, (path, text, expected) in BAD.items():
            with self.subTest(name):
                self.assertEqual(lint({**GOOD, path: text}), (1, [expected]))

    def test_include_beside_the_file_fails(self):
        code, lines = lint({"passes/a.cpp": '#include "a.h"\n', "passes/a.h": ""})
        self.assertEqual((code, lines), (1, ["passes/a.cpp:1: expected an include rooted at the repository, found a.h"]))


if __name__ == "__main__":
    unittest.main()
