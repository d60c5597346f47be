// The data part of a compiled model (runtime/abi/bundle.h): finding it, checking it, reading its sections.
#pragma once

#include "runtime/abi/bundle_checks.h"
#include "runtime/core/file.h"

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace qwench {

/// One file with a checked section table. Nothing of the sections has been read.
class Bundle {
public:
  /// Reads and checks trailer and table: magic, version, size, plan hash, and for every section alignment,
  /// range, overlap and repetition. `planHash` is the program's.
  static Result<Bundle> open(const std::string &path, uint64_t planHash);

  const File &file() const { return source; }
  const std::vector<QwenchSection> &sections() const { return table; }
  const QwenchSection *find(uint32_t kind) const;

  /// The bytes of a (small) section, checked against its checksum. An error when the section is missing.
  Result<std::string> read(uint32_t kind) const;

private:
  Bundle(File source, std::vector<QwenchSection> table)
      : source(std::move(source)), table(std::move(table)) {}

  File source;
  std::vector<QwenchSection> table;
};

/// True when the file ends in a bundle trailer, right or wrong.
bool endsInBundle(const std::string &path);

/// The file that this code was loaded from: /proc/self/exe, or the path of the shared object.
std::string ownFile();

} // namespace qwench
