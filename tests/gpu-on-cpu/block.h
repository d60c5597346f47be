// Runs kernels of the gpu dialect on the CPU: a fiber for each thread of a block; barriers and subgroup reductions are
// meeting points. Blocks run one after another, those of a cooperative kernel in turn: a thread that polls memory lets the
// others go on. Finds what a GPU would not tell: threads that wait for others in vain, accesses outside of the step's
// memory, reads of workgroup memory that nothing wrote, or that an asynchronous copy which nothing waited for writes, accesses
// of one place by two threads without a barrier between, or by two blocks of one launch, or phase, loads of matrices that share
// banks, products of a warpgroup that read what is not visible to them, or whose sums are read before they are there, copies of many
// pieces that no mbarrier has told of, and accesses to what launches write before a dependent kernel waits for those before it.
#pragma once

#include "tests/gpu-on-cpu/kernels.h"

#include <cstddef>

namespace qwench::gpu_on_cpu {

using gpu_test::Range;

/// A kernel as lowered by lower.h: every thread calls it.
using Kernel = void (*)(const void *step, int64_t layer, int64_t instance, int64_t tiles, void *block, uint8_t *shared,
                        int64_t thread, int64_t blockIndex, int64_t blocks);

struct LaunchShape {
  std::string name;
  int64_t threads = 0, subgroupSize = 32, sharedBytes = 0;
  bool cooperative = false; ///< its blocks meet
  bool dependent = false;   ///< launches before it may still run until it waits for them
};

class Executor {
public:
  Executor();
  ~Executor();

  /// Replaces the memory that kernels may access.
  void setMemory(std::vector<Range> ranges);

  /// Runs all blocks, in descending order on every second launch: tiles may not depend on their order. After an error,
  /// nothing runs any more.
  void launch(Kernel kernel, const LaunchShape &shape, const void *step, int64_t layer, int64_t instance, int64_t tiles,
              int64_t blocks);

  /// The first error, with kernel and place; empty if there was none.
  const std::string &error() const;

  struct Block;
  struct Grid;

private:
  std::unique_ptr<Grid> grid;
};

/// The functions that lowered kernels call, by name.
struct Function {
  const char *name;
  void *address;
};
std::vector<Function> functions();

/// What a reduction combines with.
enum Reduction : int32_t { kAdd, kMax, kMin };

/// Which matrix unit a product is of. A lane gives its operands in memory: A at byte 0, B at 32, C at 64, where the
/// result then is.
enum MatrixProduct : int32_t { kMmaSync, kMfma, kWmma11, kWmma12 };

} // namespace qwench::gpu_on_cpu
