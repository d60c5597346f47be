// NumPy's .npy files, format version 1.0:
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once

#include <cstdint>
#include <string>

namespace qwench::app {

/// The header of a C-order little-endian float32 array [rows, columns]; the values follow it directly.
std::string npyHeader(int64_t rows, int64_t columns);

} // namespace qwench::app
