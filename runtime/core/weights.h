// The packed weights in memory: read from a file, mapped, or made up.
#pragma once

#include "runtime/core/model_file.h"
#include "runtime/core/team.h"

namespace qwench {

/// Packed weights, 2 MiB aligned where they are copied, page aligned where they are mapped.
class Weights {
public:
  /// Loads the weights of `program` with all threads of the team. Copied into memory with 2 MiB pages when
  /// that takes at most half of what is available, because decode reads them faster from there; mapped
  /// otherwise.
  static Result<Weights> load(const QwenchProgram &program, const ModelFile &model, QwenchTeam &team);

  const uint8_t *data() const { return memory.data(); }
  /// "copied", "mapped" or "generated", for `info` and `bench`.
  const char *how() const { return origin; }

private:
  Mapping memory;
  const char *origin = "";
};

/// Fills the tensors' ranges of `memory` with values that depend only on the seed and the place, not on the
/// threads: nearly normal (the sum of four uniform bytes) times the deviation, or 1 + 0.1 times that for
/// Init::Ones.
void fillRandom(const RandomWeights &random, uint8_t *memory, QwenchTeam &team);

} // namespace qwench
