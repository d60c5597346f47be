#include "runtime/core/bundle.h"

#include "runtime/abi/program.h"
#include "runtime/abi/xxh64.h"

#include <algorithm>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/auxv.h>
#include <unistd.h>

namespace qwench {

namespace {

constexpr uint64_t kMaxTextSection = 1u << 30; // everything but weights

std::string found(const std::string &what, uint64_t expected, uint64_t actual) {
  return what + ": expected " + std::to_string(expected) + ", found " + std::to_string(actual);
}

std::string hex(uint64_t value) {
  char text[20];
  snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

Error damaged(const File &file, const std::string &what) {
  return userError("'" + file.path() + "' is damaged: " + what);
}

Status checkTrailer(const File &file, const QwenchBundleTrailer &trailer, uint64_t planHash) {
  if (memcmp(trailer.magic, QWENCH_BUNDLE_MAGIC, sizeof trailer.magic) != 0)
    return userError("'" + file.path() + "' has no model data at its end: cut short, or not made by qwench");
  if (trailer.version != QWENCH_BUNDLE_VERSION)
    return userError("'" + file.path() +
                     "': " + found("bundle version", QWENCH_BUNDLE_VERSION, trailer.version));
  if (trailer.file_bytes != file.bytes())
    return damaged(file, found("file size", trailer.file_bytes, file.bytes()));
  if (trailer.section_count > QWENCH_BUNDLE_MAX_SECTIONS)
    return damaged(file, "expected at most " + std::to_string(QWENCH_BUNDLE_MAX_SECTIONS) +
                             " sections, found " + std::to_string(trailer.section_count));
  uint64_t end = file.bytes() - sizeof(QwenchBundleTrailer);
  uint64_t tableBytes = trailer.section_count * sizeof(QwenchSection);
  if (trailer.table_offset > end || end - trailer.table_offset < tableBytes)
    return damaged(file, "section table at " + std::to_string(trailer.table_offset) + " reaches past " +
                             std::to_string(end));
  if (trailer.plan_hash != planHash)
    return userError("'" + file.path() + "' holds data of another compilation: expected plan hash " +
                     hex(planHash) + ", found " + hex(trailer.plan_hash));
  return ok();
}

Status checkSection(const File &file, const QwenchSection &section, uint64_t end) {
  std::string name = std::string(sectionName(section.kind)) + " section";
  if (section.reserved != 0)
    return damaged(file, found(name + ", reserved field", 0, section.reserved));
  if (section.offset % QWENCH_BUNDLE_ALIGN != 0)
    return damaged(file, name + ": expected an offset that is a multiple of " +
                             std::to_string(QWENCH_BUNDLE_ALIGN) + ", found " +
                             std::to_string(section.offset));
  if (section.offset > end || section.bytes > end - section.offset)
    return damaged(file, name + ": " + std::to_string(section.bytes) + " bytes at " +
                             std::to_string(section.offset) + " reach past " + std::to_string(end));
  if (section.kind != QWENCH_SECTION_WEIGHTS && section.bytes > kMaxTextSection)
    return damaged(file, name + ": expected at most " + std::to_string(kMaxTextSection) + " bytes, found " +
                             std::to_string(section.bytes));
  return ok();
}

Status checkApart(const File &file, std::vector<QwenchSection> table) {
  std::sort(table.begin(), table.end(),
            [](const QwenchSection &a, const QwenchSection &b) { return a.offset < b.offset; });
  for (size_t i = 1; i < table.size(); ++i)
    if (table[i - 1].offset + table[i - 1].bytes > table[i].offset)
      return damaged(file, std::string(sectionName(table[i - 1].kind)) + " and " +
                               sectionName(table[i].kind) + " sections overlap at byte " +
                               std::to_string(table[i].offset));
  for (size_t i = 0; i < table.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (table[i].kind == table[j].kind && strcmp(sectionName(table[i].kind), "unknown") != 0)
        return damaged(file, std::string("two ") + sectionName(table[i].kind) + " sections");
  return ok();
}

} // namespace

const char *sectionName(uint32_t kind) {
  switch (kind) {
  case QWENCH_SECTION_WEIGHTS:
    return "weights";
  case QWENCH_SECTION_TOKENIZER:
    return "tokenizer";
  case QWENCH_SECTION_CHAT_TEMPLATE:
    return "chat template";
  case QWENCH_SECTION_METADATA:
    return "metadata";
  }
  return "unknown";
}

Result<Bundle> Bundle::open(const std::string &path, uint64_t planHash) {
  Result<File> file = File::open(path);
  if (!file)
    return file.takeError();
  QwenchBundleTrailer trailer = {};
  if (file->bytes() < sizeof trailer)
    return userError("'" + path + "' has no model data at its end: cut short, or not made by qwench");
  if (Status status = file->read(file->bytes() - sizeof trailer, &trailer, sizeof trailer); !status)
    return status.takeError();
  if (Status status = checkTrailer(*file, trailer, planHash); !status)
    return status.takeError();
  std::vector<QwenchSection> table(trailer.section_count);
  if (Status status = file->read(trailer.table_offset, table.data(), table.size() * sizeof(QwenchSection));
      !status)
    return status.takeError();
  for (const QwenchSection &section : table)
    if (Status status = checkSection(*file, section, trailer.table_offset); !status)
      return status.takeError();
  if (Status status = checkApart(*file, table); !status)
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
    return damaged(source, std::string(sectionName(kind)) + " section: expected checksum " +
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
