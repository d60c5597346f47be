// What stands behind a compiled model's code: trailer, section table, sections. The input is the file's end;
// since chance seldom finds the magic, it is also tried with a trailer whose fixed fields are right.
#include "runtime/core/bundle.h"

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

namespace {

constexpr uint64_t kHash = 77;

/// Opens the bytes as a bundle and reads every section; what was accepted must lie within the file.
void tryFile(const std::string &bytes) {
  const int fd = memfd_create("bundle", MFD_CLOEXEC);
  if (fd < 0 || write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
    abort();
  qwench::Result<qwench::Bundle> bundle = qwench::Bundle::open("/proc/self/fd/" + std::to_string(fd), kHash);
  if (bundle) {
    for (const QwenchSection &section : bundle->sections()) {
      if (section.offset > bytes.size() || section.bytes > bytes.size() - section.offset)
        abort();
      if (section.kind != QWENCH_SECTION_WEIGHTS &&
          bundle->find(section.kind))
        (void)static_cast<bool>(bundle->read(section.kind));
    }
  } else if (bundle.error().message.empty() || bundle.error().message.find('\n') != std::string::npos) {
    abort();
  }
  close(fd);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string bytes(reinterpret_cast<const char *>(data), size);
  tryFile(bytes);
  QwenchBundleTrailer trailer;
  if (size < sizeof trailer)
    return 0;
  memcpy(&trailer, bytes.data() + size - sizeof trailer, sizeof trailer);
  memcpy(trailer.magic, QWENCH_BUNDLE_MAGIC, sizeof trailer.magic);
  trailer.version = QWENCH_BUNDLE_VERSION;
  trailer.plan_hash = kHash;
  trailer.file_bytes = size;
  trailer.section_count %= QWENCH_BUNDLE_MAX_SECTIONS + 1;
  memcpy(bytes.data() + size - sizeof trailer, &trailer, sizeof trailer);
  tryFile(bytes);
  return 0;
}
