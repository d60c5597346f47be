#include "runtime/core/bundle.h"

#include "runtime/abi/program.h"
#include "runtime/abi/xxh64.h"

#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/auxv.h>
#include <unistd.h>

namespace qwench {

namespace {

std::string hex(uint64_t value) {
  char text[20];
  snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

} // namespace

Result<Bundle> Bundle::open(const std::string &path, uint64_t planHash) {
  Result<File> file = File::open(path);
  if (!file)
    return file.takeError();
  QwenchBundleTrailer trailer = {};
  if (file->bytes() < sizeof trailer)
    return noBundle(file->path());
  if (Status status = file->read(file->bytes() - sizeof trailer, &trailer, sizeof trailer); !status)
    return status.takeError();
  if (Status status = checkBundleTrailer(file->path(), trailer, file->bytes()); !status)
    return status.takeError();
  if (trailer.plan_hash != planHash)
    return userError("'" + file->path() + "' holds data of another compilation: expected plan hash " +
                     hex(planHash) + ", found " + hex(trailer.plan_hash));
  std::vector<QwenchSection> table(trailer.section_count);
  if (Status status = file->read(trailer.table_offset, table.data(), table.size() * sizeof(QwenchSection));
      !status)
    return status.takeError();
  if (Status status = checkBundleSections(file->path(), table, trailer.table_offset); !status)
    return status.takeError();
  return Bundle(file.take(), std::move(table));
}

const QwenchSection *Bundle::find(uint32_t kind) const {
  for (const QwenchSection &section : table)
    if (section.kind == kind)
      return &section;
  return nullptr;
}

Result<std::string> Bundle::read(uint32_t kind) const {
  const QwenchSection *section = find(kind);
  if (!section)
    return userError("'" + source.path() + "' has no " + sectionName(kind) + " section");
  std::string bytes(section->bytes, '\0');
  if (Status status = source.read(section->offset, bytes.data(), bytes.size()); !status)
    return status.takeError();
  uint64_t checksum = qwench_xxh64(bytes.data(), bytes.size(), 0);
  if (checksum != section->checksum)
    return damagedBundle(source.path(), std::string(sectionName(kind)) + " section: expected checksum " +
                                            hex(section->checksum) + ", found " + hex(checksum));
  return bytes;
}

bool endsInBundle(const std::string &path) {
  Result<File> file = File::open(path);
  char magic[8];
  if (!file || file->bytes() < sizeof(QwenchBundleTrailer) ||
      !file->read(file->bytes() - sizeof magic, magic, sizeof magic))
    return false;
  return memcmp(magic, QWENCH_BUNDLE_MAGIC, sizeof magic) == 0;
}

std::string ownFile() {
  // The program headers that the kernel names belong to the executable; another base address is a shared
  // object's.
  Dl_info here = {}, executable = {};
  auto *headers = reinterpret_cast<void *>(getauxval(AT_PHDR));
  if (dladdr(reinterpret_cast<void *>(&ownFile), &here) && headers && dladdr(headers, &executable) &&
      here.dli_fbase != executable.dli_fbase && here.dli_fname)
    return here.dli_fname;
  return "/proc/self/exe";
}

} // namespace qwench
