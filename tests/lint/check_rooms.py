#!/usr/bin/env python3
"""Checks what the compiler cannot: who includes whom, how long files are, and that no text names a place outside.

    check_rooms.py [ROOT]

Prints one line per violation, PATH:LINE: what, expected, found; exit code 1 if there is any.
"""
import os
import re
import subprocess
import sys

MAX_LINES = 500
SOURCE_SUFFIXES = (".c", ".cc", ".cpp", ".h", ".hpp", ".inc", ".td", ".py", ".sh", ".cmake", ".mlir", ".ll")
C_SUFFIXES = (".c", ".cc", ".cpp", ".h", ".hpp", ".inc", ".td")

ROOMS = ("dialects", "passes", "frontends", "compiler", "runtime", "tests", "examples", "benchmarks")

# The room (longest matching prefix) and the prefixes it may include besides its own.
MAY_INCLUDE = {
    "dialects": ("runtime/abi",),
    "passes": ("dialects", "runtime/abi"),
    "frontends": ("dialects", "runtime/abi", "runtime/tokenizer"),
    "compiler": ("dialects", "passes", "frontends", "runtime/abi"),
    "runtime": (),
    "benchmarks": ("compiler", "dialects", "frontends", "passes", "runtime"),  # what they measure
    "examples": ("runtime/abi",),
}
BACKENDS = ("compiler/target/x86", "compiler/target/cuda", "compiler/target/rocm")
# What is built without the compiler's libraries: what ships in the result, and the readers of a model directory.
WITHOUT_COMPILER_LIBRARIES = ("runtime", "frontends/huggingface")
EXCEPT = ("frontends/huggingface/import",)
COMPILER_LIBRARIES = ("mlir", "mlir-c", "llvm", "llvm-c", "lld", "clang")

INCLUDE = re.compile(r'^\s*#?\s*include\s*([<"])([^>"]+)[>"]')
# Spelled apart so that this file passes its own check.
FORBIDDEN_TEXT = re.compile(r"(?<![\w./-])/" + r"work/|(?<![\w./-])(\.\./)?shared" + r"/(?![\w-]*\.(so|dll))")


def inside(path, prefix):
    return path == prefix or path.startswith(prefix + "/")


def tracked_files(root):
    """Files of the repository: as git knows them, or without git all but build directories."""
    command = ["git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    if os.path.exists(os.path.join(root, ".git")):
        done = subprocess.run(command, capture_output=True)
        if done.returncode == 0:
            listed = done.stdout.decode().split("\0")
            return sorted(f for f in listed if f and os.path.isfile(os.path.join(root, f)))
    files = []
    for directory, names, leaves in os.walk(root):
        names[:] = [n for n in names if not n.startswith("build")]
        files += [os.path.relpath(os.path.join(directory, leaf), root) for leaf in leaves]
    return sorted(files)


def include_problem(path, included):
    """Why a file may not include another, or None."""
    room = path.split("/")[0]
    target = included.split("/")[0]
    for prefix in WITHOUT_COMPILER_LIBRARIES:
        if inside(path, prefix) and target in COMPILER_LIBRARIES and not any(inside(path, e) for e in EXCEPT):
            return f"expected no MLIR, LLVM or lld in {prefix}, found {included}"
    if target not in ROOMS:
        return None
    if target == "tests" and room != "tests":
        return f"expected nothing from tests outside tests, found {included}"
    if room in MAY_INCLUDE and target != room:
        allowed = MAY_INCLUDE[room]
        if not any(inside(included, prefix) for prefix in allowed):
            return f"expected {room} to include only {', '.join((room,) + allowed)}, found {included}"
    for backend in BACKENDS:
        others = [b for b in BACKENDS if b != backend]
        if inside(path, backend) and any(inside(included, other) for other in others):
            return f"expected {backend} to include no other backend, found {included}"
    return None


def is_rooted(root, path, included):
    """Whether a quoted include starts at the repository, not beside the file."""
    beside = os.path.join(root, os.path.dirname(path), included)
    return included.split("/")[0] in ROOMS or not os.path.exists(beside) or path.endswith(".td")


def check_includes(root, path, lines):
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quote, included = match.groups()
        if quote == '"' and not is_rooted(root, path, included):
            yield f"{path}:{number}: expected an include rooted at the repository, found {included}"
        problem = include_problem(path, included)
        if problem:
            yield f"{path}:{number}: {problem}"


def check_file(root, path):
    with open(os.path.join(root, path), "rb") as file:
        data = file.read()
    if b"\0" in data:
        return
    lines = data.decode("utf-8", "replace").splitlines()
    is_source = path.endswith(SOURCE_SUFFIXES) or os.path.basename(path) == "CMakeLists.txt"
    if is_source and len(lines) > MAX_LINES:
        yield f"{path}:{len(lines)}: expected at most {MAX_LINES} lines, found {len(lines)}"
    if path.endswith(C_SUFFIXES):
        yield from check_includes(root, path, lines)
    for number, line in enumerate(lines, 1):
        match = FORBIDDEN_TEXT.search(line)
        if match:
            yield f"{path}:{number}: expected no path outside the repository, found {match.group(0)}"


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    problems = [problem for path in tracked_files(root) for problem in check_file(root, path)]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
