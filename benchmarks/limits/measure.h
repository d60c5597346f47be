// Runs loops on all threads at once and takes times inside the workers.
#pragma once

#include "benchmarks/limits/loops.h"

#include <string>
#include <vector>

namespace qwench::limits {

struct Settings {
  int threads = 1;           ///< >= 1; thread t is pinned to the t-th CPU of the process's affinity mask
  int rounds = 7;            ///< >= 1; in each, every loop runs once
  size_t bytes = 1ull << 30; ///< of the buffer that all threads read together, each its own part
  double seconds = 0.1;      ///< that one run of a computing loop shall take, about
};

struct Measurement {
  const Loop *loop = nullptr;
  std::vector<double> rates; ///< one of each round, in the loop's unit
  size_t hugeBytes = 0;      ///< of a read's buffer that really is on huge pages
};

/// An error text ("" if none) beside the measurements, in the order of `chosen`; all of them must be
/// supported here.
std::string measure(const Settings &settings, std::span<const Loop *const> chosen,
                    std::vector<Measurement> &measurements);

/// The value that the given fraction of sorted values lies below; values is not empty.
double quantile(std::vector<double> values, double fraction);

} // namespace qwench::limits
