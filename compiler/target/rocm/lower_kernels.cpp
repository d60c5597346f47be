// rocm-lower-kernels
// Assumes: a gpu.module, named after its architecture, of kernels in gpu, amdgpu, cf, memref, arith, math and vector.
// Guarantees: LLVM and ROCDL only, and no call of the ROCm device libraries: what the machine has no instruction for is an
// error.
#include "compiler/target/gpu/emit/images.h"
#include "compiler/target/gpu/emit/passes.h"
#include "compiler/target/rocm/architectures.h"
#include "compiler/target/rocm/passes.h"

#include "mlir/Conversion/AMDGPUToROCDL/AMDGPUToROCDL.h"
#include "mlir/Conversion/GPUCommon/GPUCommonPass.h"
#include "mlir/Conversion/GPUToROCDL/GPUToROCDLPass.h"
#include "mlir/Conversion/GPUToROCDL/Runtimes.h"
#include "mlir/Conversion/LLVMCommon/ConversionTarget.h"
#include "mlir/Conversion/LLVMCommon/Pattern.h"
#include "mlir/Dialect/AMDGPU/IR/AMDGPUDialect.h"
#include "mlir/Dialect/AMDGPU/Utils/Chipset.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/GPU/Transforms/Passes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/ROCDLDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Transforms/DialectConversion.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;

namespace qwench::rocm {

namespace {

constexpr unsigned kConstant = 4; // the address space of the implicit arguments

/// gpu.grid_dim => load of the implicit kernel argument hidden_block_count_{x,y,z} (code object version 5 and later: three
/// 32-bit numbers at the front). MLIR's own pattern calls the device libraries.
struct LowerGridDim : ConvertOpToLLVMPattern<mlir::gpu::GridDimOp> {
  using ConvertOpToLLVMPattern::ConvertOpToLLVMPattern;
  LogicalResult matchAndRewrite(mlir::gpu::GridDimOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    Location loc = op.getLoc();
    auto pointer = LLVM::LLVMPointerType::get(op.getContext(), kConstant);
    Value arguments = LLVM::CallIntrinsicOp::create(rewriter, loc, pointer,
                                                    rewriter.getStringAttr("llvm.amdgcn.implicitarg.ptr"), ValueRange())
                          .getResult(0);
    Value place = LLVM::GEPOp::create(rewriter, loc, pointer, rewriter.getI32Type(), arguments,
                                      ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(op.getDimension())});
    Value count = LLVM::LoadOp::create(rewriter, loc, rewriter.getI32Type(), place, /*alignment=*/4);
    rewriter.replaceOpWithNewOp<LLVM::ZExtOp>(op, getTypeConverter()->convertType(op.getType()), count);
    return success();
  }
};

struct LowerKernels : PassWrapper<LowerKernels, OperationPass<mlir::gpu::GPUModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(LowerKernels)

  StringRef getArgument() const final { return "rocm-lower-kernels"; }
  StringRef getDescription() const final { return "kernels to LLVM and ROCDL, without the device libraries"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<LLVM::LLVMDialect, ROCDL::ROCDLDialect, amdgpu::AMDGPUDialect, math::MathDialect, arith::ArithDialect,
                    vector::VectorDialect, cf::ControlFlowDialect>();
  }

  void runOnOperation() override {
    MLIRContext *context = &getContext();
    StringRef name = getOperation().getName();
    const gpu::Architecture *architecture = findArchitecture(name);
    FailureOr<amdgpu::Chipset> chipset = architecture ? amdgpu::Chipset::parse(name) : FailureOr<amdgpu::Chipset>();
    if (failed(chipset)) {
      getOperation().emitError() << "expected a gpu.module named after an AMD architecture, found " << name;
      return signalPassFailure();
    }
    const unsigned subgroup = architecture->subgroupSize;
    RewritePatternSet expansions(context);
    gpu::populateExpansionPatterns(expansions, subgroup);
    populateGpuLowerSubgroupReduceToDPPPatterns(expansions, subgroup, *chipset, /*benefit=*/2);
    populateGpuLowerClusteredSubgroupReduceToDPPPatterns(expansions, subgroup, *chipset, /*benefit=*/2);
    if (failed(applyPatternsGreedily(getOperation(), std::move(expansions))))
      return signalPassFailure();
    LLVMTypeConverter types(context, LowerToLLVMOptions(context));
    amdgpu::populateCommonGPUTypeAndAttributeConversions(types);
    populateAMDGPUTypeAndAttributeConversions(types);
    RewritePatternSet patterns(context);
    gpu::populateCommonConversionPatterns(types, patterns);
    patterns.add<LowerGridDim>(types, /*benefit=*/10);
    populateAMDGPUToROCDLConversionPatterns(types, patterns, *chipset);
    populateGpuToROCDLConversionPatterns(types, patterns, mlir::gpu::amd::Runtime::HIP, *chipset);
    LLVMConversionTarget target(*context);
    target.addLegalDialect<ROCDL::ROCDLDialect>();
    target.addIllegalDialect<mlir::gpu::GPUDialect, amdgpu::AMDGPUDialect>();
    target.addLegalOp<mlir::gpu::GPUModuleOp, mlir::gpu::YieldOp>();
    if (failed(applyPartialConversion(getOperation(), target, std::move(patterns))))
      return signalPassFailure();
    // Without it LLVM assumes at most 256 threads, and the driver refuses more.
    for (const gpu::Kernel &kernel : gpu::recordedKernels(getOperation())) {
      std::string threads = std::to_string(kernel.threads);
      if (auto function = getOperation().lookupSymbol<LLVM::LLVMFuncOp>(kernel.name))
        function->setAttr("rocdl.flat_work_group_size", StringAttr::get(context, threads + "," + threads));
    }
  }
};

} // namespace

std::unique_ptr<Pass> createLowerKernelsPass() { return std::make_unique<LowerKernels>(); }

} // namespace qwench::rocm
