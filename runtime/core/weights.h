// The packed weights in memory: read from a file, mapped, or made up.
#pragma once

#include "runtime/core/model_file.h"
#include "runtime/core/team.h"
#include "runtime/device/device_program.h"

namespace qwench {

/// How the weights of a file come into memory. Measured on a Xeon with 2 threads and 1.2 GB in the page
/// cache: copying into 2 MiB pages takes 0.7 s and is read at 10.3 GB/s afterwards, a mapping takes 0.02 s
/// and is read at 7.9 to 9.6 GB/s (depending on the pages that the file system chose). A copy pays after some
/// 50 tokens; a mapping is shared between processes and needs no memory of its own.
enum class WeightsMode {
  Automatic, // a copy if it takes at most half of the memory that is available
  Copy,
  Map,
};

/// Packed weights, 2 MiB aligned where they are copied, page aligned where they are mapped.
class Weights {
public:
  /// Loads the weights of `program` with all threads of the team. Where the kernel has no 2 MiB pages, others
  /// serve.
  static Result<Weights> load(const QwenchProgram &program, const ModelFile &model, QwenchTeam &team,
                              WeightsMode mode = WeightsMode::Automatic);

  const uint8_t *data() const { return memory.data(); }
  /// "copied", "mapped", "generated" or "on the device", for `info` and `bench`.
  const char *how() const { return origin; }

private:
  Mapping memory;
  const char *origin = "on the device";
};

/// Streams the weights to a device: read by all threads into its pinned memory, piece by piece. Random weights are made in
/// memory first.
Status streamWeights(const QwenchProgram &program, const ModelFile &model, QwenchTeam &team, DeviceProgram &device);

/// Fills the tensors' ranges of `memory` with values that depend only on the seed and the place, not on the
/// threads: nearly normal (the sum of four uniform bytes) times the deviation, or 1 + 0.1 times that for
/// Init::Ones.
void fillRandom(const RandomWeights &random, uint8_t *memory, QwenchTeam &team);

} // namespace qwench
