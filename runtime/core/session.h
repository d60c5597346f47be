// A compiled model with memory and threads: sequences in slots of the KV cache, driven through steps of the
// program. c_api.cpp puts the C interface on top; the command line uses this directly.
#pragma once

#include "runtime/abi/qwench.h"
#include "runtime/core/random.h"
#include "runtime/core/sampler.h"
#include "runtime/core/weights.h"
#include "runtime/device/device_program.h"

#include <functional>
#include <span>

namespace qwench {

/// QWENCH_OK or QWENCH_ERROR_* with its reason.
struct [[nodiscard]] Outcome {
  int code = QWENCH_OK;
  std::string message = {};
  explicit operator bool() const { return code == QWENCH_OK; }
};

struct SessionOptions {
  int threads = 0;     // 0: defaultThreads()
  int64_t context = 0; // positions per sequence; 0: the program's max_context
  int sequences = 1;
  WeightsMode weights = WeightsMode::Automatic;
};

class Session {
public:
  /// Checks ABI, options, CPU and GPU, loads the weights, starts the threads. `program` must outlive the session.
  static Outcome open(const QwenchProgram &program, const ModelFile &model, const SessionOptions &options,
                      std::unique_ptr<Session> &session);

  int64_t context() const { return contextLimit; }
  int threads() const { return team->threads(); }
  QwenchTeam &threadTeam() { return *team; } // idle between calls
  const QwenchProgram &program() const { return code; }
  const char *weightsOrigin() const { return weights.how(); }
  /// The GPU that runs the program; null when the CPU does.
  const Device *device() const { return onDevice ? &onDevice->device() : nullptr; }

  /// Tokens with higher ids are padding rows of the embedding: they can be given, but are never sampled.
  void limitSampling(int64_t vocabulary);

  /// Asked between the steps of a long call; true ends it there.
  using Stopped = std::function<bool()>;

  /// See qwench.h. Stopped early, the sequence holds the tokens of the steps taken, and has no logits. On a GPU decode()
  /// returns when its steps are enqueued; what fails later, the next call that waits for them says.
  Outcome prefill(int32_t sequence, std::span<const int32_t> tokens, const Stopped &stopped = {});
  Outcome decode(std::span<const int32_t> sequences, std::span<const int32_t> tokens);
  Outcome logits(int32_t sequence, const float **out);
  Outcome sample(int32_t sequence, const QwenchSampling &sampling, int32_t *token);
  /// A token of each of as many sequences; on a GPU all at once.
  Outcome sample(std::span<const int32_t> sequences, const QwenchSampling &sampling, std::span<int32_t> tokens);
  /// Takes each token as it is drawn; returns whether its sequence goes on with it.
  using TokenSink = std::function<bool(int32_t sequence, int32_t token)>;
  /// Draws a token of each sequence and appends it, until `most` are drawn of each (0: no limit), its context is full, or the sink
  /// stops it: what is drawn last is not appended, and the sequence then has no logits. On a GPU the next step begins before the
  /// tokens are here; it is taken back for a sequence that stops.
  Outcome generate(std::span<const int32_t> sequences, const QwenchSampling &sampling, int64_t most, const TokenSink &sink);
  Outcome length(int32_t sequence, int64_t *out) const;
  Outcome truncate(int32_t sequence, int64_t length);
  /// Counts `count` positions more as known, whatever the cache holds there (zeros at first): for measurements at a depth.
  Outcome skip(int32_t sequence, int64_t count);

  /// Prefill that hands out the logits of every position in order: `rows` rows from token `first` of this
  /// call, [rows, logits_stride] floats. If the consumer fails, the sequence is as before.
  using Consumer = std::function<Status(int64_t first, int64_t rows, const float *logits)>;
  Outcome prefillEach(int32_t sequence, std::span<const int32_t> tokens, const Consumer &consumer);

private:
  struct Sequence {
    int64_t length = 0;
    bool hasLogits = false;
    bool fetched = false; // from the device, to where logits() shows them
    bool drawn = false;  // the generator is seeded at the first draw
    bool listed = false; // in the decode call at hand
    Random random;
  };

  explicit Session(const QwenchProgram &program) : code(program) {}
  Outcome prepare(const SessionOptions &options);
  Outcome allocate();
  Outcome checkSequence(int32_t sequence) const;
  Outcome checkLogits(int32_t sequence) const;
  Outcome checkTokens(std::span<const int32_t> tokens) const;
  Outcome checkPrompt(int32_t sequence, std::span<const int32_t> tokens) const;
  Outcome checkBatch(std::span<const int32_t> sequences);
  Outcome checkRoom(std::span<const int32_t> sequences) const;
  Outcome checkDraw(std::span<const int32_t> sequences, const QwenchSampling &sampling) const;
  void stagePrompt(int32_t sequence, int64_t from, std::span<const int32_t> tokens, int64_t total);
  Outcome reserveMemory(int64_t cacheBytes);
  Outcome loadWeights(const ModelFile &model, WeightsMode mode);
  Outcome runStep(int64_t rows, int64_t outputs, int64_t logitsRow, std::optional<int64_t> firstDraw = {});
  Outcome appendBatch(std::span<const int32_t> sequences, std::span<const int32_t> tokens, bool areDrawn);
  void takeBack(std::span<const int32_t> sequences);
  bool adjacent(std::span<const int32_t> sequences) const;
  Outcome keepLogits(int64_t row, int32_t sequence);
  Outcome fetchLogits(int64_t row, int64_t rows);
  bool drawsThere() const { return onDevice && code.sample; }
  Outcome enqueueDraws(std::span<const int32_t> sequences, const QwenchSampling &sampling);
  Outcome takeDrawn(std::span<int32_t> tokens);
  Outcome draw(std::span<const int32_t> sequences, const QwenchSampling &sampling, std::span<int32_t> tokens);
  Outcome drawAndStep(std::span<const int32_t> sequences, const QwenchSampling &sampling, std::span<int32_t> tokens);
  bool isFull(int32_t sequence) const { return slots[sequence].length >= contextLimit; }
  double uniformOf(int32_t sequence, const QwenchSampling &sampling);
  /// Logits are rows: the last token's of each sequence, then those of a step with more than one output.
  float *logitsAt(int64_t row) const;
  int64_t stepRow() const { return static_cast<int64_t>(slots.size()); }

  const QwenchProgram &code;
  std::unique_ptr<QwenchTeam> team;
  Weights weights;                         // empty with a device, which then has its own
  Mapping arena, cache;                    // likewise
  std::unique_ptr<DeviceProgram> onDevice; // null: the team runs the steps
  Mapping sequenceLogits; // [sequences, paddedStride] of each sequence's last token
  Mapping stepLogits;     // [outputRows, logits_stride] of steps with more than one output
  int64_t contextLimit = 0, capacity = 0, paddedStride = 0, outputRows = 0, sampleable = 0;
  std::vector<Sequence> slots;
  std::vector<int32_t> tokenRows, positionRows, slotRows, contextRows, outputIndices;
  std::vector<Candidate> scratch;
  std::vector<QwenchDraw> draws;
};

} // namespace qwench
