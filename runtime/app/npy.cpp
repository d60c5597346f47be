#include "runtime/app/npy.h"

namespace qwench::app {

std::string npyHeader(int64_t rows, int64_t columns) {
  std::string description = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) +
                            ", " + std::to_string(columns) + "), }";
  // Magic, version and length take 10 bytes; the values begin at a multiple of 64.
  description.append(63 - (10 + description.size()) % 64, ' ');
  description += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(description.size() & 0xff);
  header += static_cast<char>(description.size() >> 8);
  return header + description;
}

} // namespace qwench::app
