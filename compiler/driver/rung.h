// The rungs of `--emit`: where compilation stops.
#pragma once

#include "runtime/abi/result.h"

#include <string>
#include <string_view>

namespace qwench {

/// In the order of compilation.
enum class Rung { Model, Fused, Planned, Kernels, LLVM, Assembly, Ptx, Hsaco, Object, Weights, Shared, Executable };

/// As `--emit` spells it: "exe".
std::string_view name(Rung rung);
/// An error lists the rungs there are.
Result<Rung> parseRung(std::string_view name);
/// "model, fused, ..."
std::string rungNames();

/// Text goes to the terminal unless -o says otherwise.
inline bool isText(Rung rung) { return rung <= Rung::Ptx; }
/// Needs the bytes of the weights, or a seed to make them.
inline bool needsWeights(Rung rung) { return rung >= Rung::Weights; }

} // namespace qwench
