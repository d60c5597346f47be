// What block.cpp, block_matrices.cpp, block_warpgroup.cpp and block_barriers.cpp know of a running grid.
#pragma once

#include "tests/gpu-on-cpu/block.h"
#include "tests/gpu-on-cpu/fiber.h"

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace qwench::gpu_on_cpu {

enum class State { Ready, AtBarrier, AtReduction, AtMatrix, AtLoad, AtWarpgroup, Polling, Done };

/// What happened to a byte of workgroup memory since the last barrier, and before.
struct SharedByte {
  int32_t writer = -1, reader = -1; ///< thread; of readers -2 when there are several
  uint32_t written = 0, read = 0;   ///< phase (barriers so far)
  bool awaited = false;             ///< an asynchronous copy of the writer's is on its way here
  bool published = false;           ///< a fence has made it visible to products of a warpgroup
  uint16_t products = 0;            ///< of a warpgroup, on their way, that read it
  int64_t barrier = -1;             ///< the offset of the mbarrier that told of it, if one did
  uint32_t barrierPhase = 0;
};

/// A product of a warpgroup, with its descriptors: what it adds to is that of another, or 0, or held by its threads.
struct Product {
  int64_t columns;
  uint64_t a, b;
  bool transposed;         ///< whether memory has a row for each input of B
  int32_t before;          ///< the other's number; of what a thread holds, the negative of its number
  int64_t waiters;         ///< threads that have waited for it
  std::vector<float> sums; ///< [64, columns], what was held, and from the first waiter on until another product takes them
  std::vector<float> left; ///< [64, 16], A if it is in registers
};

/// An asynchronous copy to workgroup memory: `read` bytes, and then zeros.
struct Copy {
  uint8_t *target;
  const uint8_t *source;
  uint64_t bytes, read;
};

/// An mbarrier: arrivals and bytes that its phase still waits for; copies on their way that will tell it.
struct Barrier {
  int32_t count, pending;
  int64_t bytes;
  uint32_t phase;
  std::vector<Copy> copies;
};

/// Who wrote a byte of the step's memory in which launch, or phase of one.
struct GlobalUnit {
  uint32_t launch = 0;
  int32_t block = -1;
};

/// A launch, and what outlives it.
struct Executor::Grid {
  struct Memory {
    Range range;
    std::vector<GlobalUnit> units;
  };

  std::vector<std::unique_ptr<Block>> blocks; ///< those that run at once
  std::vector<Memory> memory;
  std::string error;
  uint32_t launches = 0;

  // The launch.
  Kernel kernel = nullptr;
  const LaunchShape *shape = nullptr;
  const void *step = nullptr;
  int64_t layer = 0, instance = 0, tiles = 0, count = 0;

  void run();
};

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
    Product product;                       ///< the one it begins
    std::array<uint32_t, 4> words;         ///< of its A, if that is in registers
    std::vector<std::vector<float>> held;  ///< sums in registers that no product on its way has
    int32_t ticket = 0, begun = 0;         ///< the product's number, from 1 on; that of the last one
    std::vector<int32_t> productGroups;    ///< the last product of each group on its way
    int32_t awaitedProduct = 0;            ///< it and all before it
    std::map<uint64_t, uint32_t> seen;     ///< of mbarriers by offset, the phase after the one it waited for
    bool awaitedLaunches = false;          ///< before it
    bool fenced = false;                   ///< a fence stands behind its last access to sums
    std::vector<std::pair<uint64_t, uint64_t>> unpublished; ///< offsets and bytes that it wrote
    Block *block = nullptr;
    int64_t index = 0;
  };

  explicit Block(Grid &grid) : grid(grid) {}

  Grid &grid;
  std::vector<std::unique_ptr<Thread>> threads;
  std::vector<uint8_t> shared;
  std::vector<SharedByte> sharedBytes;
  std::vector<Product> products; ///< of warpgroups
  std::map<uint64_t, Barrier> barriers; ///< mbarriers, by offset
  uint32_t phase = 0, launch = 0; ///< barriers so far; the grid's launch, and phase of a cooperative one
  Thread *current = nullptr;
  const LaunchShape *shape = nullptr;
  int64_t index = 0;

  bool ok() const { return grid.error.empty(); }
  void fail(const std::string &what) {
    if (ok())
      grid.error = shape->name + " block " + std::to_string(index) +
                   (current ? " thread " + std::to_string(current->index) : "") + ": " + what;
  }
  static std::string at(const Thread &thread) { return " at site " + std::to_string(thread.site); }

  void start(int64_t which);
  void poisonShared();
  bool advance();
  bool resume(Thread &thread);
  bool isDone();
  bool releaseBarrier();
  bool reduceSubgroup(int64_t first);
  bool multiplySubgroup(int64_t first);
  bool loadSubgroup(int64_t first);
  void finishCopies(size_t later);
  bool multiplyWarpgroup(int64_t first);
  Product gatherProduct(int64_t first);
  void beginReading(const Product &product, int64_t first);
  Barrier *findBarrier(uint64_t offset);
  void land(uint64_t offset, Barrier &barrier);
  bool haveSeen(const SharedByte &byte, int64_t first, int64_t count) const;
  void endReading(const Product &product);
  void compute(Product &product);
  void finishProducts(size_t later);
  bool subgroupIsAt(State state, int64_t first) const;
  void wait(State state) {
    current->state = state;
    current->fiber.yield();
  }
  void access(const uint8_t *address, uint64_t bytes, bool write);
  void accessShared(uint64_t offset, uint64_t bytes, bool write);
};

std::vector<Function> warpgroupFunctions(); // block_warpgroup.cpp
std::vector<Function> barrierFunctions();   // block_barriers.cpp

} // namespace qwench::gpu_on_cpu
