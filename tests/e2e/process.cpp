#include "tests/e2e/process.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace qwench::e2e {

namespace fs = std::filesystem;

namespace {

int memoryFile(const std::string &bytes = "") {
  int fd = memfd_create("stream", MFD_CLOEXEC);
  if (fd < 0 || write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
    throw std::runtime_error("memfd_create failed");
  lseek(fd, 0, SEEK_SET);
  return fd;
}

std::string takeText(int fd) {
  std::string text(lseek(fd, 0, SEEK_END), '\0');
  if (pread(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
    text = "(unreadable)";
  close(fd);
  return text;
}

} // namespace

Scratch::Scratch() {
  fs::create_directories(QWENCH_BINARY_DIR "/tests/scratch");
  std::string name = QWENCH_BINARY_DIR "/tests/scratch/XXXXXX";
  if (!mkdtemp(name.data()))
    throw std::runtime_error("cannot make " + name);
  root = name;
}

Scratch::~Scratch() {
  std::error_code ignored;
  fs::remove_all(root, ignored);
}

std::vector<std::string> Scratch::files() const {
  std::vector<std::string> names;
  for (const auto &entry : fs::directory_iterator(root))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

Outcome runAndSignal(const std::vector<std::string> &command, int signal, int milliseconds) {
  int in = memoryFile(), out = memoryFile(), err = memoryFile();
  std::vector<char *> arguments;
  for (const std::string &argument : command)
    arguments.push_back(const_cast<char *>(argument.c_str()));
  arguments.push_back(nullptr);
  pid_t child = fork();
  if (child == 0) {
    dup2(in, 0), dup2(out, 1), dup2(err, 2);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  if (signal) {
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    kill(child, signal);
  }
  int status = 0;
  waitpid(child, &status, 0);
  close(in);
  Outcome outcome;
  outcome.code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  outcome.out = takeText(out);
  outcome.err = takeText(err);
  return outcome;
}

Outcome run(const std::vector<std::string> &command, const std::string &input) {
  if (input.empty())
    return runAndSignal(command, 0, 0);
  Scratch scratch;
  writeFile(scratch / "in", input);
  std::string quoted = "exec";
  for (const std::string &argument : command)
    quoted += " '" + argument + "'";
  return runAndSignal({"/bin/sh", "-c", quoted + " < '" + (scratch / "in") + "'"}, 0, 0);
}

Outcome runTool(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), QWENCH_TOOL);
  return run(arguments);
}

std::string readFile(const std::string &path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void writeFile(const std::string &path, const std::string &bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string goldenModel(const std::string &name) { return QWENCH_SOURCE_DIR "/tests/golden/models/" + name; }

} // namespace qwench::e2e
