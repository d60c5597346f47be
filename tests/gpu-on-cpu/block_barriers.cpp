// Barriers that count bytes, mbarriers, and the copies that a unit beside the threads makes and tells them of. Copies land when
// somebody waits for their barrier, the last one first; until then their targets are NaN.
#include "tests/gpu-on-cpu/running.h"

#include <cstring>

namespace qwench::gpu_on_cpu {

constexpr uint64_t kBarrierBytes = 8;

/// The barrier at an offset of workgroup memory, whose beginning this thread knows of.
Barrier *Executor::Block::findBarrier(uint64_t offset) {
  auto found = barriers.find(offset);
  if (found == barriers.end()) {
    fail("a use of a barrier that nothing began" + at(*current));
    return nullptr;
  }
  access(shared.data() + offset, kBarrierBytes, false);
  return ok() ? &found->second : nullptr;
}

/// Its phase ends with the last arrival and the last byte.
static void complete(Barrier &barrier) {
  if (barrier.pending == 0 && barrier.bytes == 0)
    barrier.phase++, barrier.pending = barrier.count;
}

/// What has been copied is there for those that wait, and for products.
void Executor::Block::land(uint64_t offset, Barrier &barrier) {
  for (; !barrier.copies.empty(); barrier.copies.pop_back()) {
    const Copy &copy = barrier.copies.back();
    std::memcpy(copy.target, copy.source, copy.bytes);
    for (uint64_t i = copy.target - shared.data(), end = i + copy.bytes; i < end; ++i) {
      SharedByte &byte = sharedBytes[i];
      byte.awaited = false, byte.published = true, byte.written = phase;
      byte.barrier = static_cast<int64_t>(offset), byte.barrierPhase = barrier.phase;
    }
    barrier.bytes -= static_cast<int64_t>(copy.bytes);
  }
  complete(barrier);
}

/// Whether all threads of a warpgroup know that a byte has come: by its barrier, if not by one of the block since.
bool Executor::Block::haveSeen(const SharedByte &byte, int64_t first, int64_t count) const {
  for (int64_t i = first; i < first + count; ++i) {
    auto seen = threads[i]->seen.find(static_cast<uint64_t>(byte.barrier));
    if (seen == threads[i]->seen.end() || seen->second <= byte.barrierPhase)
      return false;
  }
  return true;
}

//===-- What kernels call -----------------------------------------------------------------------------------------===//

static Executor::Block &blockOf(void *pointer) { return *static_cast<Executor::Block *>(pointer); }

static void begin(void *pointer, int64_t offset, int32_t count) {
  auto &block = blockOf(pointer);
  block.access(block.shared.data() + offset, kBarrierBytes, true);
  if (!block.barriers.try_emplace(offset, Barrier{count, count, 0, 0, {}}).second)
    block.fail("a barrier that is begun twice");
}

static void end(void *pointer, int64_t offset) {
  auto &block = blockOf(pointer);
  if (Barrier *barrier = block.findBarrier(offset); barrier && !barrier->copies.empty())
    block.fail("a barrier that ends before its copies");
  for (auto &thread : block.threads)
    thread->seen.erase(offset);
  block.barriers.erase(offset);
}

static void arriveExpecting(void *pointer, int64_t offset, int32_t bytes) {
  auto &block = blockOf(pointer);
  Barrier *barrier = block.findBarrier(offset);
  if (!barrier)
    return;
  if (barrier->pending-- == 0)
    return block.fail("more arrivals at a barrier than it counts");
  barrier->bytes += bytes;
  complete(*barrier);
}

static void copy(void *pointer, int64_t target, int64_t source, int64_t offset, int32_t bytes) {
  auto &block = blockOf(pointer);
  if (target % 16 || source % 16 || bytes % 16)
    block.fail("a copy of many pieces that is not aligned to 16 bytes");
  Barrier *barrier = block.findBarrier(offset);
  if (!barrier)
    return;
  if (!block.sharedBytes[offset].published)
    block.fail("a copy to a barrier whose beginning no fence has made visible to it");
  Copy made{block.shared.data() + target, reinterpret_cast<const uint8_t *>(source), static_cast<uint64_t>(bytes),
            static_cast<uint64_t>(bytes)};
  block.access(made.source, bytes, false);
  block.access(made.target, bytes, true);
  if (!block.ok())
    return;
  std::memset(made.target, 0xff, bytes);
  for (int64_t i = target; i < target + bytes; ++i)
    block.sharedBytes[i].awaited = true;
  barrier->copies.push_back(made);
}

/// Until the phase of that parity has ended.
static void wait(void *pointer, int32_t site, int64_t offset, int32_t parity) {
  auto &block = blockOf(pointer);
  auto &thread = *block.current;
  thread.site = site;
  while (Barrier *barrier = block.findBarrier(offset)) {
    if (barrier->phase % 2 == static_cast<uint32_t>(parity) && barrier->pending == 0)
      block.land(offset, *barrier);
    if (barrier->phase % 2 != static_cast<uint32_t>(parity)) {
      thread.seen[offset] = barrier->phase;
      return;
    }
    block.wait(State::Polling);
  }
}

std::vector<Function> barrierFunctions() {
  return {{"gpu_mbarrier_begin", reinterpret_cast<void *>(begin)},
          {"gpu_mbarrier_end", reinterpret_cast<void *>(end)},
          {"gpu_mbarrier_arrive", reinterpret_cast<void *>(arriveExpecting)},
          {"gpu_mbarrier_wait", reinterpret_cast<void *>(wait)},
          {"gpu_bulk_copy", reinterpret_cast<void *>(copy)}};
}

} // namespace qwench::gpu_on_cpu
