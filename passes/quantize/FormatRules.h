// Which weight gets which format: PATTERN=FORMAT rules over the names of a checkpoint's tensors.
#pragma once

#include "dialects/Qwen.h"
#include "runtime/abi/result.h"

#include "llvm/Support/GlobPattern.h"

#include <string>
#include <vector>

namespace qwench {

struct FormatRule {
  std::string text; ///< as given
  llvm::GlobPattern pattern;
  mlir::Type element;
};

/// Parses "PATTERN=FORMAT,PATTERN=FORMAT,...". Patterns are globs: `*`, `?`, `[...]`, and `{a,b}`, within which a comma
/// separates no rules. Formats as quantization::parseElement() takes them.
Result<std::vector<FormatRule>> parseFormatRules(mlir::MLIRContext *context, llvm::StringRef text, int64_t group);

/// Whether a pattern takes a name: as it is, without a leading "model.", without a trailing ".weight", or without both.
bool takes(const FormatRule &rule, llvm::StringRef name);

} // namespace qwench
