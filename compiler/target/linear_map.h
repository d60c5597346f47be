// The operands of a planned linear map.
#pragma once

#include "compiler/target/step_builder.h"

namespace qwench {

/// qwen.linear and qwen.fused_linear alike; what an op lacks is null.
struct LinearMap {
  mlir::Value input, weight, bias, norm, residual, dest;
  std::optional<llvm::APFloat> eps; ///< of the norm
  bool swiglu = false;

  explicit LinearMap(mlir::Operation *op) : dest(qwench::dest(op)) {
    if (auto linear = mlir::dyn_cast<qwen::LinearOp>(op)) {
      input = linear.getInput(), weight = linear.getWeight(), bias = linear.getBias();
    } else {
      auto fused = mlir::cast<qwen::FusedLinearOp>(op);
      input = fused.getInput(), weight = fused.getWeight(), bias = fused.getBias(), residual = fused.getResidual();
      norm = fused.getNorm(), eps = fused.getEps();
      swiglu = fused.getActivation() == qwen::Activation::Swiglu;
    }
  }

  /// Elements of a row of `dest`.
  int64_t outputs() const { return mlir::cast<mlir::MemRefType>(dest.getType()).getDimSize(1); }
};

} // namespace qwench
