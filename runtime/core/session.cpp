#include "runtime/core/session.h"

#include "runtime/core/cpu.h"
#include "runtime/core/outcomes.h"

#include <algorithm>
#include <cstring>

namespace qwench {

namespace {

constexpr int64_t kMaxStepLogits = 64 << 20; // bytes of logits that one step computes at most
constexpr int64_t kHugePageCache = 1 << 30;  // caches up to this size are worth 2 MiB pages
constexpr int kMaxSequences = 4096;

/// What the emitted constant says about itself, before anything of it is used.
Outcome checkProgram(const QwenchProgram &program) {
  if (program.abi_version != QWENCH_ABI_VERSION)
    return {QWENCH_ERROR_MODEL, expectedFound("ABI version of the compiled model",
                                              std::to_string(QWENCH_ABI_VERSION), program.abi_version)};
  if (program.struct_bytes < sizeof(QwenchProgram))
    return {QWENCH_ERROR_MODEL, expectedFound("program structure of the compiled model",
                                              "at least " + std::to_string(sizeof(QwenchProgram)) + " bytes",
                                              program.struct_bytes)};
  const int64_t positive[] = {program.vocab_size, program.max_context, program.prefill_rows,
                              program.decode_rows, program.cache_granule};
  const int64_t natural[] = {program.arena_bytes, program.thread_scratch_bytes, program.weight_bytes,
                             program.cache_bytes_per_position};
  if (*std::min_element(std::begin(positive), std::end(positive)) < 1 ||
      *std::min_element(std::begin(natural), std::end(natural)) < 0 ||
      program.logits_stride < program.vocab_size || !program.prefill || !program.decode)
    return {QWENCH_ERROR_MODEL, "the compiled model's description contradicts itself"};
  return {};
}

/// a * b + c of non-negative numbers, or false when it does not fit.
bool sized(int64_t a, int64_t b, int64_t c, int64_t &out) {
  return !__builtin_mul_overflow(a, b, &out) && !__builtin_add_overflow(out, c, &out);
}

Outcome reserve(int64_t bytes, bool hugePages, Mapping &out) {
  Result<Mapping> mapping = Mapping::anonymous(static_cast<uint64_t>(bytes), hugePages);
  if (!mapping)
    return {QWENCH_ERROR_SYSTEM, mapping.error().message};
  out = mapping.take();
  return {};
}

} // namespace

Outcome Session::open(const QwenchProgram &program, const ModelFile &model, const SessionOptions &options,
                      std::unique_ptr<Session> &session) {
  if (Outcome checked = checkProgram(program); !checked)
    return checked;
  if (Status status = requireCpuFeatures(program.features, program.cpu); !status)
    return {QWENCH_ERROR_MODEL, status.error().message};
  std::unique_ptr<Session> result(new Session(program));
  if (program.device) {
    Result<std::unique_ptr<DeviceProgram>> device = DeviceProgram::open(program);
    if (!device)
      return fromDevice(device.error());
    result->onDevice = device.take();
  }
  if (Outcome outcome = result->prepare(options); !outcome)
    return outcome;
  if (Outcome outcome = result->loadWeights(model, options.weights); !outcome)
    return outcome;
  if (model.metadata().sampledVocabulary > 0)
    result->limitSampling(model.metadata().sampledVocabulary);
  session = std::move(result);
  return {};
}

Outcome Session::loadWeights(const ModelFile &model, WeightsMode mode) {
  if (onDevice) {
    Status status = streamWeights(code, model, *team, *onDevice);
    return status ? Outcome{} : fromDevice(status.error());
  }
  Result<Weights> loaded = Weights::load(code, model, *team, mode);
  if (!loaded)
    return {QWENCH_ERROR_SYSTEM, loaded.error().message};
  weights = loaded.take();
  return {};
}

Outcome Session::prepare(const SessionOptions &options) {
  if (options.threads < 0 || options.threads > QwenchTeam::kMaxThreads)
    return argument(
        expectedFound("threads", "0 to " + std::to_string(QwenchTeam::kMaxThreads), options.threads));
  if (options.sequences < 1 || options.sequences > kMaxSequences)
    return argument(expectedFound("sequences", "1 to " + std::to_string(kMaxSequences), options.sequences));
  if (options.context < 0 || options.context > code.max_context)
    return argument(
        expectedFound("context", "at most the model's " + std::to_string(code.max_context), options.context));
  contextLimit = options.context ? options.context : code.max_context;
  sampleable = code.vocab_size;
  slots.resize(options.sequences);
  if (Outcome outcome = allocate(); !outcome)
    return outcome;
  Result<std::unique_ptr<QwenchTeam>> started =
      QwenchTeam::create(options.threads ? options.threads : defaultThreads());
  if (!started)
    return {QWENCH_ERROR_SYSTEM, started.error().message};
  team = started.take();
  if (onDevice)
    return {};
  int64_t arenaBytes = 0;
  if (!sized(code.thread_scratch_bytes, team->threads(), code.arena_bytes, arenaBytes))
    return {QWENCH_ERROR_SYSTEM, "the arena is too large"};
  return reserve(arenaBytes, /*hugePages=*/true, arena);
}

Outcome Session::allocate() {
  auto sequences = static_cast<int64_t>(slots.size());
  int64_t cacheBytes = 0, lastBytes = 0, stepBytes = 0, rowBytes = 0;
  const int64_t maxRows = std::max(code.prefill_rows, code.decode_rows);
  bool fits = contextLimit <= INT32_MAX && sized(contextLimit - 1, 1, code.cache_granule, capacity) &&
              sized(code.logits_stride, sizeof(float), 63, rowBytes) && maxRows <= 1 << 24;
  capacity -= capacity % code.cache_granule;
  paddedStride = rowBytes / 64 * 16;
  outputRows = fits ? std::clamp<int64_t>(kMaxStepLogits / (code.logits_stride * 4), 1, maxRows) : 1;
  fits = fits && capacity <= INT32_MAX && sized(capacity, code.cache_bytes_per_position, 0, cacheBytes) &&
         sized(cacheBytes, sequences, 0, cacheBytes) && sized(paddedStride * 4, sequences, 0, lastBytes) &&
         sized(outputRows, code.logits_stride * 4, 0, stepBytes);
  if (!fits)
    return {QWENCH_ERROR_SYSTEM, std::to_string(sequences) + " sequences of " + std::to_string(contextLimit) +
                                     " tokens are too large for this machine"};
  for (auto *rows : {&tokenRows, &positionRows, &slotRows, &contextRows, &outputIndices})
    rows->resize(maxRows);
  for (int64_t row = 0; row < maxRows; ++row)
    outputIndices[row] = static_cast<int32_t>(row);
  scratch.reserve(code.vocab_size);
  draws.reserve(slots.size());
  if (Outcome outcome = reserveMemory(cacheBytes); !outcome)
    return outcome;
  if (Outcome outcome = reserve(lastBytes, false, sequenceLogits); !outcome)
    return outcome;
  return reserve(stepBytes, false, stepLogits);
}

/// Of the cache, and with a device of everything that it keeps.
Outcome Session::reserveMemory(int64_t cacheBytes) {
  if (!onDevice)
    return reserve(cacheBytes, cacheBytes <= kHugePageCache, cache);
  int64_t arenaBytes = 0;
  if (!sized(code.thread_scratch_bytes, 1, code.arena_bytes, arenaBytes))
    return {QWENCH_ERROR_SYSTEM, "the arena is too large"};
  Status status =
      onDevice->reserve({cacheBytes, arenaBytes, stepRow(), outputRows, std::max(code.prefill_rows, code.decode_rows)});
  return status ? Outcome{} : fromDevice(status.error());
}

void Session::limitSampling(int64_t vocabulary) {
  sampleable = std::clamp<int64_t>(vocabulary, 1, code.vocab_size);
}

float *Session::logitsAt(int64_t row) const {
  return row < stepRow() ? reinterpret_cast<float *>(sequenceLogits.data()) + row * paddedStride
                         : reinterpret_cast<float *>(stepLogits.data()) + (row - stepRow()) * code.logits_stride;
}

/// Whether a step can leave the logits of these sequences where they stay.
bool Session::adjacent(std::span<const int32_t> sequences) const {
  for (size_t i = 1; i < sequences.size(); ++i)
    if (sequences[i] != sequences[i - 1] + 1 || paddedStride != code.logits_stride)
      return false;
  return true;
}

/// A sequence's last token has the logits of this row.
Outcome Session::keepLogits(int64_t row, int32_t sequence) {
  slots[sequence].hasLogits = true;
  slots[sequence].fetched = false;
  if (row == sequence)
    return {};
  if (!onDevice) {
    memcpy(logitsAt(sequence), logitsAt(row), code.vocab_size * sizeof(float));
    return {};
  }
  Status status = onDevice->copyLogits(row, sequence);
  return status ? Outcome{} : fromDevice(status.error());
}

/// Rows on the device become readable at logitsAt().
Outcome Session::fetchLogits(int64_t row, int64_t rows) {
  Status status = onDevice->readLogits(row, rows, logitsAt(row));
  return status ? Outcome{} : fromDevice(status.error());
}

Outcome Session::checkSequence(int32_t sequence) const {
  if (sequence >= 0 && static_cast<size_t>(sequence) < slots.size())
    return {};
  return argument(expectedFound("sequence", "0 to " + std::to_string(slots.size() - 1), sequence));
}

Outcome Session::checkLogits(int32_t sequence) const {
  if (Outcome outcome = checkSequence(sequence); !outcome)
    return outcome;
  if (!slots[sequence].hasLogits)
    return argument("sequence " + std::to_string(sequence) +
                    " has no logits: expected a prefill or decode before");
  return {};
}

Outcome Session::checkTokens(std::span<const int32_t> tokens) const {
  for (int32_t token : tokens)
    if (token < 0 || token >= code.vocab_size)
      return argument(expectedFound("token id", "0 to " + std::to_string(code.vocab_size - 1), token));
  return {};
}

Outcome Session::checkPrompt(int32_t sequence, std::span<const int32_t> tokens) const {
  if (Outcome outcome = checkSequence(sequence); !outcome)
    return outcome;
  if (tokens.empty())
    return argument("expected at least one token, found none");
  if (Outcome outcome = checkTokens(tokens); !outcome)
    return outcome;
  const int64_t length = slots[sequence].length;
  if (static_cast<uint64_t>(tokens.size()) > static_cast<uint64_t>(contextLimit - length))
    return {QWENCH_ERROR_CONTEXT, "context overflow: " + std::to_string(length) + " tokens and " +
                                      std::to_string(tokens.size()) + " more exceed the context of " +
                                      std::to_string(contextLimit)};
  return {};
}

Outcome Session::runStep(int64_t rows, int64_t outputs, int64_t logitsRow, std::optional<int64_t> firstDraw) {
  QwenchStep step = {};
  step.tokens = tokenRows.data();
  step.positions = positionRows.data();
  step.slots = slotRows.data();
  step.context_lengths = contextRows.data();
  // A single output of a prompt is its last row; several are all rows.
  step.output_rows = outputs == 1 ? &outputIndices[rows - 1] : outputIndices.data();
  step.rows = rows;
  step.outputs = outputs;
  step.cache_capacity = capacity;
  const bool decode = rows <= code.decode_rows;
  if (onDevice) {
    Status status = onDevice->run(step, logitsRow, decode, firstDraw);
    return status ? Outcome{} : fromDevice(status.error());
  }
  step.logits = logitsAt(logitsRow);
  step.arena = arena.data();
  step.weights = weights.data();
  step.cache = cache.data();
  step.team = team.get();
  QwenchStepFunction function = decode ? code.decode : code.prefill;
  runOn(*team, [&](int64_t thread, int64_t threads) { function(&step, thread, threads); });
  return {};
}

void Session::stagePrompt(int32_t sequence, int64_t from, std::span<const int32_t> tokens, int64_t total) {
  std::copy(tokens.begin(), tokens.end(), tokenRows.begin());
  for (size_t row = 0; row < tokens.size(); ++row) {
    positionRows[row] = static_cast<int32_t>(from + row);
    slotRows[row] = sequence;
    contextRows[row] = static_cast<int32_t>(total);
  }
}

Outcome Session::prefill(int32_t sequence, std::span<const int32_t> tokens, const Stopped &stopped) {
  if (Outcome outcome = checkPrompt(sequence, tokens); !outcome)
    return outcome;
  Sequence &slot = slots[sequence];
  const int64_t before = slot.length, total = before + static_cast<int64_t>(tokens.size());
  const int64_t most = std::max(code.prefill_rows, code.decode_rows);
  while (!tokens.empty()) {
    const auto rows = std::min<int64_t>(most, tokens.size());
    const bool last = rows == static_cast<int64_t>(tokens.size());
    stagePrompt(sequence, slot.length, tokens.first(rows), total);
    if (Outcome outcome = runStep(rows, last, sequence); !outcome)
      return outcome;
    slot.length += rows;
    tokens = tokens.subspan(rows);
    if (!last && stopped && stopped()) {
      slot.hasLogits = false;
      return {};
    }
  }
  if (onDevice)
    if (Status status = onDevice->wait(); !status) {
      slot.length = before;
      return fromDevice(status.error());
    }
  return keepLogits(sequence, sequence);
}

Outcome Session::prefillEach(int32_t sequence, std::span<const int32_t> tokens, const Consumer &consumer) {
  if (Outcome outcome = checkPrompt(sequence, tokens); !outcome)
    return outcome;
  Sequence &slot = slots[sequence];
  const int64_t before = slot.length, total = before + static_cast<int64_t>(tokens.size());
  const bool hadLogits = slot.hasLogits;
  for (int64_t first = 0; first < static_cast<int64_t>(tokens.size());) {
    const auto rows = std::min<int64_t>(outputRows, tokens.size() - first);
    stagePrompt(sequence, before + first, tokens.subspan(first, rows), total);
    Outcome outcome = runStep(rows, rows, stepRow());
    if (outcome && onDevice)
      outcome = fetchLogits(stepRow(), rows);
    if (outcome)
      if (Status status = consumer(first, rows, logitsAt(stepRow())); !status)
        outcome = {QWENCH_ERROR_SYSTEM, status.error().message};
    if (outcome && first + rows == static_cast<int64_t>(tokens.size()))
      outcome = keepLogits(stepRow() + rows - 1, sequence);
    if (!outcome) {
      slot.length = before;
      slot.hasLogits = hadLogits;
      return outcome;
    }
    first += rows;
  }
  slot.length = total;
  return {};
}

Outcome Session::checkBatch(std::span<const int32_t> sequences) {
  if (sequences.empty())
    return argument("expected at least one sequence, found none");
  for (int32_t sequence : sequences)
    if (Outcome outcome = checkSequence(sequence); !outcome)
      return outcome;
  Outcome result;
  size_t marked = 0;
  for (; marked < sequences.size() && result; ++marked) {
    Sequence &slot = slots[sequences[marked]];
    if (slot.listed)
      result = argument("sequence " + std::to_string(sequences[marked]) + " is given twice");
    slot.listed = true;
  }
  for (size_t i = 0; i < marked; ++i)
    slots[sequences[i]].listed = false;
  return result;
}

Outcome Session::checkRoom(std::span<const int32_t> sequences) const {
  for (int32_t sequence : sequences)
    if (isFull(sequence))
      return {QWENCH_ERROR_CONTEXT, "context overflow: sequence " + std::to_string(sequence) + " holds all of " +
                                        std::to_string(contextLimit) + " tokens"};
  return {};
}

Outcome Session::decode(std::span<const int32_t> sequences, std::span<const int32_t> tokens) {
  if (Outcome outcome = checkBatch(sequences); !outcome)
    return outcome;
  if (Outcome outcome = checkTokens(tokens); !outcome)
    return outcome;
  if (Outcome outcome = checkRoom(sequences); !outcome)
    return outcome;
  return appendBatch(sequences, tokens, /*areDrawn=*/false);
}

/// The last token of each.
void Session::takeBack(std::span<const int32_t> sequences) {
  for (int32_t sequence : sequences) {
    --slots[sequence].length;
    slots[sequence].hasLogits = false;
  }
}

/// `areDrawn`: the tokens are those of the draws enqueued last, on the device, whatever `tokens` holds.
Outcome Session::appendBatch(std::span<const int32_t> sequences, std::span<const int32_t> tokens, bool areDrawn) {
  const int64_t most = std::max(code.decode_rows, code.prefill_rows);
  const std::span<const int32_t> all = sequences;
  int64_t done = 0;
  while (!sequences.empty()) {
    const auto rows = std::min<int64_t>({most, outputRows, static_cast<int64_t>(sequences.size())});
    for (int64_t row = 0; row < rows; ++row) {
      tokenRows[row] = tokens[row];
      slotRows[row] = sequences[row];
      positionRows[row] = static_cast<int32_t>(slots[sequences[row]].length);
      contextRows[row] = positionRows[row] + 1;
    }
    const int64_t logitsRow = adjacent(sequences.first(rows)) ? sequences[0] : stepRow();
    Outcome outcome = runStep(rows, rows, logitsRow, areDrawn ? std::optional(done) : std::nullopt);
    for (int64_t row = 0; row < rows && outcome; ++row)
      outcome = keepLogits(logitsRow + row, sequences[row]);
    if (!outcome) {
      takeBack(all.first(done));
      return outcome;
    }
    for (int64_t row = 0; row < rows; ++row)
      ++slots[sequences[row]].length;
    sequences = sequences.subspan(rows);
    tokens = tokens.subspan(rows);
    done += rows;
  }
  return {};
}

Outcome Session::logits(int32_t sequence, const float **out) {
  if (Outcome outcome = checkLogits(sequence); !outcome)
    return outcome;
  if (onDevice && !slots[sequence].fetched)
    if (Outcome outcome = fetchLogits(sequence, 1); !outcome)
      return outcome;
  slots[sequence].fetched = true;
  *out = logitsAt(sequence);
  return {};
}

Outcome Session::length(int32_t sequence, int64_t *out) const {
  if (Outcome outcome = checkSequence(sequence); !outcome)
    return outcome;
  *out = slots[sequence].length;
  return {};
}

Outcome Session::truncate(int32_t sequence, int64_t length) {
  if (Outcome outcome = checkSequence(sequence); !outcome)
    return outcome;
  Sequence &slot = slots[sequence];
  if (length < 0 || length > slot.length)
    return argument(expectedFound("length", "0 to " + std::to_string(slot.length), length));
  slot.length = length;
  slot.hasLogits = false;
  if (length == 0)
    slot.drawn = false;
  return {};
}

Outcome Session::skip(int32_t sequence, int64_t count) {
  if (Outcome outcome = checkSequence(sequence); !outcome)
    return outcome;
  Sequence &slot = slots[sequence];
  if (count < 0 || count > contextLimit - slot.length)
    return argument(expectedFound("positions", "0 to " + std::to_string(contextLimit - slot.length), count));
  slot.length += count;
  slot.hasLogits = false;
  return {};
}

} // namespace qwench
