// A directory for inputs that are files.
#pragma once

#include "tests/fuzz/check.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdlib.h>
#include <string>

/// A directory for the input, made once per process and removed with it.
struct InputDirectory {
  std::string path;
  InputDirectory() {
    const char *base = getenv("TMPDIR");
    path = std::string(base ? base : "/tmp") + "/qwench-fuzz-XXXXXX";
    QWENCH_FUZZ_CHECK(mkdtemp(path.data()));
  }
  ~InputDirectory() { std::filesystem::remove_all(path); }
};

inline const std::string &inputDirectory() {
  static const InputDirectory directory;
  return directory.path;
}

/// Replaces a file of the directory.
inline void writeInput(const char *name, const uint8_t *data, size_t size) {
  std::ofstream(inputDirectory() + "/" + name, std::ios::binary | std::ios::trunc)
      .write(reinterpret_cast<const char *>(data), static_cast<std::streamsize>(size));
}
