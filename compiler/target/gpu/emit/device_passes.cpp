// kernel-step
// Assumes: scheduled kernels in a gpu.module. Guarantees: no qwen op or type in it; every kernel's name and block size is
// recorded at the module.
//   qwen.step_field %batch weights : memref<?xi8, global>  =>  load of the member, cast to global memory
#include "compiler/target/gpu/emit/images.h"
#include "compiler/target/gpu/emit/passes.h"
#include "compiler/target/step_fields.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVM.h"
#include "mlir/Conversion/IndexToLLVM/IndexToLLVM.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/GPU/Transforms/Passes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace qwench::gpu {

namespace {

// Of both vendors: the number of the address space, and what a shuffle moves.
constexpr unsigned kGlobal = 1, kShuffleBits = 32;

struct KernelStep : PassWrapper<KernelStep, OperationPass<mlir::gpu::GPUModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(KernelStep)

  StringRef getArgument() const final { return "kernel-step"; }
  StringRef getDescription() const final { return "members of the step become loads of a kernel"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<arith::ArithDialect, LLVM::LLVMDialect>();
  }
  void runOnOperation() override {
    if (failed(recordKernels(getOperation())))
      return signalPassFailure();
    lowerStepFields(getOperation(), [](Attribute space) -> unsigned {
      auto named = dyn_cast<mlir::gpu::AddressSpaceAttr>(space);
      return named && named.getValue() == mlir::gpu::AddressSpace::Global ? kGlobal : 0;
    });
  }
};

struct ExpToExp2 : OpRewritePattern<math::ExpOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::ExpOp op, PatternRewriter &rewriter) const override {
    Type type = op.getType();
    TypedAttr factor = rewriter.getFloatAttr(getElementTypeOrSelf(type), 1.4426950408889634);
    if (auto vector = dyn_cast<VectorType>(type))
      factor = DenseElementsAttr::get(vector, Attribute(factor));
    Value scaled = arith::MulFOp::create(rewriter, op.getLoc(), op.getOperand(),
                                         arith::ConstantOp::create(rewriter, op.getLoc(), factor), op.getFastmathAttr());
    rewriter.replaceOpWithNewOp<math::Exp2Op>(op, scaled, op.getFastmathAttr());
    return success();
  }
};

} // namespace

std::unique_ptr<Pass> createKernelStepPass() { return std::make_unique<KernelStep>(); }

void addDevicePasses(OpPassManager &passes, std::unique_ptr<Pass> conversion) {
  OpPassManager &kernels = passes.nest<mlir::gpu::GPUModuleOp>();
  kernels.addPass(createKernelStepPass());
  kernels.addPass(createLoopInvariantCodeMotionPass());
  kernels.addPass(arith::createIntRangeOptimizationsPass());
  kernels.addPass(createCanonicalizerPass());
  kernels.addPass(createCSEPass());
  kernels.addPass(createSCFToControlFlowPass());
  kernels.addPass(memref::createExpandStridedMetadataPass());
  kernels.addPass(createLowerAffinePass());
  kernels.addPass(std::move(conversion));
  kernels.addPass(createReconcileUnrealizedCastsPass());
  kernels.addPass(createCanonicalizerPass());
  kernels.addPass(createCSEPass());
}

void populateExpansionPatterns(RewritePatternSet &patterns, unsigned subgroupSize) {
  patterns.add<ExpToExp2>(patterns.getContext());
  populateGpuAllReducePatterns(patterns);
  populateGpuLowerSubgroupReduceToShufflePatterns(patterns, subgroupSize, kShuffleBits);
  populateGpuLowerClusteredSubgroupReduceToShufflePatterns(patterns, subgroupSize, kShuffleBits);
}

void populateCommonConversionPatterns(const LLVMTypeConverter &types, RewritePatternSet &patterns) {
  populateMathToLLVMConversionPatterns(types, patterns, /*approximateLog1p=*/true, /*benefit=*/10);
  arith::populateArithToLLVMConversionPatterns(types, patterns);
  cf::populateControlFlowToLLVMConversionPatterns(types, patterns);
  populateFuncToLLVMConversionPatterns(types, patterns);
  populateFinalizeMemRefToLLVMConversionPatterns(types, patterns);
  index::populateIndexToLLVMConversionPatterns(types, patterns);
  ub::populateUBToLLVMConversionPatterns(types, patterns);
  populateVectorToLLVMConversionPatterns(types, patterns);
}

} // namespace qwench::gpu
