// A loop that stays one.
#pragma once

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace qwench {

/// Keeps LLVM from unrolling a loop, of few steps even as a whole.
inline void keepRolled(mlir::Operation *loop) {
  using namespace mlir;
  MLIRContext *context = loop->getContext();
  auto unroll = LLVM::LoopUnrollAttr::get(context, BoolAttr::get(context, true), {}, {}, {}, {}, {}, {});
  auto annotation = LLVM::LoopAnnotationAttr::get(context, {}, {}, {}, unroll, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {});
  loop->setAttr("llvm.loop_annotation", annotation);
}

} // namespace qwench
