#include "compiler/link/output_file.h"

#include "llvm/Support/Signals.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace qwench::link {

Error writeError(std::string_view path, int error) {
  return userError("cannot write '" + std::string(path) + "': " + strerror(error));
}

Result<OutputFile> OutputFile::create(const std::string &path, bool direct) {
  struct stat status;
  bool exists = stat(path.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode))
    return userError("cannot write '" + path + "': it is a directory");
  if (exists && !S_ISREG(status.st_mode)) {
    if (!direct)
      return userError("cannot write '" + path + "': it is not a regular file");
    int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0)
      return writeError(path, errno);
    return OutputFile(path, "", fd);
  }
  std::string working = path + ".tmp-" + std::to_string(getpid());
  int fd = open(working.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0)
    return writeError(path, errno);
  llvm::sys::RemoveFileOnSignal(working);
  return OutputFile(path, working, fd);
}

OutputFile::OutputFile(OutputFile &&other) noexcept
    : name(std::move(other.name)), working(std::move(other.working)), fd(std::exchange(other.fd, -1)) {
  other.working.clear();
}

OutputFile::~OutputFile() { discard(); }

void OutputFile::discard() {
  if (fd >= 0)
    close(std::exchange(fd, -1));
  if (working.empty())
    return;
  unlink(working.c_str());
  llvm::sys::DontRemoveFileOnSignal(working);
  working.clear();
}

Result<uint64_t> OutputFile::size() const {
  struct stat status;
  if (fstat(fd, &status) != 0)
    return writeError(name, errno);
  return static_cast<uint64_t>(status.st_size);
}

Status OutputFile::append(std::string_view bytes) {
  if (working.empty()) {
    while (!bytes.empty()) {
      ssize_t count = ::write(fd, bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR)
        continue;
      if (count < 0)
        return writeError(name, errno);
      bytes.remove_prefix(count);
    }
    return ok();
  }
  Result<uint64_t> end = size();
  if (!end)
    return end.takeError();
  return write(bytes, *end);
}

Status OutputFile::write(std::string_view bytes, uint64_t offset) {
  while (!bytes.empty()) {
    ssize_t count = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return writeError(name, errno);
    bytes.remove_prefix(count);
    offset += count;
  }
  return ok();
}

Status OutputFile::extend(uint64_t bytes) {
  Result<uint64_t> end = size();
  if (!end)
    return end.takeError();
  if (bytes == 0)
    return ok();
  int result = fallocate(fd, 0, static_cast<off_t>(*end), static_cast<off_t>(bytes));
  if (result != 0 && errno == EOPNOTSUPP)
    result = ftruncate(fd, static_cast<off_t>(*end + bytes));
  if (result != 0)
    return writeError(name, errno);
  return ok();
}

Status OutputFile::commit(bool executable) {
  if (working.empty()) {
    if (close(std::exchange(fd, -1)) != 0)
      return writeError(name, errno);
    return ok();
  }
  mode_t mask = umask(0);
  umask(mask);
  bool failed = fchmod(fd, (executable ? 0777 : 0666) & ~mask) != 0;
  failed = close(std::exchange(fd, -1)) != 0 || failed;
  if (failed || rename(working.c_str(), name.c_str()) != 0)
    return writeError(name, errno);
  llvm::sys::DontRemoveFileOnSignal(working);
  working.clear();
  return ok();
}

} // namespace qwench::link
