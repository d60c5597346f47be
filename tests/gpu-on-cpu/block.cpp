#include "tests/gpu-on-cpu/running.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace qwench::gpu_on_cpu {

//===-- Scheduling ------------------------------------------------------------------------------------------------===//

static void threadMain(void *argument) {
  auto *thread = static_cast<Executor::Block::Thread *>(argument);
  Executor::Block &block = *thread->block;
  Executor::Grid &grid = block.grid;
  grid.kernel(grid.step, grid.layer, grid.instance, grid.tiles, &block, block.shared.data(), thread->index, block.index,
              grid.count);
  if (!thread->copies.empty() ||
      std::any_of(thread->groups.begin(), thread->groups.end(), [](const auto &group) { return !group.empty(); }))
    block.fail("ends before its asynchronous copies");
  if (thread->begun > thread->awaitedProduct)
    block.fail("ends before its products");
  if (block.shape->dependent && !thread->awaitedLaunches)
    block.fail("ends without having waited for the launches before it");
  if (std::any_of(block.barriers.begin(), block.barriers.end(), [](const auto &entry) { return !entry.second.copies.empty(); }))
    block.fail("ends before copies that an mbarrier would tell of");
  thread->state = State::Done;
}

void Executor::Block::start(int64_t which) {
  index = which;
  shape = grid.shape;
  launch = grid.launches;
  phase = 0;
  while (static_cast<int64_t>(threads.size()) < shape->threads)
    threads.push_back(std::make_unique<Thread>());
  poisonShared();
  products.clear(), barriers.clear();
  for (int64_t i = 0; i < shape->threads; ++i) {
    Thread &thread = *threads[i];
    thread.state = State::Ready;
    thread.block = this;
    thread.index = i;
    thread.copies.clear(), thread.groups.clear();
    thread.productGroups.clear(), thread.held.clear(), thread.unpublished.clear(), thread.seen.clear();
    thread.begun = thread.awaitedProduct = 0, thread.fenced = thread.awaitedLaunches = false;
    thread.fiber.start(threadMain, &thread);
  }
}

void Executor::Block::poisonShared() {
  shared.assign(shape->sharedBytes, 0xff); // NaN, should it be read
  sharedBytes.assign(shape->sharedBytes, {});
}

/// Runs the blocks until all are done, or none can go on, which is an error.
void Executor::Grid::run() {
  const size_t together = shape->cooperative ? count : 1;
  for (bool moved = true; moved && error.empty();) {
    moved = false;
    for (size_t i = 0; i < together && error.empty(); ++i)
      moved |= blocks[i]->advance();
  }
  for (size_t i = 0; i < together && error.empty() && blocks[i]->isDone(); ++i) {
  }
}

/// False if it polled in vain.
bool Executor::Block::resume(Thread &thread) {
  const bool polled = thread.state == State::Polling;
  current = &thread;
  thread.fiber.resume();
  current = nullptr;
  return !polled || thread.state != State::Polling;
}

/// Runs whoever can run; false if nobody came further.
bool Executor::Block::advance() {
  bool moved = false;
  for (int64_t first = 0; first < shape->threads; first += shape->subgroupSize) {
    do {
      for (int64_t i = first; i < std::min(first + shape->subgroupSize, shape->threads); ++i)
        if (threads[i]->state == State::Ready || threads[i]->state == State::Polling)
          moved |= resume(*threads[i]);
    } while (ok() && (reduceSubgroup(first) || multiplySubgroup(first) || loadSubgroup(first)));
    moved |= ok() && multiplyWarpgroup(first);
  }
  return ok() && (releaseBarrier() || moved);
}

/// That a thread is not is an error: nobody can go on.
bool Executor::Block::isDone() {
  for (int64_t i = 0; i < shape->threads; ++i)
    if (State state = threads[i]->state; state != State::Done) {
      current = threads[i].get();
      fail((state == State::AtBarrier  ? "waits in vain at a barrier"
            : state == State::Polling ? "waits in vain for other blocks or an mbarrier"
                                      : "waits in vain for its subgroup") +
           at(*current));
      return false;
    }
  return true;
}

bool Executor::Block::releaseBarrier() {
  for (int64_t i = 0; i < shape->threads; ++i)
    if (threads[i]->state != State::AtBarrier || threads[i]->site != threads[0]->site)
      return false;
  for (int64_t i = 0; i < shape->threads; ++i)
    threads[i]->state = State::Ready;
  phase++;
  return true;
}

static uint32_t combine(int32_t how, bool isFloat, uint32_t a, uint32_t b) {
  if (isFloat) {
    float x = std::bit_cast<float>(a), y = std::bit_cast<float>(b);
    return std::bit_cast<uint32_t>(how == kAdd ? x + y : how == kMax ? std::fmax(x, y) : std::fmin(x, y));
  }
  auto x = static_cast<int32_t>(a), y = static_cast<int32_t>(b);
  return how == kAdd ? a + b : static_cast<uint32_t>(how == kMax ? std::max(x, y) : std::min(x, y));
}

bool Executor::Block::subgroupIsAt(State state, int64_t first) const {
  for (int64_t lane = 0; lane < shape->subgroupSize; ++lane)
    if (threads[first + lane]->state != state || threads[first + lane]->site != threads[first]->site)
      return false;
  return true;
}

bool Executor::Block::reduceSubgroup(int64_t first) {
  if (!subgroupIsAt(State::AtReduction, first))
    return false;
  const Thread &leader = *threads[first];
  int64_t size = leader.size ? leader.size : shape->subgroupSize, stride = leader.stride;
  std::vector<bool> done(shape->subgroupSize);
  for (int64_t lane = 0; lane < shape->subgroupSize; ++lane) {
    if (done[lane])
      continue;
    // As machines do it, by halves: the order of a sum is that of a butterfly.
    std::vector<uint32_t> values;
    for (int64_t i = 0; i < size; ++i)
      values.push_back(threads[first + lane + i * stride]->value);
    for (size_t n = values.size(); n > 1; n /= 2)
      for (size_t i = 0; i < n / 2; ++i)
        values[i] = combine(leader.how, leader.isFloat, values[i], values[i + n / 2]);
    for (int64_t i = 0; i < size; ++i) {
      threads[first + lane + i * stride]->value = values[0];
      done[lane + i * stride] = true;
    }
  }
  for (int64_t lane = 0; lane < shape->subgroupSize; ++lane)
    threads[first + lane]->state = State::Ready;
  return true;
}

//===-- Memory ----------------------------------------------------------------------------------------------------===//

void Executor::Block::accessShared(uint64_t offset, uint64_t bytes, bool write) {
  auto me = static_cast<int32_t>(current->index);
  for (uint64_t i = offset; i < offset + bytes; ++i) {
    SharedByte &byte = sharedBytes[i];
    auto place = [i] { return " of workgroup memory at byte " + std::to_string(i); };
    if (byte.awaited)
      return fail((write ? "a write" : "a read") + place() + ", which an asynchronous copy of thread " +
                  std::to_string(byte.writer) + " is on its way to");
    if (byte.writer >= 0 && byte.writer != me && byte.written == phase)
      return fail((write ? "a write" : "a read") + place() + ", which thread " + std::to_string(byte.writer) +
                  " wrote since the last barrier");
    if (write) {
      if (byte.products)
        return fail("a write" + place() + ", which products on their way read");
      if (byte.reader != -1 && byte.reader != me && byte.read == phase)
        return fail("a write" + place() + ", which another thread read since the last barrier");
      byte.writer = me, byte.written = phase, byte.published = false, byte.barrier = -1;
    } else {
      if (byte.writer < 0)
        return fail("a read" + place() + ", which nothing wrote");
      byte.reader = byte.reader == -1 || byte.read != phase || byte.reader == me ? me : -2;
      byte.read = phase;
    }
  }
  if (write)
    current->unpublished.emplace_back(offset, bytes);
}

void Executor::Block::access(const uint8_t *address, uint64_t bytes, bool write) {
  if (!ok())
    return;
  if (address >= shared.data() && address + bytes <= shared.data() + shared.size())
    return accessShared(address - shared.data(), bytes, write);
  for (Grid::Memory &m : grid.memory) {
    if (address < m.range.begin || address + bytes > m.range.begin + m.range.bytes)
      continue;
    if (write && !m.range.writable)
      return fail("a write to memory that is only read");
    if (!m.range.writable)
      return;
    if (shape->dependent && !current->awaitedLaunches)
      return fail((write ? "a write of" : "a read of") + std::string(" what launches before it may still work on"));
    for (uint64_t unit = address - m.range.begin; unit < address - m.range.begin + bytes; ++unit) {
      GlobalUnit &u = m.units[unit];
      if (u.launch == launch && u.block != index)
        return fail((write ? "a write of" : "a read of") + std::string(" what block ") + std::to_string(u.block) +
                    " wrote in the same launch");
      if (write)
        u = {launch, static_cast<int32_t>(index)};
    }
    return;
  }
  fail((write ? "a write of " : "a read of ") + std::to_string(bytes) + " bytes outside of the step's memory");
}

/// The current thread's groups arrive, but for the last `later`. Until then what they bring is NaN.
void Executor::Block::finishCopies(size_t later) {
  auto &groups = current->groups;
  for (; groups.size() > later && ok(); groups.erase(groups.begin()))
    for (const Copy &copy : groups.front()) {
      uint64_t offset = copy.target - shared.data();
      for (uint64_t i = 0; i < copy.bytes; ++i)
        sharedBytes[offset + i].awaited = false, sharedBytes[offset + i].written = phase;
      std::memcpy(copy.target, copy.source, copy.read);
      std::memset(copy.target + copy.read, 0, copy.bytes - copy.read);
      current->unpublished.emplace_back(offset, copy.bytes);
    }
}

//===-- What kernels call -----------------------------------------------------------------------------------------===//

static void barrier(void *pointer, int32_t site) {
  auto &block = *static_cast<Executor::Block *>(pointer);
  block.current->site = site;
  block.wait(State::AtBarrier);
}

static uint32_t reduce(void *pointer, int32_t site, int32_t how, bool isFloat, uint32_t value, int32_t size, int32_t stride) {
  auto &block = *static_cast<Executor::Block *>(pointer);
  auto &thread = *block.current;
  thread.site = site, thread.how = how, thread.isFloat = isFloat, thread.value = value;
  thread.size = size, thread.stride = stride;
  block.wait(State::AtReduction);
  return thread.value;
}

static float reduceFloat(void *pointer, int32_t site, int32_t how, float value, int32_t size, int32_t stride) {
  return std::bit_cast<float>(reduce(pointer, site, how, true, std::bit_cast<uint32_t>(value), size, stride));
}

static int32_t reduceInteger(void *pointer, int32_t site, int32_t how, int32_t value, int32_t size, int32_t stride) {
  return static_cast<int32_t>(reduce(pointer, site, how, false, static_cast<uint32_t>(value), size, stride));
}

static void multiply(void *pointer, int32_t site, int32_t kind, uint8_t *operands) {
  auto &block = *static_cast<Executor::Block *>(pointer);
  auto &thread = *block.current;
  thread.site = site, thread.how = kind, thread.operands = operands;
  block.wait(State::AtMatrix);
}

static void loadMatrices(void *pointer, int32_t site, int32_t transposed, int64_t row, uint8_t *pairs) {
  auto &block = *static_cast<Executor::Block *>(pointer);
  auto &thread = *block.current;
  thread.site = site, thread.how = transposed, thread.operands = pairs, thread.row = reinterpret_cast<const uint8_t *>(row);
  if (row % 16)
    block.fail("a row of a matrix that is not 16-byte aligned" + Executor::Block::at(thread));
  block.access(thread.row, 16, false);
  block.wait(State::AtLoad);
}

static int32_t copy(void *pointer, int64_t target, int64_t source, int64_t bytes, int64_t read) {
  auto &block = *static_cast<Executor::Block *>(pointer);
  Copy made{reinterpret_cast<uint8_t *>(target), reinterpret_cast<const uint8_t *>(source), static_cast<uint64_t>(bytes),
            static_cast<uint64_t>(read)};
  if (target % bytes || (read && source % bytes))
    block.fail("an asynchronous copy of " + std::to_string(bytes) + " bytes that is not aligned to as many");
  if (made.target < block.shared.data() || made.target + bytes > block.shared.data() + block.shared.size())
    block.fail("an asynchronous copy to outside of workgroup memory");
  if (read)
    block.access(made.source, read, false);
  block.access(made.target, bytes, true);
  if (!block.ok())
    return 0;
  std::memset(made.target, 0xff, bytes);
  for (int64_t i = 0; i < bytes; ++i)
    block.sharedBytes[made.target - block.shared.data() + i].awaited = true;
  block.current->copies.push_back(made);
  return 0;
}

static int32_t groupCopies(void *pointer) {
  auto &thread = *static_cast<Executor::Block *>(pointer)->current;
  thread.groups.push_back(std::move(thread.copies));
  thread.copies.clear();
  return 0;
}

static void awaitLaunches(void *pointer) { static_cast<Executor::Block *>(pointer)->current->awaitedLaunches = true; }

static void awaitCopies(void *pointer, int32_t later) { static_cast<Executor::Block *>(pointer)->finishCopies(later); }

static void accessMemory(void *pointer, int64_t address, int64_t bytes, int32_t write) {
  static_cast<Executor::Block *>(pointer)->access(reinterpret_cast<const uint8_t *>(address), bytes, write);
}

/// Before a block's first thread tells the others that the block is done with a phase.
static void arrive(void *pointer) {
  auto &block = *static_cast<Executor::Block *>(pointer);
  block.launch++;
  block.grid.launches = std::max(block.grid.launches, block.launch);
  block.poisonShared();
}

/// Before a look at memory that other blocks write to.
static void poll(void *pointer, int32_t site) {
  auto &block = *static_cast<Executor::Block *>(pointer);
  block.current->site = site;
  block.wait(State::Polling);
}

std::vector<Function> functions() {
  std::vector<Function> all = warpgroupFunctions(), more = barrierFunctions();
  all.insert(all.end(), more.begin(), more.end());
  const Function own[] = {
          {"gpu_barrier", reinterpret_cast<void *>(barrier)},
          {"gpu_arrive", reinterpret_cast<void *>(arrive)},
          {"gpu_poll", reinterpret_cast<void *>(poll)},
          {"gpu_reduce_f32", reinterpret_cast<void *>(reduceFloat)},
          {"gpu_reduce_i32", reinterpret_cast<void *>(reduceInteger)},
          {"gpu_multiply", reinterpret_cast<void *>(multiply)},
          {"gpu_load_matrices", reinterpret_cast<void *>(loadMatrices)},
          {"gpu_copy", reinterpret_cast<void *>(copy)},
          {"gpu_copy_group", reinterpret_cast<void *>(groupCopies)},
          {"gpu_copy_wait", reinterpret_cast<void *>(awaitCopies)},
      {"gpu_await_launches", reinterpret_cast<void *>(awaitLaunches)},
          {"gpu_access", reinterpret_cast<void *>(accessMemory)}};
  all.insert(all.end(), std::begin(own), std::end(own));
  return all;
}

//===-- Launches --------------------------------------------------------------------------------------------------===//

Executor::Executor() : grid(std::make_unique<Grid>()) {}
Executor::~Executor() = default;

const std::string &Executor::error() const { return grid->error; }

void Executor::setMemory(std::vector<Range> ranges) {
  grid->memory.clear();
  for (const Range &range : ranges)
    grid->memory.push_back({range, std::vector<GlobalUnit>(range.writable ? range.bytes : 0)});
}

void Executor::launch(Kernel kernel, const LaunchShape &shape, const void *step, int64_t layer, int64_t instance,
                      int64_t tiles, int64_t blocks) {
  Grid &g = *grid;
  g.kernel = kernel, g.shape = &shape, g.step = step;
  g.layer = layer, g.instance = instance, g.tiles = tiles, g.count = blocks;
  const bool ascending = ++g.launches % 2;
  const int64_t together = shape.cooperative ? blocks : 1;
  while (static_cast<int64_t>(g.blocks.size()) < together)
    g.blocks.push_back(std::make_unique<Block>(g));
  for (int64_t first = 0; first < blocks && g.error.empty(); first += together) {
    for (int64_t i = 0; i < together; ++i)
      g.blocks[i]->start(ascending ? first + i : blocks - 1 - first - i);
    g.run();
  }
}

} // namespace qwench::gpu_on_cpu
