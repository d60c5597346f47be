// The data part of a compiled model (runtime/abi/bundle.h): writing it behind an image, and reading it back.
#pragma once

#include "compiler/link/output_file.h"
#include "runtime/abi/bundle_checks.h"
#include "runtime/abi/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace qwench::link {

/// Appends sections to what the file already holds.
class BundleWriter {
public:
  BundleWriter(OutputFile &file, uint64_t planHash) : file(file), planHash(planHash) {}

  /// A section of these bytes, with their checksum.
  Status append(QwenchSectionKind kind, std::string_view bytes);
  /// A section of that many zero bytes which the caller fills in; returns its offset in the file.
  Result<uint64_t> reserve(QwenchSectionKind kind, uint64_t bytes);
  /// Table and trailer. Nothing may be appended after.
  Status finish();

private:
  Result<uint64_t> align();

  OutputFile &file;
  uint64_t planHash;
  std::vector<QwenchSection> sections;
};

/// The sections of a file, checked as runtime/abi/bundle.h asks. The file is not trusted.
struct BundleIndex {
  uint64_t planHash = 0;
  uint64_t fileBytes = 0;
  std::vector<QwenchSection> sections;
};

/// An error if the file does not end in a bundle, or in a damaged one.
Result<BundleIndex> readBundle(const std::string &path);

/// The bytes of a section of the index other than the weights, checked against its checksum.
Result<std::string> readSection(const std::string &path, const QwenchSection &section);

} // namespace qwench::link
