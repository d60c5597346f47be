// Outcomes that calls of a session have in common.
#pragma once

#include "runtime/core/session.h"

#include <string>
#include <utility>

namespace qwench {

inline Outcome argument(std::string message) { return {QWENCH_ERROR_ARGUMENT, std::move(message)}; }

inline std::string expectedFound(const char *what, const std::string &expected, int64_t found) {
  return std::string(what) + ": expected " + expected + ", found " + std::to_string(found);
}

/// A device's errors are of this machine, unless the program contradicts itself.
inline Outcome fromDevice(const Error &error) {
  return {error.fault == Error::Fault::User ? QWENCH_ERROR_SYSTEM : QWENCH_ERROR_MODEL, error.message};
}

} // namespace qwench
