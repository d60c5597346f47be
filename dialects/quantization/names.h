// The names of element types, as the command line and a compiled program's `info` spell them.
#pragma once

#include "dialects/Qwen.h"
#include "runtime/abi/result.h"

#include <string>
#include <string_view>

namespace qwench::quantization {

/// "f32, bf16, int8, ...": what parseElement() takes.
std::string elementNames();

/// The element type of a weight of this name: f32, bf16, int8, int4, int4z (with zero points), mxfp4, nvfp4 or fp8. The
/// integers take ":G" behind the name, columns that share a scale; without it `group` counts, and if that is 0 the
/// format's own (int8: the whole row; int4 and int4z: 64).
Result<mlir::Type> parseElement(mlir::MLIRContext *context, std::string_view name, int64_t group = 0);

/// The name of a type, such that parseElement() gives the type; the type as MLIR prints it if it has no name.
std::string elementName(mlir::Type type);

} // namespace qwench::quantization
