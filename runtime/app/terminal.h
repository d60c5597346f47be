// The terminal: writing to stdout with its errors, Ctrl-C, colours, progress.
#pragma once

#include "runtime/abi/result.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace qwench::app {

/// Writes to standard output at once. A reader that has gone away (EPIPE) or a full disk is an error.
Status writeOut(std::string_view text);

bool stdinIsTerminal();
bool stdoutIsTerminal();

/// Between construction and destruction Ctrl-C sets a flag instead of ending the program.
class InterruptGuard {
public:
  InterruptGuard();
  ~InterruptGuard();
  /// Whether Ctrl-C was pressed since the last call.
  static bool taken();
};

/// Removes the file if a signal ends the program; nullptr ends the watch. The path must stay valid meanwhile.
void removeWhenKilled(const char *path);

/// One line from stdin, prompted if stdin is a terminal. Only under an InterruptGuard.
enum class LineEnd { Line, EndOfInput, Interrupted };
LineEnd readLine(std::string_view prompt, std::string &line);

/// "12 of 40 windows" on one line of stderr, if that is a terminal.
class Progress {
public:
  explicit Progress(std::string unit);
  ~Progress();
  void show(int64_t done, int64_t total);

private:
  std::string unit;
  bool visible;
};

} // namespace qwench::app
