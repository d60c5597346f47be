// Passes of the GPU backends' last step: from scheduled kernels to the LLVM dialect.
#pragma once

#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"

#include <memory>
#include <string>

namespace qwench::gpu {

/// On a gpu.module: kernels are recorded (images.h), and members of the step become loads from global memory.
std::unique_ptr<mlir::Pass> createKernelStepPass();

/// On the module: host functions become LLVM's entry points qwench_step_prefill and qwench_step_decode; `qwench_program` is
/// emitted and points to the device program. `target` and `archs` describe it.
std::unique_ptr<mlir::Pass> createHostToLLVMPass(std::string target, std::string archs);

/// The way of every gpu.module around `conversion`, which turns it into LLVM and a vendor's dialect.
void addDevicePasses(mlir::OpPassManager &passes, std::unique_ptr<mlir::Pass> conversion);

/// exp becomes exp2, which is an instruction; reductions over blocks become those over subgroups, and those shuffles of
/// `subgroupSize` lanes.
void populateExpansionPatterns(mlir::RewritePatternSet &patterns, unsigned subgroupSize);

/// What both vendors' conversions share: arith, math without libraries, memref, vector, cf, index. Math has a higher benefit
/// than the vendors' patterns, which call their libraries.
void populateCommonConversionPatterns(const mlir::LLVMTypeConverter &types, mlir::RewritePatternSet &patterns);

} // namespace qwench::gpu
