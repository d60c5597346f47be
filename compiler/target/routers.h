// What backends ask about routers, fused or not.
#pragma once

#include "dialects/Qwen.h"

#include "llvm/ADT/TypeSwitch.h"

namespace qwench {

/// Experts that a router chooses from; 0 for any other op.
inline int64_t expertsOf(mlir::Operation *op) {
  return llvm::TypeSwitch<mlir::Operation *, int64_t>(op)
      .Case([](qwen::FusedRouterOp router) { return mlir::cast<mlir::ShapedType>(router.getWeight().getType()).getDimSize(0); })
      .Case([](qwen::RouterOp router) { return mlir::cast<mlir::ShapedType>(router.getLogits().getType()).getDimSize(1); })
      .Default([](mlir::Operation *) { return int64_t(0); });
}

} // namespace qwench
