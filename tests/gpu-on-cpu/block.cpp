#include "tests/gpu-on-cpu/block.h"

#include "tests/gpu-on-cpu/fiber.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace qwench::gpu_on_cpu {

namespace {

/// Bytes that all banks of workgroup memory hold side by side.
constexpr int64_t kBankBytes = 128;

enum class State { Ready, AtBarrier, AtReduction, AtMatrix, AtLoad, Done };

/// What happened to a byte of workgroup memory since the last barrier, and before.
struct SharedByte {
  int32_t writer = -1, reader = -1; ///< thread; of readers -2 when there are several
  uint32_t written = 0, read = 0;   ///< phase (barriers so far)
  bool awaited = false;             ///< an asynchronous copy of the writer's is on its way here
};

/// An asynchronous copy to workgroup memory: `read` bytes, and then zeros.
struct Copy {
  uint8_t *target;
  const uint8_t *source;
  uint64_t bytes, read;
};

/// Who wrote a byte of the step's memory in which launch.
struct GlobalUnit {
  uint32_t launch = 0;
  int32_t block = -1;
};

} // namespace

struct Executor::Block {
  struct Thread {
    Fiber fiber;
    State state = State::Ready;
    int32_t site = 0, how = 0, size = 0, stride = 0;
    uint32_t value = 0;
    uint8_t *operands = nullptr;  ///< of a matrix product, or what a load of matrices gives
    const uint8_t *row = nullptr; ///< of a load of matrices: the one that this lane names
    bool isFloat = false;
    std::vector<Copy> copies;              ///< in no group yet
    std::vector<std::vector<Copy>> groups; ///< on their way, the first one first
    Block *block = nullptr;
    int64_t index = 0;
  };
  struct Memory {
    Range range;
    std::vector<GlobalUnit> units;
  };

  std::vector<std::unique_ptr<Thread>> threads;
  std::vector<uint8_t> shared;
  std::vector<SharedByte> sharedBytes;
  std::vector<Memory> memory;
  std::string error;
  uint32_t phase = 0, launches = 0;
  Thread *current = nullptr;

  // The launch.
  Kernel kernel = nullptr;
  const LaunchShape *shape = nullptr;
  const void *step = nullptr;
  int64_t layer = 0, instance = 0, tiles = 0, index = 0, blocks = 0;

  void fail(const std::string &what) {
    if (error.empty())
      error = shape->name + " block " + std::to_string(index) +
              (current ? " thread " + std::to_string(current->index) : "") + ": " + what;
  }
  static std::string at(const Thread &thread) { return " at site " + std::to_string(thread.site); }

  void run();
  bool advance();
  bool releaseBarrier();
  bool reduceSubgroup(int64_t first);
  bool multiplySubgroup(int64_t first);
  bool loadSubgroup(int64_t first);
  void finishCopies(size_t later);
  bool subgroupIsAt(State state, int64_t first) const;
  void wait(State state) {
    current->state = state;
    current->fiber.yield();
  }
  void access(const uint8_t *address, uint64_t bytes, bool write);
  void accessShared(uint64_t offset, uint64_t bytes, bool write);
};

//===-- Scheduling ------------------------------------------------------------------------------------------------===//

static void threadMain(void *argument) {
  auto *thread = static_cast<Executor::Block::Thread *>(argument);
  Executor::Block &block = *thread->block;
  block.kernel(block.step, block.layer, block.instance, block.tiles, &block, block.shared.data(), thread->index,
               block.index, block.blocks);
  if (!thread->copies.empty() ||
      std::any_of(thread->groups.begin(), thread->groups.end(), [](const auto &group) { return !group.empty(); }))
    block.fail("ends before its asynchronous copies");
  thread->state = State::Done;
}

void Executor::Block::run() {
  while (static_cast<int64_t>(threads.size()) < shape->threads)
    threads.push_back(std::make_unique<Thread>());
  shared.assign(shape->sharedBytes, 0xff); // NaN, should it be read
  sharedBytes.assign(shape->sharedBytes, {});
  phase = 0;
  for (int64_t i = 0; i < shape->threads; ++i) {
    Thread &thread = *threads[i];
    thread.state = State::Ready;
    thread.block = this;
    thread.index = i;
    thread.copies.clear(), thread.groups.clear();
    thread.fiber.start(threadMain, &thread);
  }
  while (error.empty() && advance()) {
  }
}

/// Runs whoever can run; false when all are done, or none can go on, which is an error.
bool Executor::Block::advance() {
  bool moved = false;
  for (int64_t first = 0; first < shape->threads; first += shape->subgroupSize) {
    do {
      for (int64_t i = first; i < std::min(first + shape->subgroupSize, shape->threads); ++i)
        if (threads[i]->state == State::Ready) {
          current = threads[i].get();
          current->fiber.resume();
          moved = true;
        }
      current = nullptr;
    } while (error.empty() && (reduceSubgroup(first) || multiplySubgroup(first) || loadSubgroup(first)));
  }
  if (!error.empty() || releaseBarrier() || moved)
    return error.empty();
  for (int64_t i = 0; i < shape->threads; ++i)
    if (threads[i]->state != State::Done) {
      current = threads[i].get();
      fail((current->state == State::AtBarrier ? "waits in vain at a barrier" : "waits in vain for its subgroup") + at(*current));
      return false;
    }
  return false;
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

/// Row (or column) and input of a lane's element of A (or B).
static std::pair<int64_t, int64_t> operandPlace(int32_t kind, bool isA, int64_t lane, int64_t i) {
  switch (kind) {
  case kMmaSync: { // registers of two: A's alternate between rows 0 and 8 first, then inputs 0 and 8
    int64_t word = i / 2, row = isA ? word % 2 * 8 : 0, input = isA ? word / 2 * 8 : word * 8;
    return {row + lane / 4, input + lane % 4 * 2 + i % 2};
  }
  case kMfma:
    return {lane % 16, lane / 16 * 4 + i};
  case kWmma11: // the upper half of the lanes repeats the lower
    return {lane % 16, i};
  default:
    return {lane % 16, lane / 16 * 8 + i};
  }
}

static std::pair<int64_t, int64_t> resultPlace(int32_t kind, int64_t lane, int64_t i) {
  switch (kind) {
  case kMmaSync:
    return {i / 2 * 8 + lane / 4, lane % 4 * 2 + i % 2};
  case kMfma:
    return {lane / 16 * 4 + i, lane % 16};
  case kWmma11:
    return {2 * i + lane / 16, lane % 16};
  default:
    return {lane / 16 * 8 + i, lane % 16};
  }
}

/// D = A B^T + C of 16 by 16 by 16 (or 8 columns), each product and sum in f32.
bool Executor::Block::multiplySubgroup(int64_t first) {
  if (!subgroupIsAt(State::AtMatrix, first))
    return false;
  int32_t kind = threads[first]->how;
  int64_t lanes = shape->subgroupSize, sums = kind == kMmaSync || kind == kMfma ? 4 : 8;
  if (lanes != (kind == kMfma ? 64 : 32)) {
    fail("a matrix product that a subgroup of " + std::to_string(lanes) + " does not have");
    return false;
  }
  int64_t elements[2] = {kind == kMmaSync || kind == kWmma12 ? 8 : kind == kMfma ? 4 : 16,
                         kind == kMmaSync || kind == kMfma ? 4 : kind == kWmma11 ? 16 : 8};
  float operands[2][16][16] = {};
  for (int64_t lane = 0; lane < lanes; ++lane)
    for (int which = 0; which < 2; ++which)
      for (int64_t i = 0; i < elements[which]; ++i) {
        uint16_t half;
        std::memcpy(&half, threads[first + lane]->operands + 32 * which + 2 * i, 2);
        auto [row, input] = operandPlace(kind, which == 0, lane, i);
        float value = std::bit_cast<float>(static_cast<uint32_t>(half) << 16), &place = operands[which][row][input];
        if (kind == kWmma11 && lane >= 16 && std::bit_cast<uint32_t>(place) != std::bit_cast<uint32_t>(value))
          fail("operands of a matrix product that differ between the halves of a subgroup");
        place = value;
      }
  for (int64_t lane = 0; lane < lanes; ++lane) {
    auto *c = reinterpret_cast<float *>(threads[first + lane]->operands + 64);
    for (int64_t i = 0; i < sums; ++i) {
      auto [row, column] = resultPlace(kind, lane, i);
      for (int64_t k = 0; k < 16; ++k)
        c[i] += operands[0][row][k] * operands[1][column][k];
    }
    threads[first + lane]->state = State::Ready;
  }
  return true;
}

/// Four matrices of 8 rows of 8 elements of two bytes: lanes 8 m to 8 m + 7 name the rows of matrix m. A lane is given two
/// neighbours of a row of each, or, transposed, of a column. Rows of a matrix that share banks would be read one after another.
bool Executor::Block::loadSubgroup(int64_t first) {
  if (!subgroupIsAt(State::AtLoad, first))
    return false;
  uint16_t matrices[4][8][8];
  for (int64_t lane = 0; lane < 32; ++lane) {
    const uint8_t *row = threads[first + lane]->row;
    for (int64_t other = lane / 8 * 8; other < lane; ++other)
      if ((row - threads[first + other]->row) % kBankBytes == 0)
        fail("rows of a matrix that share banks of workgroup memory" + at(*threads[first]));
    std::memcpy(matrices[lane / 8][lane % 8], row, 16);
  }
  for (int64_t lane = 0; lane < 32; ++lane) {
    Thread &thread = *threads[first + lane];
    auto *pairs = reinterpret_cast<uint16_t *>(thread.operands);
    for (int64_t m = 0; m < 4; ++m)
      for (int64_t i = 0; i < 2; ++i)
        pairs[2 * m + i] = thread.how ? matrices[m][lane % 4 * 2 + i][lane / 4] : matrices[m][lane / 4][lane % 4 * 2 + i];
    thread.state = State::Ready;
  }
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
      if (byte.reader != -1 && byte.reader != me && byte.read == phase)
        return fail("a write" + place() + ", which another thread read since the last barrier");
      byte.writer = me, byte.written = phase;
    } else {
      if (byte.writer < 0)
        return fail("a read" + place() + ", which nothing wrote");
      byte.reader = byte.reader == -1 || byte.read != phase || byte.reader == me ? me : -2;
      byte.read = phase;
    }
  }
}

void Executor::Block::access(const uint8_t *address, uint64_t bytes, bool write) {
  if (!error.empty())
    return;
  if (address >= shared.data() && address + bytes <= shared.data() + shared.size())
    return accessShared(address - shared.data(), bytes, write);
  for (Memory &m : memory) {
    if (address < m.range.begin || address + bytes > m.range.begin + m.range.bytes)
      continue;
    if (write && !m.range.writable)
      return fail("a write to memory that is only read");
    if (!m.range.writable)
      return;
    for (uint64_t unit = address - m.range.begin; unit < address - m.range.begin + bytes; ++unit) {
      GlobalUnit &u = m.units[unit];
      if (u.launch == launches && u.block != index)
        return fail((write ? "a write of" : "a read of") + std::string(" what block ") + std::to_string(u.block) +
                    " wrote in the same launch");
      if (write)
        u = {launches, static_cast<int32_t>(index)};
    }
    return;
  }
  fail((write ? "a write of " : "a read of ") + std::to_string(bytes) + " bytes outside of the step's memory");
}

/// The current thread's groups arrive, but for the last `later`. Until then what they bring is NaN.
void Executor::Block::finishCopies(size_t later) {
  auto &groups = current->groups;
  for (; groups.size() > later && error.empty(); groups.erase(groups.begin()))
    for (const Copy &copy : groups.front()) {
      uint64_t offset = copy.target - shared.data();
      for (uint64_t i = 0; i < copy.bytes; ++i)
        sharedBytes[offset + i].awaited = false, sharedBytes[offset + i].written = phase;
      std::memcpy(copy.target, copy.source, copy.read);
      std::memset(copy.target + copy.read, 0, copy.bytes - copy.read);
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
  if (!block.error.empty())
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

static void awaitCopies(void *pointer, int32_t later) { static_cast<Executor::Block *>(pointer)->finishCopies(later); }

static void accessMemory(void *pointer, int64_t address, int64_t bytes, int32_t write) {
  static_cast<Executor::Block *>(pointer)->access(reinterpret_cast<const uint8_t *>(address), bytes, write);
}

std::vector<Function> functions() {
  return {{"gpu_barrier", reinterpret_cast<void *>(barrier)},
          {"gpu_reduce_f32", reinterpret_cast<void *>(reduceFloat)},
          {"gpu_reduce_i32", reinterpret_cast<void *>(reduceInteger)},
          {"gpu_multiply", reinterpret_cast<void *>(multiply)},
          {"gpu_load_matrices", reinterpret_cast<void *>(loadMatrices)},
          {"gpu_copy", reinterpret_cast<void *>(copy)},
          {"gpu_copy_group", reinterpret_cast<void *>(groupCopies)},
          {"gpu_copy_wait", reinterpret_cast<void *>(awaitCopies)},
          {"gpu_access", reinterpret_cast<void *>(accessMemory)}};
}

//===-- Launches --------------------------------------------------------------------------------------------------===//

Executor::Executor() : block(std::make_unique<Block>()) {}
Executor::~Executor() = default;

const std::string &Executor::error() const { return block->error; }

void Executor::setMemory(std::vector<Range> ranges) {
  block->memory.clear();
  for (const Range &range : ranges)
    block->memory.push_back({range, std::vector<GlobalUnit>(range.writable ? range.bytes : 0)});
}

void Executor::launch(Kernel kernel, const LaunchShape &shape, const void *step, int64_t layer, int64_t instance,
                      int64_t tiles, int64_t blocks) {
  Block &b = *block;
  b.kernel = kernel, b.shape = &shape, b.step = step;
  b.layer = layer, b.instance = instance, b.tiles = tiles, b.blocks = blocks;
  b.launches++;
  for (int64_t i = 0; i < blocks && b.error.empty(); ++i) {
    b.index = b.launches % 2 ? i : blocks - 1 - i;
    b.run();
  }
}

} // namespace qwench::gpu_on_cpu
