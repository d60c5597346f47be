#include "runtime/device/device_program.h"

#include "runtime/device/images.h"

#include <algorithm>
#include <climits>
#include <cstring>

namespace qwench {

namespace {

constexpr uint64_t kPiece = 32u << 20; // pinned bytes per copy: 1.3 ms at 25 GB/s, far above a copy's fixed cost
constexpr int kPieces = 3;             // one is read, one waits, one is copied
constexpr int kStepArrays = 5;         // tokens, positions, slots, context lengths, output rows

constexpr uint64_t aligned(uint64_t bytes) { return (bytes + 63) & ~uint64_t(63); }
/// A step, its arrays, tokens first, and the counter at which blocks meet.
constexpr uint64_t kTokensAt = aligned(sizeof(QwenchStep));
constexpr uint64_t stepBytes(int64_t rows) {
  return kTokensAt + kStepArrays * aligned(rows * 4) + aligned(sizeof(uint32_t));
}
/// A step of draws: behind it the draws, then the tokens.
constexpr uint64_t drawsAt() { return aligned(sizeof(QwenchStep)); }
constexpr uint64_t drawnAt(int64_t draws) { return drawsAt() + aligned(draws * sizeof(QwenchDraw)); }
constexpr uint64_t drawBytes(int64_t draws) { return drawnAt(draws) + aligned(draws * sizeof(int32_t)); }

template <typename T> T *devicePointer(DeviceAddress address) { return reinterpret_cast<T *>(address); }

/// What the emitted constant says about its images, before anything of it is used.
Status checkImages(const QwenchDeviceProgram &device) {
  bool whole = device.api && device.kernel_count >= 0 && device.image_count > 0 && device.images;
  for (int64_t i = 0; whole && i < device.image_count; ++i) {
    const QwenchImage &image = device.images[i];
    whole = image.arch && image.bytes && image.size > 0 && (image.kernels || device.kernel_count == 0);
  }
  return whole ? ok() : internalError("the compiled model's device code contradicts itself");
}

} // namespace

Result<std::unique_ptr<DeviceProgram>> DeviceProgram::open(const QwenchProgram &program) {
  if (Status status = checkImages(*program.device); !status)
    return status.takeError();
  Result<std::unique_ptr<Device>> gpu = Device::open(*program.device);
  if (!gpu)
    return gpu.takeError();
  std::unique_ptr<DeviceProgram> result(new DeviceProgram(program));
  result->gpu = gpu.take();
  return result;
}

Status DeviceProgram::reserve(const DeviceSizes &wanted) {
  sizes = wanted;
  const uint64_t rowBytes = program.logits_stride * sizeof(float), logitBytes = rowBytes * (sizes.sequences + sizes.outputRows);
  const uint64_t staged = stepBytes(sizes.maxRows), draws = drawBytes(sizes.sequences);
  const uint64_t rest = logitBytes + staged + draws + sizes.arenaBytes;
  const uint64_t needed = static_cast<uint64_t>(program.weight_bytes) + sizes.cacheBytes + rest;
  Result<uint64_t> free = gpu->freeMemory();
  if (!free)
    return free.takeError();
  if (needed > *free)
    return userError(gpu->name() + ": expected " + formatMemory(needed) + " of free memory (weights " +
                     formatMemory(program.weight_bytes) + ", cache " + formatMemory(sizes.cacheBytes) +
                     ", activations " + formatMemory(rest) + "), found " + formatMemory(*free));
  const std::pair<DeviceAddress *, uint64_t> blocks[] = {{&weights, program.weight_bytes},
                                                         {&cache, sizes.cacheBytes},
                                                         {&arena, sizes.arenaBytes},
                                                         {&logits, logitBytes},
                                                         {&deviceStep, staged},
                                                         {&deviceDraws, draws}};
  for (auto [address, bytes] : blocks) {
    Result<DeviceAddress> taken = gpu->allocate(bytes);
    if (!taken)
      return taken.takeError();
    *address = *taken;
  }
  const std::pair<uint8_t **, uint64_t> pinned[] = {
      {&stagedStep, staged}, {&stagedDraws, draws}, {&stagedLogits, rowBytes * sizes.outputRows}};
  for (auto [address, bytes] : pinned) {
    Result<uint8_t *> taken = gpu->allocateHost(bytes);
    if (!taken)
      return taken.takeError();
    *address = *taken;
  }
  for (DriverHandle *event : {&uploaded, &downloaded}) {
    Result<DriverHandle> created = gpu->createEvent();
    if (!created)
      return created.takeError();
    *event = *created;
  }
  return gpu->zero(cache, sizes.cacheBytes);
}

Status DeviceProgram::uploadWeights(const ReadPiece &read) {
  const auto total = static_cast<uint64_t>(program.weight_bytes);
  const uint64_t piece = std::min(kPiece, total);
  struct Buffer {
    uint8_t *memory = nullptr;
    DriverHandle copied = nullptr;
    bool used = false;
  } buffers[kPieces];
  int next = 0;
  for (uint64_t at = 0; at < total; at += piece, next = (next + 1) % kPieces) {
    Buffer &buffer = buffers[next];
    if (!buffer.memory) {
      Result<uint8_t *> memory = gpu->allocateHost(piece);
      Result<DriverHandle> event = gpu->createEvent();
      if (!memory || !event)
        return memory ? event.takeError() : memory.takeError();
      buffer.memory = *memory, buffer.copied = *event;
    }
    if (buffer.used)
      if (Status status = gpu->wait(buffer.copied); !status)
        return status;
    const uint64_t bytes = std::min(piece, total - at);
    if (Status status = read(at, buffer.memory, bytes); !status)
      return status;
    if (Status status = gpu->upload(weights + at, buffer.memory, bytes); !status)
      return status;
    if (Status status = gpu->record(buffer.copied); !status)
      return status;
    buffer.used = true;
  }
  if (Status status = gpu->synchronize(); !status)
    return status;
  for (Buffer &buffer : buffers)
    if (buffer.memory)
      if (Status status = gpu->releaseHost(buffer.memory); !status)
        return status;
  return ok();
}

/// Writes the device's step, with its arrays and counter behind it, to the staging memory. Returns the bytes.
uint64_t DeviceProgram::stage(const QwenchStep &step, int64_t logitsRow) {
  QwenchStep device = step;
  const std::pair<const int32_t **, int64_t> arrays[kStepArrays] = {{&device.tokens, step.rows},
                                                                    {&device.positions, step.rows},
                                                                    {&device.slots, step.rows},
                                                                    {&device.context_lengths, step.rows},
                                                                    {&device.output_rows, step.outputs}};
  uint64_t at = kTokensAt;
  for (auto [array, count] : arrays) {
    memcpy(stagedStep + at, *array, count * sizeof(int32_t));
    *array = devicePointer<const int32_t>(deviceStep + at);
    at += aligned(count * sizeof(int32_t));
  }
  device.arena = devicePointer<uint8_t>(arena);
  device.weights = devicePointer<const uint8_t>(weights);
  device.cache = devicePointer<uint8_t>(cache);
  device.logits = devicePointer<float>(logitsAt(logitsRow));
  memset(stagedStep + at, 0, sizeof(uint32_t));
  device.team = devicePointer<QwenchTeam>(deviceStep + at);
  memcpy(stagedStep, &device, sizeof device);
  return at + aligned(sizeof(uint32_t));
}

/// The launches of a step that is, or will be, at this place of the device.
Status DeviceProgram::enqueue(const QwenchStep &step, QwenchStepFunction function, DeviceAddress at) {
  QwenchStep host = step;
  host.team = reinterpret_cast<QwenchTeam *>(this); // qwench_device_launch takes it back
  launched = at;
  afterLaunch = false;
  failure = ok();
  function(&host, 0, 1);
  return std::exchange(failure, ok());
}

/// Sizes decide all of a step's tile counts, and everything else a kernel is given is the same in every step.
Status DeviceProgram::replayDecode(const QwenchStep &step) {
  auto [entry, created] = graphs.try_emplace({step.rows, step.outputs}, nullptr);
  if (created) {
    if (Status status = gpu->beginCapture(); !status)
      return status;
    Status enqueued = enqueue(step, program.decode, deviceStep);
    Result<DriverHandle> graph = gpu->endCapture();
    if (!enqueued || !graph) {
      graphs.erase(entry);
      return enqueued ? graph.takeError() : enqueued.takeError();
    }
    entry->second = *graph;
  }
  return gpu->replay(entry->second);
}

Status DeviceProgram::run(const QwenchStep &step, int64_t logitsRow, bool decode, std::optional<int64_t> firstDraw) {
  if (Status status = gpu->use(); !status)
    return status;
  if (step.rows > sizes.maxRows || logitsRow + step.outputs > sizes.sequences + sizes.outputRows)
    return internalError("a step is larger than what was reserved for it");
  if (uploading)
    if (Status status = gpu->wait(uploaded); !status)
      return status;
  if (Status status = gpu->upload(deviceStep, stagedStep, stage(step, logitsRow)); !status)
    return status;
  uploading = true;
  if (Status status = gpu->record(uploaded); !status)
    return status;
  if (firstDraw)
    if (Status status = gpu->copy(deviceStep + kTokensAt, lastDrawn + *firstDraw * sizeof(int32_t), step.rows * sizeof(int32_t));
        !status)
      return status;
  // One launch gains nothing by being a graph's, and a cooperative one not every driver captures.
  if (decode && !isPersistent(*program.device))
    return replayDecode(step);
  return enqueue(step, decode ? program.decode : program.prefill, deviceStep);
}

Status DeviceProgram::wait() {
  if (Status status = gpu->use(); !status)
    return status;
  Status done = gpu->synchronize();
  uploading = uploading && !done, drawing = drawing && !done;
  return done;
}

Status DeviceProgram::copyLogits(int64_t from, int64_t to) {
  return gpu->copy(logitsAt(to), logitsAt(from), program.vocab_size * sizeof(float));
}

Status DeviceProgram::readLogits(int64_t row, int64_t rows, float *out) {
  if (Status status = gpu->use(); !status)
    return status;
  const uint64_t bytes = static_cast<uint64_t>(rows) * program.logits_stride * sizeof(float);
  if (Status status = gpu->download(stagedLogits, logitsAt(row), bytes); !status)
    return status;
  if (Status status = wait(); !status)
    return status;
  memcpy(out, stagedLogits, bytes);
  return ok();
}

Status DeviceProgram::draw(std::span<const QwenchDraw> draws) {
  if (Status status = gpu->use(); !status)
    return status;
  const auto count = static_cast<int64_t>(draws.size());
  if (count > sizes.sequences)
    return internalError("more draws than what was reserved for them");
  QwenchStep step = {};
  step.rows = count;
  step.logits = devicePointer<float>(logits);
  step.draws = devicePointer<const QwenchDraw>(deviceDraws + drawsAt());
  step.drawn = devicePointer<int32_t>(deviceDraws + drawnAt(count));
  if (drawing)
    if (Status status = gpu->wait(downloaded); !status)
      return status;
  drawing = false;
  memcpy(stagedDraws, &step, sizeof step);
  memcpy(stagedDraws + drawsAt(), draws.data(), draws.size_bytes());
  if (Status status = gpu->upload(deviceDraws, stagedDraws, drawnAt(count)); !status)
    return status;
  if (Status status = enqueue(step, program.sample, deviceDraws); !status)
    return status;
  lastDrawn = deviceDraws + drawnAt(count);
  if (Status status = gpu->download(stagedDraws + drawnAt(count), lastDrawn, count * sizeof(int32_t)); !status)
    return status;
  drawing = true;
  return gpu->record(downloaded);
}

Status DeviceProgram::drawn(std::span<int32_t> tokens) {
  if (Status status = gpu->use(); !status)
    return status;
  if (Status status = gpu->wait(downloaded); !status)
    return status;
  drawing = false;
  memcpy(tokens.data(), stagedDraws + (lastDrawn - deviceDraws), tokens.size_bytes());
  return ok();
}

void DeviceProgram::launch(int64_t kernel, int64_t tiles, int64_t layer, int64_t instance) {
  if (!failure || tiles == 0)
    return;
  if (kernel < 0 || kernel >= program.device->kernel_count || tiles < 0 || tiles > INT_MAX) {
    failure = internalError("a launch of kernel " + std::to_string(kernel) + " on " + std::to_string(tiles) +
                            " tiles: expected one of " + std::to_string(program.device->kernel_count) +
                            " kernels and at most " + std::to_string(INT_MAX) + " tiles");
    return;
  }
  void *parameters[] = {&launched, &layer, &instance, &tiles};
  failure = gpu->launch(kernel, static_cast<uint32_t>(tiles), parameters, std::exchange(afterLaunch, true));
}

} // namespace qwench

extern "C" void qwench_device_launch(QwenchTeam *team, int64_t kernel, int64_t tiles, int64_t layer, int64_t instance) {
  reinterpret_cast<qwench::DeviceProgram *>(team)->launch(kernel, tiles, layer, instance);
}
