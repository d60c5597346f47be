// qwen-interpret: evaluates a module from the command line of qwench-opt.
#pragma once

namespace qwench {

/// Registers `--qwen-interpret`.
void registerInterpretPass();

} // namespace qwench
