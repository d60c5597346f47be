// A compiled model on a GPU: its memory there, its weights, and its steps.
#pragma once

#include "runtime/device/device.h"

#include <functional>
#include <map>

namespace qwench {

/// Bytes that a session wants on the GPU.
struct DeviceSizes {
  int64_t cacheBytes = 0;  ///< of all slots
  int64_t arenaBytes = 0;
  int64_t outputRows = 0;  ///< most rows of logits of one step
  int64_t maxRows = 0;     ///< most rows of one step
};

class DeviceProgram {
public:
  /// Opens a GPU that fits. `program` must outlive the result.
  static Result<std::unique_ptr<DeviceProgram>> open(const QwenchProgram &program);

  const Device &device() const { return *gpu; }

  /// Takes all memory; too little of it free is an error that says how much is wanted for what. The cache is zeroed.
  Status reserve(const DeviceSizes &sizes);

  /// Reads [at, at + bytes) of the weights into `to`.
  using ReadPiece = std::function<Status(uint64_t at, uint8_t *to, uint64_t bytes)>;
  /// Streams the weights to the device: while one piece is copied, the next is read.
  Status uploadWeights(const ReadPiece &read);

  /// Runs a step: `step` holds host pointers to tokens, positions, slots, context lengths and output rows, and rows,
  /// outputs and cache_capacity; the rest is filled in here. Returns when the logits, [outputs, logits_stride] floats,
  /// are in step.logits. A decode step of a size seen before replays its graph.
  Status run(const QwenchStep &step, bool decode);

  /// For qwench_device_launch: the first error is kept, and what follows is left out.
  void launch(int64_t kernel, int64_t tiles, int64_t layer, int64_t instance);

private:
  explicit DeviceProgram(const QwenchProgram &program) : program(program) {}
  uint64_t stage(const QwenchStep &step);
  Status enqueue(const QwenchStep &step, bool decode);
  Status replayDecode(const QwenchStep &step);

  const QwenchProgram &program;
  std::unique_ptr<Device> gpu;
  DeviceSizes sizes;
  DeviceAddress weights = 0, cache = 0, arena = 0, logits = 0, deviceStep = 0;
  uint8_t *stagedStep = nullptr, *stagedLogits = nullptr; // pinned
  Status failure = ok();                                  // of launches of the step at hand
  std::map<std::pair<int64_t, int64_t>, DriverHandle> graphs; // of decode steps by (rows, outputs)
};

} // namespace qwench
