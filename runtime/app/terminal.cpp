#include "runtime/app/terminal.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

namespace qwench::app {

namespace {

std::atomic<bool> interrupted{false};
struct sigaction before;
std::atomic<const char *> doomedFile{nullptr};

void onInterrupt(int) { interrupted.store(true, std::memory_order_relaxed); }

void onDeath(int number) {
  if (const char *path = doomedFile.load())
    unlink(path);
  signal(number, SIG_DFL);
  raise(number);
}

/// Waits for something to read on stdin; false when Ctrl-C came first, even just before the wait.
bool waitForInput() {
  sigset_t interrupt, before;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  pthread_sigmask(SIG_BLOCK, &interrupt, &before);
  bool pressed = false;
  for (;;) {
    pressed = InterruptGuard::taken();
    pollfd input = {STDIN_FILENO, POLLIN, 0};
    if (pressed || ppoll(&input, 1, nullptr, &before) >= 0 || errno != EINTR)
      break;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return !pressed;
}

} // namespace

Status writeOut(std::string_view text) {
  while (!text.empty()) {
    ssize_t done = write(STDOUT_FILENO, text.data(), text.size());
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      return userError(std::string("cannot write to standard output: ") + strerror(errno));
    text.remove_prefix(done);
  }
  return ok();
}

bool stdinIsTerminal() { return isatty(STDIN_FILENO) == 1; }
bool stdoutIsTerminal() { return isatty(STDOUT_FILENO) == 1; }

InterruptGuard::InterruptGuard() {
  struct sigaction action = {};
  action.sa_handler = &onInterrupt; // without SA_RESTART: reading a line ends
  sigaction(SIGINT, &action, &before);
}

InterruptGuard::~InterruptGuard() { sigaction(SIGINT, &before, nullptr); }

bool InterruptGuard::taken() { return interrupted.exchange(false, std::memory_order_relaxed); }

void removeWhenKilled(const char *path) {
  doomedFile.store(path);
  if (!path)
    return;
  for (int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE})
    if (signal(number, &onDeath) == SIG_IGN) // nohup and the like
      signal(number, SIG_IGN);
}

LineEnd readLine(std::string_view prompt, std::string &line) {
  static std::string rest; // read but not yet given out
  static bool ended = false;
  if (stdinIsTerminal())
    (void)writeOut(prompt);
  for (;;) {
    size_t newline = rest.find('\n');
    if (newline != std::string::npos || (ended && !rest.empty())) {
      line = rest.substr(0, newline);
      rest.erase(0, newline == std::string::npos ? newline : newline + 1);
      if (!line.empty() && line.back() == '\r')
        line.pop_back();
      return LineEnd::Line;
    }
    if (ended)
      return LineEnd::EndOfInput;
    if (!waitForInput())
      return LineEnd::Interrupted;
    char buffer[4096];
    ssize_t got = read(STDIN_FILENO, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      ended = true;
    else
      rest.append(buffer, got);
  }
}

Progress::Progress(std::string unit) : unit(std::move(unit)), visible(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (visible)
    fputs("\r\033[K", stderr);
}

void Progress::show(int64_t done, int64_t total) {
  if (visible)
    fprintf(stderr, "\r%lld of %lld %s", static_cast<long long>(done), static_cast<long long>(total),
            unit.c_str());
}

} // namespace qwench::app
