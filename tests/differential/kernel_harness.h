// Emitted kernels in this process: a planned module is lowered, compiled for a CPU and called on memory of the test's.
#pragma once

#include "compiler/jit/loaded_program.h"
#include "runtime/abi/program.h"
#include "runtime/abi/result.h"
#include "runtime/core/team.h"

#include <memory>
#include <string>
#include <vector>

namespace qwench::test {

/// 64-byte aligned bytes, zero at first.
class Memory {
public:
  explicit Memory(int64_t bytes) : storage(bytes + 64) {
    start = storage.data() + (64 - reinterpret_cast<uintptr_t>(storage.data()) % 64) % 64;
  }
  uint8_t *data() { return start; }
  template <typename T> T *at(int64_t byte) { return reinterpret_cast<T *>(start + byte); }

private:
  std::vector<uint8_t> storage;
  uint8_t *start;
};

class CompiledKernels {
public:
  /// Compiles the text of a planned module with entries @prefill and @decode for a CPU of LLVM's names, or "native".
  static Result<std::unique_ptr<CompiledKernels>> compile(const std::string &planned, const std::string &cpu);

  const QwenchProgram &program() const { return loaded->program(); }
  /// Whether this machine has what the code needs; a CPU without AMX emulates it.
  bool runsHere() const;
  /// Runs an entry on one thread; step.arena has arena_bytes + thread_scratch_bytes.
  void run(QwenchStepFunction entry, QwenchStep step) const {
    step.team = team.get();
    entry(&step, 0, 1);
  }

private:
  std::unique_ptr<LoadedProgram> loaded;
  std::unique_ptr<QwenchTeam> team;
};

} // namespace qwench::test
