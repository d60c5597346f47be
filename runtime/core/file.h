// Files: opening, mapping, reading whole ranges, and writing aside then renaming.
#pragma once

#include "runtime/abi/result.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qwench {

/// "cannot open 'x': No such file or directory"
std::string systemMessage(std::string_view what, std::string_view path, int error);

/// A read-only file descriptor and the file's size.
class File {
public:
  static Result<File> open(const std::string &path);
  File(File &&other) noexcept;
  File &operator=(File &&other) noexcept;
  ~File();

  int descriptor() const { return fd; }
  uint64_t bytes() const { return size; }
  const std::string &path() const { return name; } // /proc/self/exe resolved

  /// Reads exactly [offset, offset + count); a file that ends before is an error. Safe from several threads.
  Status read(uint64_t offset, void *out, uint64_t count) const;

private:
  File(int fd, uint64_t size, std::string name) : fd(fd), size(size), name(std::move(name)) {}

  int fd = -1;
  uint64_t size = 0;
  std::string name;
};

/// Memory from mmap. Movable, unmapped at the end.
class Mapping {
public:
  Mapping() = default;
  Mapping(Mapping &&other) noexcept;
  Mapping &operator=(Mapping &&other) noexcept;
  ~Mapping();

  /// Zeroed memory that is touched lazily and not counted before (MAP_NORESERVE). `hugePages` aligns to 2 MiB
  /// and asks for 2 MiB pages; where the kernel refuses those, ordinary pages serve.
  static Result<Mapping> anonymous(uint64_t bytes, bool hugePages);
  /// A read-only private view of a file's range; offset must be a multiple of the page size.
  static Result<Mapping> ofFile(const File &file, uint64_t offset, uint64_t bytes);

  uint8_t *data() const { return start; }
  uint64_t bytes() const { return length; }

private:
  uint8_t *start = nullptr;
  uint64_t length = 0;
  void *base = nullptr; // what munmap gets
  uint64_t baseBytes = 0;
};

/// Writes a file so that it is either whole or not there: the bytes go to a temporary file in the same
/// directory, which commit() renames. Without commit() the temporary file is removed. Special files
/// (/dev/stdout, pipes) are written directly.
class OutputFile {
public:
  static Result<OutputFile> create(const std::string &path);
  OutputFile(OutputFile &&other) noexcept;
  OutputFile &operator=(OutputFile &&) = delete;
  ~OutputFile();

  Status write(const void *data, uint64_t bytes);
  Status commit();
  /// The name the bytes have until commit(), for removal by a signal handler; null for special files.
  const char *temporaryPath() const { return temporary.empty() ? nullptr : temporary.c_str(); }

private:
  OutputFile(int fd, std::string path, std::string temporary)
      : fd(fd), path(std::move(path)), temporary(std::move(temporary)) {}

  int fd = -1;
  std::string path, temporary; // temporary is empty for special files
};

/// The whole of a (small) file, pipe or "-" for stdin, at most `limit` bytes.
Result<std::string> readWhole(const std::string &path, uint64_t limit);

} // namespace qwench
