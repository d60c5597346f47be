// A compiled model on a GPU: its memory there, its weights, and its steps.
#pragma once

#include "runtime/device/device.h"

#include <functional>
#include <map>
#include <optional>
#include <span>

namespace qwench {

/// Bytes that a session wants on the GPU.
struct DeviceSizes {
  int64_t cacheBytes = 0;  ///< of all slots
  int64_t arenaBytes = 0;
  int64_t sequences = 0;   ///< rows of logits that stay, and most tokens drawn at once
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

  // Logits are rows on the device, `sequences` of them and then `outputRows`.

  /// Enqueues a step: `step` holds host pointers to tokens, positions, slots, context lengths and output rows, and rows,
  /// outputs and cache_capacity; the rest is filled in here. Its logits go to the rows from `logitsRow` on. A decode step is the
  /// launch of one cooperative kernel, if the program has one; else one of a size seen before replays its graph. Returns before the
  /// step is done: what fails on the device, the call that waits says. With `firstDraw`, row i's token is the one that draw
  /// firstDraw + i of the last draw() gives, and never comes to the host for it.
  Status run(const QwenchStep &step, int64_t logitsRow, bool decode, std::optional<int64_t> firstDraw = {});
  Status wait();
  /// Enqueues a copy of a row.
  Status copyLogits(int64_t from, int64_t to);
  /// Waits for `rows` (at most outputRows) rows from `row` on: [rows, logits_stride] floats.
  Status readLogits(int64_t row, int64_t rows, float *out);
  /// Enqueues a token's draw for each of at most `sequences`. The program must have a `sample`.
  Status draw(std::span<const QwenchDraw> draws);
  /// Waits for the tokens of the last draw(), though not for steps enqueued after it: -1 where there is none.
  Status drawn(std::span<int32_t> tokens);

  /// For qwench_device_launch: the first error is kept, and what follows is left out.
  void launch(int64_t kernel, int64_t tiles, int64_t layer, int64_t instance);

private:
  explicit DeviceProgram(const QwenchProgram &program) : program(program) {}
  uint64_t stage(const QwenchStep &step, int64_t logitsRow);
  Status enqueue(const QwenchStep &step, QwenchStepFunction function, DeviceAddress at);
  Status replayDecode(const QwenchStep &step);
  DeviceAddress logitsAt(int64_t row) const { return logits + row * program.logits_stride * sizeof(float); }

  const QwenchProgram &program;
  std::unique_ptr<Device> gpu;
  DeviceSizes sizes;
  DeviceAddress weights = 0, cache = 0, arena = 0, logits = 0, deviceStep = 0, deviceDraws = 0;
  uint8_t *stagedStep = nullptr, *stagedDraws = nullptr, *stagedLogits = nullptr; // pinned
  DriverHandle uploaded = nullptr, downloaded = nullptr; // events: stagedStep, stagedDraws may be written again
  bool uploading = false, drawing = false;               // whether they are to be waited for
  DeviceAddress lastDrawn = 0;     // where the tokens of the last draw() are
  DeviceAddress launched = 0;      // the step that kernels are given at present
  bool afterLaunch = false;        // whether one of that step has been launched
  Status failure = ok();           // of launches of the step at hand
  std::map<std::pair<int64_t, int64_t>, DriverHandle> graphs; // of decode steps by (rows, outputs)
};

} // namespace qwench
