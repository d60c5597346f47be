#include "compiler/driver/rung.h"

#include <iterator>

namespace qwench {

namespace {
constexpr std::string_view kNames[] = {"model", "fused", "planned", "kernels", "llvm",
                                       "asm",   "ptx",   "hsaco",   "obj",     "weights", "shared", "exe"};
} // namespace

std::string_view name(Rung rung) { return kNames[static_cast<size_t>(rung)]; }

Result<Rung> parseRung(std::string_view name) {
  for (size_t i = 0; i < std::size(kNames); i++)
    if (kNames[i] == name)
      return static_cast<Rung>(i);
  return userError("--emit: expected one of " + rungNames() + ", found '" + std::string(name) + "'");
}

std::string rungNames() {
  std::string result;
  for (std::string_view name : kNames)
    result.append(result.empty() ? "" : ", ").append(name);
  return result;
}

} // namespace qwench
