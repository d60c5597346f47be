// Weights made of other weights.
#pragma once

#include "dialects/Qwen.h"

#include "mlir/IR/PatternMatch.h"

#include <string>

namespace qwench {

/// Why these values cannot become one weight, concatenated along N (the second last extent of [N, K] and [E,
/// N, K], the only one of [N]); empty if they can. They can if they are params of the same index, and their
/// weights have the same instances, layers, element type and other extents.
llvm::StringRef cannotConcatenate(llvm::ArrayRef<mlir::Value> params);

/// A param of `name`, the weight whose parts are the weights of `params`: made behind the last part unless it
/// is there. Requires cannotConcatenate(params).empty(), and that the insertion point has the params' index.
mlir::Value concatenate(mlir::PatternRewriter &rewriter, mlir::Location loc,
                        llvm::ArrayRef<mlir::Value> params, llvm::StringRef name);

/// The name of a weight beside that of `param`: "moe.q_proj" and "qkv_proj" give "moe.qkv_proj".
std::string siblingName(mlir::Value param, llvm::StringRef name);

} // namespace qwench
