// What contexts of tests know that lower modules.
#pragma once

#include "mlir/IR/DialectRegistry.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"

namespace qwench::test {

/// MLIR's own dialects and their extensions.
inline mlir::DialectRegistry allDialects() {
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  return registry;
}

} // namespace qwench::test
