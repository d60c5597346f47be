#include "runtime/core/file.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace qwench {

namespace {
constexpr uint64_t kHugePage = 2u << 20;
constexpr uint64_t kMaxTransfer = 1u << 30; // read() and write() stop at 2 GiB

std::string errorText(int error) {
  char buffer[128];
  return strerror_r(error, buffer, sizeof buffer);
}
} // namespace

std::string systemMessage(std::string_view what, std::string_view path, int error) {
  std::string message(what);
  message.append(" '").append(path).append("': ").append(errorText(error));
  return message;
}

/// The executable's own path instead of /proc/self/exe, for messages and for the files beside it.
static std::string realName(const std::string &path) {
  char target[PATH_MAX];
  ssize_t length = path == "/proc/self/exe" ? readlink(path.c_str(), target, sizeof target) : -1;
  return length > 0 ? std::string(target, length) : path;
}

Result<File> File::open(const std::string &path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return userError(systemMessage("cannot open", path, errno));
  struct stat status;
  if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(fd);
    return userError("expected a regular file, found something else at '" + path + "'");
  }
  return File(fd, static_cast<uint64_t>(status.st_size), realName(path));
}

File::File(File &&other) noexcept : fd(other.fd), size(other.size), name(std::move(other.name)) {
  other.fd = -1;
}

File &File::operator=(File &&other) noexcept {
  std::swap(fd, other.fd);
  std::swap(size, other.size);
  std::swap(name, other.name);
  return *this;
}

File::~File() {
  if (fd >= 0)
    close(fd);
}

Status File::read(uint64_t offset, void *out, uint64_t count) const {
  auto *to = static_cast<uint8_t *>(out);
  while (count > 0) {
    ssize_t got = pread(fd, to, std::min(count, kMaxTransfer), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return userError(systemMessage("cannot read", name, errno));
    if (got == 0)
      return userError("'" + name + "' ends at byte " + std::to_string(offset) + ", expected " +
                       std::to_string(count) + " more");
    to += got, offset += got, count -= got;
  }
  return ok();
}

Mapping::Mapping(Mapping &&other) noexcept { *this = std::move(other); }

Mapping &Mapping::operator=(Mapping &&other) noexcept {
  std::swap(start, other.start);
  std::swap(length, other.length);
  std::swap(base, other.base);
  std::swap(baseBytes, other.baseBytes);
  return *this;
}

Mapping::~Mapping() {
  if (base)
    munmap(base, baseBytes);
}

Result<Mapping> Mapping::anonymous(uint64_t bytes, bool hugePages) {
  uint64_t slack = hugePages ? kHugePage : 0;
  if (bytes > UINT64_MAX / 2)
    return userError("cannot reserve " + std::to_string(bytes) + " bytes of memory");
  Mapping result;
  result.length = bytes;
  result.baseBytes = std::max<uint64_t>(bytes, 1) + slack;
  void *base = mmap(nullptr, result.baseBytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED)
    return userError("cannot reserve " + std::to_string(bytes) + " bytes of memory: " + errorText(errno));
  result.base = base;
  auto address = reinterpret_cast<uintptr_t>(base);
  if (hugePages)
    address = (address + kHugePage - 1) & ~(kHugePage - 1);
  result.start = reinterpret_cast<uint8_t *>(address);
  if (hugePages)
    madvise(result.start, bytes, MADV_HUGEPAGE);
  return result;
}

Result<Mapping> Mapping::ofFile(const File &file, uint64_t offset, uint64_t bytes) {
  if (offset > file.bytes() || bytes > file.bytes() - offset)
    return userError("'" + file.path() + "' is shorter than expected");
  Mapping result;
  result.length = bytes;
  if (bytes == 0)
    return result;
  void *base = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file.descriptor(), static_cast<off_t>(offset));
  if (base == MAP_FAILED)
    return userError(systemMessage("cannot map", file.path(), errno));
  result.base = base;
  result.baseBytes = bytes;
  result.start = static_cast<uint8_t *>(base);
  return result;
}

Result<OutputFile> OutputFile::create(const std::string &path) {
  struct stat status;
  if (stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode))
    return userError("cannot write '" + path + "': it is a directory");
  if (stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0)
      return userError(systemMessage("cannot write", path, errno));
    return OutputFile(fd, path, "");
  }
  std::string temporary = path + ".XXXXXX.tmp";
  int fd = mkostemps(temporary.data(), 4, O_CLOEXEC);
  if (fd < 0)
    return userError(systemMessage("cannot write", path, errno));
  mode_t mask = umask(0);
  umask(mask);
  fchmod(fd, 0666 & ~mask);
  return OutputFile(fd, path, temporary);
}

OutputFile::OutputFile(OutputFile &&other) noexcept
    : fd(other.fd), path(std::move(other.path)), temporary(std::move(other.temporary)) {
  other.fd = -1;
  other.temporary.clear();
}

OutputFile::~OutputFile() {
  if (fd >= 0)
    close(fd);
  if (!temporary.empty())
    unlink(temporary.c_str());
}

Status OutputFile::write(const void *data, uint64_t bytes) {
  auto *from = static_cast<const uint8_t *>(data);
  while (bytes > 0) {
    ssize_t done = ::write(fd, from, std::min(bytes, kMaxTransfer));
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      return userError(systemMessage("cannot write", path, errno));
    from += done, bytes -= done;
  }
  return ok();
}

Status OutputFile::commit() {
  int closed = close(fd);
  fd = -1;
  if (closed != 0)
    return userError(systemMessage("cannot write", path, errno));
  if (!temporary.empty() && rename(temporary.c_str(), path.c_str()) != 0)
    return userError(systemMessage("cannot write", path, errno));
  temporary.clear();
  return ok();
}

Result<std::string> readWhole(const std::string &path, uint64_t limit) {
  int fd = path == "-" ? dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return userError(systemMessage("cannot open", path, errno));
  std::string text;
  char buffer[1 << 16];
  for (;;) {
    ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR)
      continue;
    int error = errno;
    if (got <= 0) {
      close(fd);
      if (got < 0)
        return userError(systemMessage("cannot read", path, error));
      return text;
    }
    text.append(buffer, got);
    if (text.size() > limit) {
      close(fd);
      return userError("'" + path + "' is longer than " + std::to_string(limit) + " bytes");
    }
  }
}

} // namespace qwench
