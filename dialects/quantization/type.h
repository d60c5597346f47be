// The formats of the codec and the types of the dialect are the same thing said twice.
#pragma once

#include "dialects/Qwen.h"
#include "dialects/quantization/quantize.h"

namespace qwench::quantization {

/// The codec's format of a type that verifies.
Format formatOf(qwen::QuantType type);

/// The type of a format.
qwen::QuantType typeOf(mlir::MLIRContext *context, const Format &format);

} // namespace qwench::quantization
