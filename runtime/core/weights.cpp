#include "runtime/core/weights.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <sys/mman.h>

namespace qwench {

namespace {

constexpr uint64_t kBlock = 4u << 20; // per read; two 2 MiB pages

/// MemAvailable of /proc/meminfo in bytes; 0 when it is not known.
uint64_t availableMemory() {
  FILE *file = fopen("/proc/meminfo", "re");
  if (!file)
    return 0;
  char line[128];
  unsigned long long kibibytes = 0;
  while (fgets(line, sizeof line, file) && sscanf(line, "MemAvailable: %llu kB", &kibibytes) != 1) {
  }
  fclose(file);
  return kibibytes * 1024;
}

/// Reads the file's range into memory, each thread taking the next block.
Status readBlocks(const File &file, uint64_t offset, uint8_t *memory, uint64_t bytes, QwenchTeam &team) {
  posix_fadvise(file.descriptor(), static_cast<off_t>(offset), static_cast<off_t>(bytes),
                POSIX_FADV_SEQUENTIAL);
  std::atomic<uint64_t> next{0};
  std::mutex guard;
  Status result = ok();
  runOn(team, [&](int64_t, int64_t) {
    for (uint64_t at; (at = next.fetch_add(kBlock)) < bytes;) {
      Status status = file.read(offset + at, memory + at, std::min(kBlock, bytes - at));
      if (status)
        continue;
      next.store(bytes);
      std::lock_guard<std::mutex> lock(guard);
      result = std::move(status);
    }
  });
  return result;
}

Status checkRandomFits(uint64_t bytes, uint64_t available) {
  if (available == 0 || bytes <= available)
    return ok();
  return userError("random weights: expected " + std::to_string(bytes) + " bytes of free memory, found " +
                   std::to_string(available));
}

} // namespace

Result<Weights> Weights::load(const QwenchProgram &program, const ModelFile &model, QwenchTeam &team,
                              WeightsMode mode) {
  Weights result;
  auto bytes = static_cast<uint64_t>(program.weight_bytes);
  auto [file, offset] = model.weights();
  const uint64_t available = availableMemory();
  if (Status fits = file ? ok() : checkRandomFits(bytes, available); !fits)
    return fits.takeError();
  const bool map = mode == WeightsMode::Map || (mode == WeightsMode::Automatic && bytes > available / 2);
  Result<Mapping> mapping =
      file && map ? Mapping::ofFile(*file, offset, bytes) : Mapping::anonymous(bytes, /*hugePages=*/true);
  if (!mapping)
    return mapping.takeError();
  result.memory = mapping.take();
  uint8_t *data = result.memory.data();
  if (!file) {
    result.origin = "generated";
    fillRandom(*model.metadata().randomWeights, data, team);
  } else if (map) {
    result.origin = "mapped";
    madvise(data, bytes, MADV_HUGEPAGE);
    madvise(data, bytes, MADV_WILLNEED); // read ahead without waiting: the first step begins at once
  } else {
    result.origin = "copied";
    if (Status status = readBlocks(*file, offset, data, bytes, team); !status)
      return status.takeError();
    mprotect(data, bytes, PROT_READ);
  }
  return result;
}

Status streamWeights(const QwenchProgram &program, const ModelFile &model, QwenchTeam &team, DeviceProgram &device) {
  auto [file, offset] = model.weights();
  if (file)
    return device.uploadWeights([&, file = file, offset = offset](uint64_t at, uint8_t *to, uint64_t bytes) {
      return readBlocks(*file, offset + at, to, bytes, team);
    });
  const auto bytes = static_cast<uint64_t>(program.weight_bytes);
  if (Status fits = checkRandomFits(bytes, availableMemory()); !fits)
    return fits;
  Result<Mapping> memory = Mapping::anonymous(bytes, /*hugePages=*/true);
  if (!memory)
    return memory.takeError();
  fillRandom(*model.metadata().randomWeights, memory->data(), team);
  return device.uploadWeights([&](uint64_t at, uint8_t *to, uint64_t count) {
    memcpy(to, memory->data() + at, count);
    return ok();
  });
}

} // namespace qwench
