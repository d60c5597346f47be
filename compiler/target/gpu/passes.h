// Passes that the GPU backends share.
#pragma once

#include "compiler/target/gpu/device.h"

#include "mlir/Pass/Pass.h"

#include <memory>
#include <vector>

namespace qwench::gpu {

/// Planned to kernels stage: for each device a gpu.module with a gpu.func for every tile program, numbered alike in all;
/// qwen.launch where it runs.
std::unique_ptr<mlir::Pass> createToKernelsPass(std::vector<Device> devices);

/// A launch per tile program: bodies become kernels whose blocks take tiles, qwen.launch becomes a call of
/// qwench_device_launch.
std::unique_ptr<mlir::Pass> createLaunchSchedulePass();

} // namespace qwench::gpu
