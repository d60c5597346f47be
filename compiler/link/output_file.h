// Output that is either whole or not there.
#pragma once

#include "runtime/abi/result.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace qwench::link {

/// "cannot write 'x': No such file or directory"
Error writeError(std::string_view path, int error);

/// A file that is made as `PATH.tmp-PID` in the same directory and renamed by commit(). Until then it is
/// removed when the object goes, and when a signal ends the program. A path that exists and is no regular
/// file (/dev/stdout, a pipe) is written directly, if `direct` allows it.
class OutputFile {
public:
  /// Fails if the path is a directory, or cannot be written.
  static Result<OutputFile> create(const std::string &path, bool direct = false);
  OutputFile(OutputFile &&other) noexcept;
  OutputFile &operator=(OutputFile &&) = delete;
  ~OutputFile();

  /// What the user called it, and where the bytes are until commit().
  const std::string &path() const { return name; }
  const std::string &temporary() const { return working; }
  int descriptor() const { return fd; }

  /// Bytes in the file.
  Result<uint64_t> size() const;
  Status append(std::string_view bytes);
  Status write(std::string_view bytes, uint64_t offset);
  /// Extends the file with zeros, taking the disk space now, so that a full disk shows before the work.
  Status extend(uint64_t bytes);
  /// Gives the file its name. An existing file of that name is replaced.
  Status commit(bool executable);

private:
  OutputFile(std::string name, std::string working, int fd)
      : name(std::move(name)), working(std::move(working)), fd(fd) {}
  void discard();

  std::string name, working; ///< working is empty if the file is written directly
  int fd = -1;
};

} // namespace qwench::link
