// What the tool says while it works: progress bars on a terminal, plain lines with -v, else only the summary.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace qwench {

/// "1.25 GB", "312 kB".
std::string formatBytes(uint64_t bytes);
/// "0.42 s"
std::string formatSeconds(double seconds);

/// Writes to stderr.
class Console {
public:
  explicit Console(bool verbose);

  /// A line that only -v shows.
  void detail(std::string_view line);
  /// A line that is always shown.
  void summary(std::string_view line);
  /// "qwench: warning: ..."
  void warning(std::string_view line);
  /// A step of known size; drawn on a terminal a few times a second, and said once with -v when it is done.
  void progress(std::string_view step, uint64_t done, uint64_t total);
  /// A step of unknown size has begun.
  void begin(std::string_view step);

  double seconds() const;

private:
  void clear();

  bool verbose, terminal, drawn = false;
  std::chrono::steady_clock::time_point start, lastDraw;
};

} // namespace qwench
