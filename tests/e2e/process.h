// Running programs, and a directory for what they write.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace qwench::e2e {

/// A new directory under the build directory, removed with what is in it.
class Scratch {
public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch &) = delete;

  std::string operator/(const std::string &name) const { return (root / name).string(); }
  const std::filesystem::path &path() const { return root; }
  /// Names in the directory, sorted.
  std::vector<std::string> files() const;

private:
  std::filesystem::path root;
};

struct Outcome {
  int code = -1; ///< exit code, or 128 + the signal
  std::string out, err;
};

/// Runs a program to its end. `input` is its standard input.
Outcome run(const std::vector<std::string> &command, const std::string &input = "");
/// The same, sending a signal after some milliseconds if it still runs.
Outcome runAndSignal(const std::vector<std::string> &command, int signal, int milliseconds);

/// `qwench` with these arguments.
Outcome runTool(std::vector<std::string> arguments);

std::string readFile(const std::string &path);
void writeFile(const std::string &path, const std::string &bytes);

/// A directory of tests/golden/models.
std::string goldenModel(const std::string &name);

} // namespace qwench::e2e
