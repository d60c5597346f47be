// Which kernels are measured, on which shapes.
#pragma once

#include "benchmarks/kernels/lab.h"

#include <string>
#include <vector>

namespace qwench::kernels {

/// All of them. `configs` is the directory of the shapes' configurations.
std::vector<Spec> specs(const std::string &configs);

} // namespace qwench::kernels
