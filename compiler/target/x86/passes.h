// Passes of the x86 backend.
#pragma once

#include "compiler/target/x86/machine.h"

#include "mlir/Pass/Pass.h"

#include <memory>
#include <string>

namespace qwench::x86 {

/// Planned to kernels stage: a function for every tile program, qwen.launch where it runs.
std::unique_ptr<mlir::Pass> createToKernelsPass(const Machine &machine);

/// The CPU's schedule: every thread of a team walks the whole step, takes its share of each launch's tiles, and meets
/// the others at a barrier.
std::unique_ptr<mlir::Pass> createTeamSchedulePass();

/// The step's members become loads from QwenchStep; `qwench_program` and the entry points are emitted.
std::unique_ptr<mlir::Pass> createStepToLLVMPass(std::string cpu, std::string features);

} // namespace qwench::x86
