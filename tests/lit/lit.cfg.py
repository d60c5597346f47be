# Every .mlir below this folder is a test; its RUN lines may name qwench-opt, qwench, FileCheck and not.
import os

import lit.formats
from lit.llvm import llvm_config
from lit.llvm.subst import ToolSubst

config.name = "qwench"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.qwench_binary_root, "tests", "lit")

programs = os.path.join(config.qwench_binary_root, "bin")
llvm_config.use_default_substitutions()
llvm_config.add_tool_substitutions(
    ["qwench-opt", ToolSubst("qwench", unresolved="ignore")], [programs, config.llvm_tools_dir])

config.substitutions.append(("%golden", os.path.join(os.path.dirname(os.path.dirname(__file__)), "golden", "models")))
config.substitutions.append(
    ("%shapes", os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(__file__))), "benchmarks", "configs")))

# Tests of the driver say REQUIRES: qwench, so that the IR tests also run where only qwench-opt is built.
if os.path.exists(os.path.join(programs, "qwench")):
    config.available_features.add("qwench")
