// The last step of compilation: image, weights and sections become files.
#pragma once

#include "compiler/driver/console.h"
#include "compiler/driver/metadata.h"
#include "compiler/driver/model_source.h"
#include "compiler/driver/rung.h"
#include "compiler/link/output_file.h"
#include "runtime/abi/result.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringRef.h"

namespace qwench {

struct Package {
  Rung kind = Rung::Executable; ///< Weights, Shared or Executable
  mlir::ModuleOp planned;       ///< says where weights lie
  llvm::StringRef object;       ///< bytes of the object file; not of Weights
  const ModelSource *source = nullptr;
  const Extras *extras = nullptr;
  MetadataOptions metadata;
  bool externalWeights = false;
  int threads = 1;
};

struct PackageSizes {
  uint64_t file = 0, image = 0, weights = 0; ///< bytes
};

/// Links, packs, and commits `output`, and the weights file beside it with `externalWeights`.
Result<PackageSizes> writePackage(Package &package, link::OutputFile &output, Console &console);

} // namespace qwench
