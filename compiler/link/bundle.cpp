#include "compiler/link/bundle.h"

#include "runtime/abi/xxh64.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace qwench::link {

namespace {

template <typename T> std::string_view bytesOf(const T &value) {
  return {reinterpret_cast<const char *>(&value), sizeof value};
}

/// A file descriptor for reading.
struct Reader {
  std::string path;
  int fd;

  explicit Reader(const std::string &path) : path(path), fd(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  Reader(const Reader &) = delete;
  ~Reader() {
    if (fd >= 0)
      close(fd);
  }
  Error systemError() const { return userError("cannot read '" + path + "': " + strerror(errno)); }

  Status read(uint64_t offset, void *out, uint64_t bytes) const {
    char *to = static_cast<char *>(out);
    while (bytes > 0) {
      ssize_t count = pread(fd, to, bytes, static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR)
        continue;
      if (count < 0)
        return systemError();
      if (count == 0)
        return damagedBundle(path, "it ends at byte " + std::to_string(offset));
      to += count, offset += count, bytes -= count;
    }
    return ok();
  }
};

} // namespace

//===-- Writing
//-------------------------------------------------------------------------------------------------===//

Result<uint64_t> BundleWriter::align() {
  Result<uint64_t> end = file.size();
  if (!end)
    return end.takeError();
  uint64_t padding = (QWENCH_BUNDLE_ALIGN - *end % QWENCH_BUNDLE_ALIGN) % QWENCH_BUNDLE_ALIGN;
  if (Status status = file.append(std::string(padding, '\0')); !status)
    return status.takeError();
  return *end + padding;
}

Status BundleWriter::append(QwenchSectionKind kind, std::string_view bytes) {
  Result<uint64_t> offset = align();
  if (!offset)
    return offset.takeError();
  sections.push_back(
      {static_cast<uint32_t>(kind), 0, *offset, bytes.size(), qwench_xxh64(bytes.data(), bytes.size(), 0)});
  return file.append(bytes);
}

Result<uint64_t> BundleWriter::reserve(QwenchSectionKind kind, uint64_t bytes) {
  Result<uint64_t> offset = align();
  if (!offset)
    return offset.takeError();
  sections.push_back({static_cast<uint32_t>(kind), 0, *offset, bytes, 0});
  if (Status status = file.extend(bytes); !status)
    return status.takeError();
  return *offset;
}

Status BundleWriter::finish() {
  if (sections.size() > QWENCH_BUNDLE_MAX_SECTIONS)
    return internalError("expected at most " + std::to_string(QWENCH_BUNDLE_MAX_SECTIONS) +
                         " sections, found " + std::to_string(sections.size()));
  Result<uint64_t> table = align();
  if (!table)
    return table.takeError();
  std::string tail;
  for (const QwenchSection &section : sections)
    tail += bytesOf(section);
  QwenchBundleTrailer trailer = {};
  trailer.plan_hash = planHash;
  trailer.table_offset = *table;
  trailer.file_bytes = *table + tail.size() + sizeof trailer;
  trailer.section_count = sections.size();
  trailer.version = QWENCH_BUNDLE_VERSION;
  std::memcpy(trailer.magic, QWENCH_BUNDLE_MAGIC, sizeof trailer.magic);
  tail += bytesOf(trailer);
  return file.append(tail);
}

//===-- Reading
//-------------------------------------------------------------------------------------------------===//

Result<BundleIndex> readBundle(const std::string &path) {
  Reader reader(path);
  struct stat status;
  if (reader.fd < 0 || fstat(reader.fd, &status) != 0)
    return reader.systemError();
  QwenchBundleTrailer trailer;
  uint64_t size = S_ISREG(status.st_mode) ? static_cast<uint64_t>(status.st_size) : 0;
  if (size < sizeof trailer)
    return noBundle(path);
  if (Status read = reader.read(size - sizeof trailer, &trailer, sizeof trailer); !read)
    return read.takeError();
  if (Status checked = checkBundleTrailer(path, trailer, size); !checked)
    return checked.takeError();
  BundleIndex index{trailer.plan_hash, size, std::vector<QwenchSection>(trailer.section_count)};
  uint64_t tableBytes = index.sections.size() * sizeof(QwenchSection);
  if (Status read = reader.read(trailer.table_offset, index.sections.data(), tableBytes); !read)
    return read.takeError();
  if (Status checked = checkBundleSections(path, index.sections, trailer.table_offset); !checked)
    return checked.takeError();
  return index;
}

Result<std::string> readSection(const std::string &path, const QwenchSection &section) {
  Reader reader(path);
  if (reader.fd < 0)
    return reader.systemError();
  std::string bytes(section.bytes, '\0');
  if (Status read = reader.read(section.offset, bytes.data(), bytes.size()); !read)
    return read.takeError();
  if (qwench_xxh64(bytes.data(), bytes.size(), 0) != section.checksum)
    return damagedBundle(path,
                         std::string("wrong checksum of the ") + sectionName(section.kind) + " section");
  return bytes;
}

} // namespace qwench::link
