// Where a test program's models run: on the CPU, or on a GPU of this machine.
#pragma once

#include <string>
#include <vector>

namespace qwench::e2e {

struct Machine {
  std::vector<std::string> options; ///< of `qwench compile`
  std::string missing;              ///< why nothing can run; empty: it can
};

/// The machine that this test program was linked for.
const Machine &machine();

} // namespace qwench::e2e
