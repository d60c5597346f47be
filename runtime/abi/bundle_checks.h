// What holds of the data part of every compiled model, whoever reads it: the runtime and `qwench inspect`.
#pragma once

#include "runtime/abi/bundle.h"
#include "runtime/abi/result.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace qwench {

constexpr uint64_t kMaxTextSection = 1u << 30; // everything but weights

/// "weights", "tokenizer", "chat template", "metadata"; "unknown" otherwise.
inline const char *sectionName(uint32_t kind) {
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

inline Error damagedBundle(const std::string &path, const std::string &what) {
  return userError("'" + path + "' is damaged: " + what);
}

inline Error noBundle(const std::string &path) {
  return userError("'" + path + "' has no model data at its end: cut short, or not made by qwench");
}

/// Magic, version, size of the file, and that the table ends where the trailer begins.
inline Status checkBundleTrailer(const std::string &path, const QwenchBundleTrailer &trailer,
                                 uint64_t fileBytes) {
  auto found = [](const char *what, uint64_t expected, uint64_t actual) {
    return std::string(what) + ": expected " + std::to_string(expected) + ", found " + std::to_string(actual);
  };
  if (fileBytes < sizeof trailer || memcmp(trailer.magic, QWENCH_BUNDLE_MAGIC, sizeof trailer.magic) != 0)
    return noBundle(path);
  if (trailer.version != QWENCH_BUNDLE_VERSION)
    return userError("'" + path + "': " + found("bundle version", QWENCH_BUNDLE_VERSION, trailer.version));
  if (trailer.file_bytes != fileBytes)
    return damagedBundle(path, found("file size", trailer.file_bytes, fileBytes));
  if (trailer.section_count > QWENCH_BUNDLE_MAX_SECTIONS)
    return damagedBundle(path, "expected at most " + std::to_string(QWENCH_BUNDLE_MAX_SECTIONS) +
                                   " sections, found " + std::to_string(trailer.section_count));
  const uint64_t end = fileBytes - sizeof trailer, tableBytes = trailer.section_count * sizeof(QwenchSection);
  if (trailer.table_offset > end || end - trailer.table_offset != tableBytes)
    return damagedBundle(path, "expected a section table of " + std::to_string(tableBytes) +
                                   " bytes up to byte " + std::to_string(end) + ", found it at byte " +
                                   std::to_string(trailer.table_offset));
  return ok();
}

/// Alignment and range of one section; `end` is where the table begins.
inline Status checkBundleSection(const std::string &path, const QwenchSection &section, uint64_t end) {
  auto damaged = [&](const std::string &what) {
    return damagedBundle(path, std::string(sectionName(section.kind)) + " section" + what);
  };
  if (section.reserved != 0)
    return damaged(", reserved field: expected 0, found " + std::to_string(section.reserved));
  if (section.offset % QWENCH_BUNDLE_ALIGN != 0)
    return damaged(": expected an offset that is a multiple of " + std::to_string(QWENCH_BUNDLE_ALIGN) +
                   ", found " + std::to_string(section.offset));
  if (section.offset > end || section.bytes > end - section.offset)
    return damaged(": " + std::to_string(section.bytes) + " bytes at " + std::to_string(section.offset) +
                   " reach past " + std::to_string(end));
  if (section.kind != QWENCH_SECTION_WEIGHTS && section.bytes > kMaxTextSection)
    return damaged(": expected at most " + std::to_string(kMaxTextSection) + " bytes, found " +
                   std::to_string(section.bytes));
  return ok();
}

/// Every section by itself, that no two overlap, and that each known kind occurs once.
inline Status checkBundleSections(const std::string &path, std::vector<QwenchSection> table, uint64_t end) {
  for (const QwenchSection &section : table)
    if (Status status = checkBundleSection(path, section, end); !status)
      return status;
  std::sort(table.begin(), table.end(),
            [](const QwenchSection &a, const QwenchSection &b) { return a.offset < b.offset; });
  for (size_t i = 1; i < table.size(); ++i)
    if (table[i - 1].offset + table[i - 1].bytes > table[i].offset)
      return damagedBundle(path, std::string(sectionName(table[i - 1].kind)) + " and " +
                                     sectionName(table[i].kind) + " sections overlap at byte " +
                                     std::to_string(table[i].offset));
  for (size_t i = 0; i < table.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (table[i].kind == table[j].kind && strcmp(sectionName(table[i].kind), "unknown") != 0)
        return damagedBundle(path, std::string("two ") + sectionName(table[i].kind) + " sections");
  return ok();
}

} // namespace qwench
