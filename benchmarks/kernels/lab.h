// Makes the kernel of a benchmark when it is its turn, and measures it.
#pragma once

#include "benchmarks/kernels/kernel.h"
#include "benchmarks/kernels/roofline.h"

#include "mlir/IR/MLIRContext.h"

#include <benchmark/benchmark.h>

#include <memory>
#include <string>

namespace qwench::kernels {

/// What a benchmark measures.
struct Spec {
  enum class Kind {
    Linear,    ///< reads a matrix; counted: weights
    Attention, ///< reads the cache; counted: cache
    Rows,      ///< counted: rows read and written, and what little weights there are
  };
  enum class Routing {
    None,
    Uniform,    ///< every expert as often; of few rows others in each step
    SameExperts ///< all rows choose the same
  };

  std::string name;
  Kind kind = Kind::Linear;
  OpChoice op; ///< `decode` and `layers` follow from the rest
  Rows rows;
  Routing routing = Routing::None;
};

struct LabOptions {
  std::string cpu = "native";
  int threads = 1;
  int64_t workingSet = 0; ///< bytes that the weights, or the cache, of a decode step have at least: beyond the caches
};

class Lab {
public:
  static Result<std::unique_ptr<Lab>> create(const LabOptions &options, const Roofline &roofline);

  /// One Google Benchmark run of the spec. Its counters: calls of the op in a step, GB/s, GFLOP/s, and of_limit, the least
  /// time that the roofline allows divided by the time taken; the label names the loop that bounds it.
  void measure(benchmark::State &state, const Spec &spec);

  /// Whether a kernel could not be made.
  bool failed() const { return failures > 0; }

private:
  Lab(const LabOptions &options, const Roofline &roofline) : options(options), roofline(roofline) {}
  Result<PlannedOp> plan(const Spec &spec, int64_t layers);
  Result<Kernel *> prepare(const Spec &spec);
  Status make(const Spec &spec);
  void report(benchmark::State &state, const Spec &spec, double seconds);

  LabOptions options;
  Roofline roofline;
  std::unique_ptr<mlir::MLIRContext> context;
  std::unique_ptr<Target> target;
  std::unique_ptr<QwenchTeam> team;
  std::unique_ptr<Kernel> kernel; ///< of `made`
  std::string made;
  int failures = 0;
};

} // namespace qwench::kernels
