// Running the fake model's program, with its bundle appended, as users run compiled models.
#pragma once

#include "tests/unit/runtime/fake_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace qwench::fake {

struct Ran {
  int code = -1;
  std::string out, err;
};

class CliTest : public testing::Test {
protected:
  /// What the program ends in.
  virtual std::string appended(const std::string &executable) { return modelBytes(executable); }

  void SetUp() override {
    directory = "/tmp/qwench-cli-XXXXXX";
    ASSERT_NE(mkdtemp(directory.data()), nullptr);
    program = directory + "/model";
    write(program, appended(readFile(FAKE_MODEL)));
  }
  void TearDown() override { (void)!system(("rm -rf " + directory).c_str()); }

  static void write(const std::string &path, const std::string &bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
    chmod(path.c_str(), 0755);
  }

  /// Runs a shell command; "MODEL" in it is the program.
  Ran shell(std::string command) {
    for (size_t at; (at = command.find("MODEL")) != std::string::npos;)
      command.replace(at, 5, program);
    Ran run;
    int status = system(("cd " + directory + "; (" + command + ") > out 2> err").c_str());
    run.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    run.out = readFile(directory + "/out");
    run.err = readFile(directory + "/err");
    return run;
  }

  void expectError(const std::string &command, const std::string &message) {
    Ran run = shell(command);
    EXPECT_EQ(run.code, 1) << command;
    EXPECT_EQ(run.out, "") << command;
    EXPECT_THAT(run.err, testing::StartsWith("model: error: ")) << command;
    EXPECT_THAT(run.err, testing::HasSubstr(message)) << command;
    EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
  }

  std::vector<std::string> filesThere() {
    Ran run = shell("ls | grep -vxE 'out|err|model'");
    std::vector<std::string> names;
    std::stringstream lines(run.out);
    for (std::string name; std::getline(lines, name);)
      names.push_back(name);
    return names;
  }

  std::string directory, program;
};

/// What the fake model says after these tokens.
inline std::vector<int32_t> greedy(std::vector<int32_t> tokens, int count) {
  std::vector<int32_t> result;
  for (int i = 0; i < count; ++i) {
    auto logits = fake::expectedLogits(tokens);
    tokens.push_back(static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    result.push_back(tokens.back());
  }
  return result;
}

inline std::string joined(const std::vector<int32_t> &ids) {
  std::string text;
  for (int32_t id : ids)
    text += (text.empty() ? "" : ",") + std::to_string(id);
  return text;
}

} // namespace qwench::fake
