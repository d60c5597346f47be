// Everything that a compiled model carries besides code, wherever it lies: behind the executable's ELF image,
// in the file of QwenchOptions.bundle, or in a weights file beside either.
#pragma once

#include "runtime/abi/program.h"
#include "runtime/core/bundle.h"
#include "runtime/core/metadata.h"

#include <memory>

namespace qwench {

class ModelFile {
public:
  /// Opens and checks the bundle of `program`: the file named by `bundle`, or the file this code was loaded
  /// from when it is empty. What `bundle` lacks is taken from this code's own file, if that has it.
  static Result<ModelFile> open(const QwenchProgram &program, const std::string &bundle);

  const Metadata &metadata() const { return description; }
  bool has(QwenchSectionKind kind) const { return holder(kind) != nullptr; }
  Result<std::string> read(QwenchSectionKind kind) const;

  /// The file with the weights section and the section, of exactly program.weight_bytes; null with random
  /// weights.
  struct WeightsPlace {
    const File *file = nullptr;
    uint64_t offset = 0;
  };
  WeightsPlace weights() const { return {weightsHolder ? &weightsHolder->file() : nullptr, weightsOffset}; }

  /// The files in use, for `info`.
  const std::vector<std::unique_ptr<Bundle>> &bundles() const { return files; }

private:
  const Bundle *holder(QwenchSectionKind kind) const;
  Status openBundle(const QwenchProgram &program, const std::string &path);
  Status findWeights(const QwenchProgram &program);

  std::vector<std::unique_ptr<Bundle>> files; // in the order of preference
  Metadata description;
  const Bundle *weightsHolder = nullptr;
  uint64_t weightsOffset = 0;
};

} // namespace qwench
