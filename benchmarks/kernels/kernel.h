// A planned op as code in this process, with memory to work on.
#pragma once

#include "benchmarks/kernels/planned_op.h"
#include "compiler/jit/loaded_program.h"
#include "runtime/core/file.h"
#include "runtime/core/team.h"

#include <memory>
#include <span>
#include <vector>

namespace qwench::kernels {

/// The rows of a step, all of one sequence.
struct Rows {
  int64_t count = 1; ///< 1 .. the entry's most
  int64_t depth = 0; ///< positions before the first row
  bool outputs = false; ///< whether the logits of all rows are wanted
};

/// One thing to run at a time: a step of an op.
class Kernel {
public:
  /// Compiles the op, whose module is spent, and fills weights, activations and cache with plausible numbers. `team` must
  /// outlive the kernel. An error if this CPU lacks what the code needs.
  static Result<std::unique_ptr<Kernel>> create(PlannedOp planned, const Target &target, QwenchTeam &team, const Rows &rows,
                                                bool decode);

  /// Runs the step on all threads.
  void run() const { run(*code); }

  /// For ops on experts: `dispatch`, the qwen.dispatch of the same program, sorts the rows by the experts given,
  /// [rows, topK], so that the op finds its segments.
  Status setDispatch(PlannedOp dispatch, const Target &target);
  void route(std::span<const int32_t> experts);

  const PlannedOp &op() const { return planned; }

private:
  explicit Kernel(QwenchTeam &team) : team(team) {}
  Status allocate(const Rows &rows);
  void run(const LoadedProgram &program) const;

  QwenchTeam &team;
  PlannedOp planned;
  bool decode = false;
  std::unique_ptr<LoadedProgram> code, dispatch;
  Place ids;
  Mapping weights, arena, cache, logits;
  std::vector<int32_t> tokens, positions, slots, contexts, outputs;
  QwenchStep step = {};
};

} // namespace qwench::kernels
