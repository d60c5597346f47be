#include "compiler/driver/console.h"

#include <cstdio>
#include <unistd.h>

namespace qwench {

std::string formatBytes(uint64_t bytes) {
  const char *unit = "B";
  double value = static_cast<double>(bytes);
  for (const char *next : {"kB", "MB", "GB", "TB"}) {
    if (value < 1000)
      break;
    value /= 1000, unit = next;
  }
  char text[32];
  snprintf(text, sizeof text,
           value < 10 && *unit != 'B'    ? "%.2f %s"
           : value < 100 && *unit != 'B' ? "%.1f %s"
                                         : "%.0f %s",
           value, unit);
  return text;
}

std::string formatSeconds(double seconds) {
  char text[32];
  snprintf(text, sizeof text, seconds < 10 ? "%.2f s" : "%.0f s", seconds);
  return text;
}

Console::Console(bool verbose)
    : verbose(verbose), terminal(isatty(STDERR_FILENO) == 1), start(std::chrono::steady_clock::now()) {}

double Console::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void Console::clear() {
  if (drawn)
    fputs("\r\033[K", stderr);
  drawn = false;
}

void Console::detail(std::string_view line) {
  if (!verbose)
    return;
  clear();
  fprintf(stderr, "[%6.2f s] %.*s\n", seconds(), static_cast<int>(line.size()), line.data());
}

void Console::summary(std::string_view line) {
  clear();
  fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
}

void Console::warning(std::string_view line) {
  clear();
  fprintf(stderr, "qwench: warning: %.*s\n", static_cast<int>(line.size()), line.data());
}

void Console::begin(std::string_view step) {
  if (!terminal)
    return;
  clear();
  fprintf(stderr, "%.*s ...", static_cast<int>(step.size()), step.data());
  fflush(stderr);
  drawn = true;
}

void Console::progress(std::string_view step, uint64_t done, uint64_t total) {
  auto now = std::chrono::steady_clock::now();
  if (done == total) {
    clear();
    detail(std::string(step) + ": " + formatBytes(total));
    return;
  }
  if (!terminal || now - lastDraw < std::chrono::milliseconds(100))
    return;
  lastDraw = now;
  constexpr int width = 30;
  int filled = total ? static_cast<int>(static_cast<double>(done) / static_cast<double>(total) * width) : 0;
  char bar[width + 1] = {};
  for (int i = 0; i < width; i++)
    bar[i] = i < filled ? '#' : '.';
  fprintf(stderr, "\r\033[K%.*s [%s] %s of %s", static_cast<int>(step.size()), step.data(), bar,
          formatBytes(done).c_str(), formatBytes(total).c_str());
  fflush(stderr);
  drawn = true;
}

} // namespace qwench
