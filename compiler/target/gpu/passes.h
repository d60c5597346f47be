// Passes that the GPU backends share.
#pragma once

#include "compiler/target/gpu/device.h"

#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

#include <memory>
#include <vector>

namespace qwench::gpu {

/// On a gpu.func: its blocks meet, so they must all run at once.
inline constexpr llvm::StringLiteral kCooperative = "qwench.cooperative";

/// On a gpu.module: its kernels begin while launches before them still run. On a kernel of it: it waits for them itself.
inline constexpr llvm::StringLiteral kDependent = "qwench.dependent_launch";

/// On a gpu.func: how many of its blocks a multiprocessor should hold, which bounds the registers of a thread.
inline constexpr llvm::StringLiteral kTogether = "qwench.blocks_together";

/// On a gpu.module, "wgmma": four subgroups multiply together, which other architectures, and later ones, cannot.
inline constexpr llvm::StringLiteral kMatrixUnit = "qwench.matrix_unit";
/// On a gpu.func of attention in such a module: what multiplies instead, "mma" or "none" (kMatrixUnit), and why.
inline constexpr llvm::StringLiteral kMatrixUnitReason = "qwench.matrix_unit_reason";

/// What is added to a kernel's name: the gpu.func, if there is one, that asks memory ahead for what a tile will read.
inline constexpr llvm::StringLiteral kAhead = "_ahead";

/// Planned to kernels stage: for each device a gpu.module with a gpu.func for every tile program, numbered alike in all;
/// qwen.launch where it runs. For a persistent schedule all that @decode reaches has one block size.
std::unique_ptr<mlir::Pass> createToKernelsPass(std::vector<Device> devices, Schedule schedule);

/// The launches of @decode become one, of a cooperative kernel. What is launched elsewhere stays.
std::unique_ptr<mlir::Pass> createPersistentSchedulePass(std::vector<Device> devices);

/// A launch per tile program: bodies become kernels whose blocks take tiles, qwen.launch becomes a call of
/// qwench_device_launch. Cooperative kernels are as they should be. In a module of dependent launches a kernel lets the next one
/// begin, asks memory for what no launch writes, and waits for those before it.
std::unique_ptr<mlir::Pass> createLaunchSchedulePass();

/// What makes kernels stage's launches calls: the passes of a schedule.
void addSchedulePasses(mlir::OpPassManager &passes, std::vector<Device> devices, Schedule schedule);

} // namespace qwench::gpu
