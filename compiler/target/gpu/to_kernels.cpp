// gpu-to-kernels
// Assumes: planned stage. Guarantees: for each device a gpu.module with a gpu.func (batch, layer, instance, tile) for every
// tile program, without qwen ops but step_field; entry points and layer functions hold only launches, calls and the loop
// over layers.
//   qwen.rms_norm(%a, %w) outs(%b)  =>  qwen.launch @prefill_3_rms_norm tiles(%rows) args(%batch, %layer, %instance)
//                                       gpu.func @prefill_3_rms_norm(%batch, %layer, %instance, %tile) { ... }
#include "compiler/target/gpu/kernels.h"
#include "compiler/target/gpu/passes.h"
#include "compiler/target/planned_functions.h"

#include "mlir/Dialect/AMDGPU/IR/AMDGPUDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"

using namespace mlir;

namespace qwench::gpu {

namespace {

struct ToKernels : PassWrapper<ToKernels, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ToKernels)

  ToKernels(std::vector<Device> devices, Schedule schedule) : devices(std::move(devices)), schedule(schedule) {}
  StringRef getArgument() const final { return "gpu-to-kernels"; }
  StringRef getDescription() const final { return "tile programs become functions of blocks of GPU threads"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<func::FuncDialect, arith::ArithDialect, math::MathDialect, memref::MemRefDialect, scf::SCFDialect,
                    vector::VectorDialect, mlir::gpu::GPUDialect, LLVM::LLVMDialect, NVVM::NVVMDialect, nvgpu::NVGPUDialect,
                    amdgpu::AMDGPUDialect>();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<mlir::gpu::GPUModuleOp> modules;
    OpBuilder builder(module.getBody(), module.getBody()->begin());
    for (const Device &device : devices) {
      modules.push_back(mlir::gpu::GPUModuleOp::create(builder, module.getLoc(), device.moduleName));
      if (device.matrix == MatrixUnit::Wgmma)
        modules.back()->setAttr(kMatrixUnit, builder.getStringAttr("wgmma"));
      if (device.dependentLaunches)
        modules.back()->setAttr(kDependent, builder.getUnitAttr());
    }
    auto decode = decodeFunctions();
    auto emit = [&](StepBuilder &host, Operation *op, StringRef name) -> LogicalResult {
      const TileProgram *program = findTileProgram(op);
      if (!program)
        return op->emitOpError("expected an op that this target has a tile program for");
      Phase phase = program->phase;
      const bool persistent = schedule == Schedule::Persistent, decodes = decode.contains(op->getParentOp());
      if (persistent && decodes)
        phase.subgroups = kPersistentSubgroups;
      if (!decodes)
        phase.ahead = nullptr; // several rows share what they read
      if (!decodes || persistent)
        phase.together = nullptr;
      emitPhase(host, op, phase, name, modules);
      return success();
    };
    if (failed(convertPlannedFunctions(module, emit)))
      signalPassFailure();
  }

  /// The planned functions of a decode step: @decode and its layers'.
  llvm::SmallPtrSet<Operation *, 4> decodeFunctions() {
    llvm::SmallPtrSet<Operation *, 4> found;
    auto decode = getOperation().lookupSymbol<func::FuncOp>("decode");
    if (!decode)
      return found;
    found.insert(decode);
    decode.walk([&](qwen::LayersOp layers) {
      for (auto callee : layers.getCallees().getAsRange<FlatSymbolRefAttr>())
        found.insert(getOperation().lookupSymbol(callee.getValue()));
    });
    return found;
  }

  void emitPhase(StepBuilder &host, Operation *op, const Phase &phase, StringRef name,
                 ArrayRef<mlir::gpu::GPUModuleOp> modules) {
    std::string kernel = name.str();
    llvm::replace(kernel, '.', '_'); // PTX has no dots in names
    for (auto [device, kernels] : llvm::zip(devices, modules)) {
      auto function = emitFunction(op, kernels, device, kernel, phase.subgroups, phase.body);
      if (phase.together)
        function->setAttr(kTogether, host.getIndexAttr(phase.together(op)));
      const bool asks = device.grid.prefetches && (schedule == Schedule::Persistent || device.dependentLaunches);
      if (phase.ahead && asks)
        emitFunction(op, kernels, device, kernel + kAhead.str(), phase.subgroups, phase.ahead);
    }
    qwen::LaunchOp::create(host, kernel, phase.tiles(host, op), ValueRange{host.batch, host.layer, host.instance});
  }

  static mlir::gpu::GPUFuncOp emitFunction(Operation *op, mlir::gpu::GPUModuleOp kernels, const Device &device, StringRef name,
                                           int64_t subgroups, void (*body)(KernelBuilder &, Operation *)) {
    KernelBuilder b(op->getLoc(), kernels, device, name, subgroups);
    body(b, op);
    b.setInsertionPointToEnd(&b.function.getBody().front());
    mlir::gpu::ReturnOp::create(b);
    return b.function;
  }

  std::vector<Device> devices;
  Schedule schedule;
};

} // namespace

std::unique_ptr<Pass> createToKernelsPass(std::vector<Device> devices, Schedule schedule) {
  return std::make_unique<ToKernels>(std::move(devices), schedule);
}

} // namespace qwench::gpu
