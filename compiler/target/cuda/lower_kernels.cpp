// cuda-lower-kernels
// Assumes: a gpu.module of kernels in gpu, nvgpu, cf, memref, arith, math and vector. Guarantees: LLVM and NVVM only, and no
// call of libdevice: what PTX has no instruction for is an error.
#include "compiler/target/cuda/dynamic_memory.h"
#include "compiler/target/cuda/passes.h"
#include "compiler/target/gpu/emit/images.h"
#include "compiler/target/gpu/emit/passes.h"
#include "compiler/target/gpu/passes.h"

#include "mlir/Conversion/GPUCommon/GPUCommonPass.h"
#include "mlir/Conversion/GPUToNVVM/GPUToNVVMPass.h"
#include "mlir/Conversion/LLVMCommon/ConversionTarget.h"
#include "mlir/Conversion/LLVMCommon/Pattern.h"
#include "mlir/Conversion/NVGPUToNVVM/NVGPUToNVVM.h"
#include "mlir/Conversion/NVVMToLLVM/NVVMToLLVM.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/GPU/Transforms/Passes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/DialectConversion.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;

namespace qwench::cuda {

namespace {

constexpr unsigned kSubgroup = 32;

/// memref.prefetch => prefetch.global.L2, as text: LLVM has the instruction for sm_90 on, machines have had it for long.
struct LowerPrefetch : ConvertOpToLLVMPattern<memref::PrefetchOp> {
  using ConvertOpToLLVMPattern::ConvertOpToLLVMPattern;
  LogicalResult matchAndRewrite(memref::PrefetchOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Value address = getStridedElementPtr(rewriter, op.getLoc(), op.getMemRefType(), adaptor.getMemref(), adaptor.getIndices());
    LLVM::InlineAsmOp::create(rewriter, op.getLoc(), TypeRange(), ValueRange{address}, "prefetch.global.L2 [$0];", "l",
                              /*has_side_effects=*/true, /*is_align_stack=*/false, LLVM::TailCallKind::None, nullptr, nullptr);
    rewriter.eraseOp(op);
    return success();
  }
};

/// nvvm.griddepcontrol as text that says it touches memory: LLVM takes its intrinsics for ones that do not, and may move
/// loads across them.
struct LowerGridControl : ConvertOpToLLVMPattern<NVVM::GriddepcontrolOp> {
  using ConvertOpToLLVMPattern::ConvertOpToLLVMPattern;
  LogicalResult matchAndRewrite(NVVM::GriddepcontrolOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    StringRef text = op.getKind() == NVVM::GridDepActionKind::wait ? "griddepcontrol.wait;" : "griddepcontrol.launch_dependents;";
    LLVM::InlineAsmOp::create(rewriter, op.getLoc(), TypeRange(), ValueRange(), text, "~{memory}", /*has_side_effects=*/true,
                              /*is_align_stack=*/false, LLVM::TailCallKind::None, nullptr, nullptr);
    rewriter.eraseOp(op);
    return success();
  }
};

/// arith.subf and arith.mulf of bf16 => fma.rn.bf16x2, a pair at a time, as text: where f32 takes denormal numbers as 0, LLVM has such
/// operations only from sm_90 on, and otherwise widens to f32.
template <typename Op> struct LowerPairs : ConvertOpToLLVMPattern<Op> {
  using ConvertOpToLLVMPattern<Op>::ConvertOpToLLVMPattern;
  LogicalResult matchAndRewrite(Op op, typename Op::Adaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    auto type = dyn_cast<VectorType>(op.getType());
    if (!type || !type.getElementType().isBF16() || type.getNumElements() % 2)
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    auto words = VectorType::get({type.getNumElements() / 2}, b.getI32Type());
    Value left = LLVM::BitcastOp::create(b, words, adaptor.getLhs()), right = LLVM::BitcastOp::create(b, words, adaptor.getRhs());
    Value result = LLVM::PoisonOp::create(b, words);
    for (int64_t i = 0; i < words.getNumElements(); ++i) {
      Value at = LLVM::ConstantOp::create(b, b.getI32IntegerAttr(static_cast<int32_t>(i)));
      Value x = LLVM::ExtractElementOp::create(b, left, at), y = LLVM::ExtractElementOp::create(b, right, at);
      result = LLVM::InsertElementOp::create(b, result, pair(b, x, y), at);
    }
    rewriter.replaceOpWithNewOp<LLVM::BitcastOp>(op, type, result);
    return success();
  }

  /// x + y * -1, or x * y + -0.
  static Value pair(ImplicitLocOpBuilder &b, Value x, Value y) {
    constexpr bool subtracts = std::is_same_v<Op, arith::SubFOp>;
    Value constant = LLVM::ConstantOp::create(b, b.getI32IntegerAttr(static_cast<int32_t>(subtracts ? 0xbf80bf80 : 0x80008000)));
    return LLVM::InlineAsmOp::create(b, b.getI32Type(), subtracts ? ValueRange{y, constant, x} : ValueRange{x, y, constant},
                                     "fma.rn.bf16x2 $0, $1, $2, $3;", "=r,r,r,r", /*has_side_effects=*/false,
                                     /*is_align_stack=*/false, LLVM::TailCallKind::None, nullptr, nullptr)
        .getResult(0);
  }
};

/// What a loop of scf said to LLVM has come to its branch as an attribute that the translation does not look at.
void annotateLoops(mlir::gpu::GPUModuleOp kernels) {
  kernels.walk([](Operation *op) {
    auto annotation = op->getAttrOfType<LLVM::LoopAnnotationAttr>("llvm.loop_annotation");
    if (annotation && isa<LLVM::BrOp, LLVM::CondBrOp>(op))
      op->setAttr("loop_annotation", annotation);
  });
}

struct LowerKernels : PassWrapper<LowerKernels, OperationPass<mlir::gpu::GPUModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(LowerKernels)

  StringRef getArgument() const final { return "cuda-lower-kernels"; }
  StringRef getDescription() const final { return "kernels to LLVM and NVVM, without libdevice"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<LLVM::LLVMDialect, NVVM::NVVMDialect, math::MathDialect, arith::ArithDialect, vector::VectorDialect,
                    cf::ControlFlowDialect>();
  }

  void runOnOperation() override {
    MLIRContext *context = &getContext();
    RewritePatternSet expansions(context);
    gpu::populateExpansionPatterns(expansions, kSubgroup);
    if (failed(applyPatternsGreedily(getOperation(), std::move(expansions))))
      return signalPassFailure();
    LLVMTypeConverter types(context, LowerToLLVMOptions(context));
    configureGpuToNVVMTypeConverter(types);
    types.addConversion([&](nvgpu::DeviceAsyncTokenType) -> Type { return IntegerType::get(context, 32); });
    RewritePatternSet patterns(context);
    gpu::populateCommonConversionPatterns(types, patterns);
    patterns.add<LowerPrefetch, LowerGridControl, LowerPairs<arith::SubFOp>, LowerPairs<arith::MulFOp>>(types, /*benefit=*/10);
    populateGpuToNVVMConversionPatterns(types, patterns, /*benefit=*/0); // its patterns of arith call libdevice
    populateNVGPUToNVVMConversionPatterns(types, patterns);
    LLVMConversionTarget target(*context);
    target.addLegalDialect<NVVM::NVVMDialect>();
    target.addIllegalDialect<mlir::gpu::GPUDialect>();
    target.addIllegalOp<NVVM::GriddepcontrolOp>();
    target.addLegalOp<mlir::gpu::GPUModuleOp, mlir::gpu::YieldOp>();
    if (failed(applyPartialConversion(getOperation(), target, std::move(patterns))))
      return signalPassFailure();
    RewritePatternSet texts(context); // what LLVM has no intrinsic for becomes inline assembly
    populateNVVMToLLVMConversionPatterns(texts);
    LLVMConversionTarget llvmOnly(*context);
    if (failed(applyPartialConversion(getOperation(), llvmOnly, std::move(texts))))
      return signalPassFailure();
    annotateLoops(getOperation());
    useDynamicMemory(getOperation());
    for (const gpu::Kernel &kernel : gpu::recordedKernels(getOperation()))
      if (auto function = getOperation().lookupSymbol<LLVM::LLVMFuncOp>(kernel.name))
        boundRegisters(function);
  }

  /// By blocks of a multiprocessor: without a word on them ptxas 13.0 spills some registers before it has used them all.
  static void boundRegisters(LLVM::LLVMFuncOp kernel) {
    auto wanted = kernel->getAttrOfType<IntegerAttr>(gpu::kTogether);
    kernel->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(), Builder(kernel).getI32IntegerAttr(wanted ? wanted.getInt() : 1));
  }
};

} // namespace

std::unique_ptr<Pass> createLowerKernelsPass() { return std::make_unique<LowerKernels>(); }

} // namespace qwench::cuda
