// Pipelines that need a target: planning, kernels, lowering.
#pragma once

namespace qwench {

/// Registers `--qwen-plan`, `--qwen-kernels` and `--qwen-lower`, each with options target=, cpu=.
void registerTargetPipelines();

} // namespace qwench
