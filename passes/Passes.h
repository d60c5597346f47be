// Constructors and registration of every pass, generated from Passes.td.
#pragma once

#include "dialects/Qwen.h"

#include "mlir/Pass/Pass.h"

namespace qwench {

#define GEN_PASS_DECL
#include "passes/Passes.h.inc"

/// Registers each pass under its flag; generated with the name of the dialect they are about.
#define GEN_PASS_REGISTRATION
#include "passes/Passes.h.inc"

} // namespace qwench
