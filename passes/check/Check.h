// What the stages' checks share.
#pragma once

#include "passes/Passes.h"

#include "llvm/ADT/STLExtras.h"

namespace qwench {

/// Verifies that a module holds only ops of these names, and nothing of buffers. `stage` is for the message.
mlir::LogicalResult checkTensorOps(mlir::ModuleOp module, llvm::StringRef stage,
                                   llvm::ArrayRef<llvm::StringLiteral> ops);

/// The first memref type among an op's operands, results and function types; null if there is none.
mlir::Type findBufferType(mlir::Operation *op);

} // namespace qwench
