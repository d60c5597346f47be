// The least time that this machine could take: what a kernel's time is set beside.
#pragma once

#include "benchmarks/limits/measure.h"
#include "runtime/abi/result.h"

#include <optional>
#include <string_view>
#include <vector>

namespace qwench::kernels {

/// What a step must do.
struct Load {
  double bytes = 0;             ///< read from memory, or of rows read and written
  double operations = 0;        ///< a multiply-add counting as two
  std::string_view unit = "f32"; ///< name of the loop that does such operations
};

class Roofline {
public:
  /// Runs the loops of qwench-limits that this CPU has.
  static Result<Roofline> measure(const limits::Settings &settings);

  struct Bound {
    double seconds;
    const limits::Loop *loop; ///< that takes them
  };
  /// The longer of reading and computing; nothing if this CPU lacks a loop that it takes.
  std::optional<Bound> bound(const Load &load) const;

  /// Shows the loops' rates with the benchmarks' results.
  void addToContext() const;

private:
  const limits::Measurement *find(std::string_view loop) const; ///< null if this CPU lacks it

  std::vector<limits::Measurement> measurements;
};

} // namespace qwench::kernels
