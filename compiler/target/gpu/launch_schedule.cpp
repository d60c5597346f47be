// launch-schedule
// Assumes: kernels stage of a GPU backend. Guarantees: no qwen.launch; every gpu.func is a kernel of (batch, layer, instance,
// tiles) whose blocks take tiles block_id, block_id + grid_dim, ..., or a cooperative one; host functions that launch take a last
// argument, the team.
//   qwen.launch @k tiles(%n) args(...)  =>  call @qwench_device_launch(%team, number of @k, %n, %layer, %instance)
// In a module of dependent launches a kernel begins so:
//   nvvm.griddepcontrol launch_dependents   the next launch may begin as soon as all blocks of this one have
//   the body of @k_ahead for the block's first tile, if there is one, and it reads nothing: weights are asked for
//   nvvm.griddepcontrol wait                the launches before have ended, and what they wrote can be read
#include "compiler/target/gpu/passes.h"
#include "dialects/Qwen.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;

namespace qwench::gpu {

namespace {

/// Wraps a body, which runs one tile, in a loop over a block's tiles.
void loopOverTiles(mlir::gpu::GPUFuncOp function) {
  ImplicitLocOpBuilder b(function.getLoc(), function.getContext());
  Block *block = &function.getBody().front();
  Operation *terminator = block->getTerminator();
  SmallVector<Operation *> body;
  for (Operation &op : block->without_terminator())
    body.push_back(&op);
  b.setInsertionPoint(terminator);
  BlockArgument tiles = function.getArgument(3); // so far the tile
  Value first = mlir::gpu::BlockIdOp::create(b, mlir::gpu::Dimension::x);
  Value step = mlir::gpu::GridDimOp::create(b, mlir::gpu::Dimension::x);
  auto loop = scf::ForOp::create(b, first, tiles, step);
  tiles.replaceAllUsesExcept(loop.getInductionVar(), loop);
  Operation *end = loop.getBody()->getTerminator();
  for (Operation *op : body)
    op->moveBefore(end);
  if (function.getNumWorkgroupAttributions()) { // the next tile writes what this one may still read
    b.setInsertionPoint(end);
    mlir::gpu::BarrierOp::create(b);
  }
  function->setAttr(mlir::gpu::GPUDialect::getKernelFuncAttrName(), b.getUnitAttr());
}

/// Whether a body does without what launches write.
bool readsNothing(mlir::gpu::GPUFuncOp body) {
  auto result = body.getBody().walk([](Operation *op) {
    bool silent = isa<memref::PrefetchOp>(op) || op->hasTrait<OpTrait::HasRecursiveMemoryEffects>() || isMemoryEffectFree(op);
    return silent ? WalkResult::advance() : WalkResult::interrupt();
  });
  return !result.wasInterrupted();
}

/// Lets the next launch begin, and waits for those before. `ahead` may be null.
void waitForLaunches(mlir::gpu::GPUFuncOp kernel, mlir::gpu::GPUFuncOp ahead) {
  ImplicitLocOpBuilder b(kernel.getLoc(), kernel.getContext());
  b.setInsertionPointToStart(&kernel.getBody().front());
  NVVM::GriddepcontrolOp::create(b, NVVM::GridDepActionKind::launch_dependents);
  if (ahead && readsNothing(ahead)) {
    Value block = mlir::gpu::BlockIdOp::create(b, mlir::gpu::Dimension::x);
    Value any = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, block, kernel.getArgument(3));
    auto branch = scf::IfOp::create(b, any, /*withElseRegion=*/false);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    IRMapping mapping;
    mapping.map(ahead.getArguments().take_front(3), kernel.getArguments().take_front(3));
    mapping.map(ahead.getArgument(3), block);
    for (Operation &op : ahead.getBody().front().without_terminator())
      b.clone(op, mapping);
  }
  NVVM::GriddepcontrolOp::create(b, NVVM::GridDepActionKind::wait);
  kernel->setAttr(kDependent, b.getUnitAttr());
}

struct LaunchSchedule : PassWrapper<LaunchSchedule, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(LaunchSchedule)

  StringRef getArgument() const final { return "launch-schedule"; }
  StringRef getDescription() const final { return "every tile program is a launch of blocks that share its tiles"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<func::FuncDialect, arith::ArithDialect, scf::SCFDialect, LLVM::LLVMDialect, NVVM::NVVMDialect,
                    mlir::gpu::GPUDialect>();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    llvm::StringMap<int64_t> numbers;
    for (auto kernels : module.getOps<mlir::gpu::GPUModuleOp>()) {
      makeKernels(kernels);
      for (auto [number, function] : llvm::enumerate(kernels.getOps<mlir::gpu::GPUFuncOp>()))
        numbers.try_emplace(function.getName(), number);
    }
    declareLaunch(module);
    auto functions = launching(module);
    auto pointer = LLVM::LLVMPointerType::get(&getContext());
    SymbolTable symbols(module);
    for (func::FuncOp function : functions)
      (void)function.insertArgument(function.getNumArguments(), pointer, {}, function.getLoc());
    for (func::FuncOp function : functions) {
      Value team = function.getArguments().back();
      function.walk([&](Operation *op) {
        if (auto launch = dyn_cast<qwen::LaunchOp>(op)) {
          auto number = numbers.find(launch.getKernel());
          if (number == numbers.end()) {
            launch.emitOpError("expected a function @") << launch.getKernel() << " in every gpu.module";
            return signalPassFailure();
          }
          schedule(launch, team, number->second);
        } else if (auto call = dyn_cast<func::CallOp>(op);
                   call && functions.contains(symbols.lookup<func::FuncOp>(call.getCallee()))) {
          call->insertOperands(call->getNumOperands(), team);
        }
      });
    }
  }

  /// Bodies become kernels; those that ask ahead become part of theirs.
  static void makeKernels(mlir::gpu::GPUModuleOp module) {
    for (auto function : llvm::make_early_inc_range(module.getOps<mlir::gpu::GPUFuncOp>())) {
      if (function->hasAttr(kCooperative) || isAhead(module, function))
        continue;
      loopOverTiles(function);
      if (module->hasAttr(kDependent))
        waitForLaunches(function, module.lookupSymbol<mlir::gpu::GPUFuncOp>((function.getName() + kAhead).str()));
    }
    for (auto function : llvm::make_early_inc_range(module.getOps<mlir::gpu::GPUFuncOp>()))
      if (isAhead(module, function))
        function.erase();
  }
  static bool isAhead(mlir::gpu::GPUModuleOp module, mlir::gpu::GPUFuncOp function) {
    StringRef name = function.getName();
    return name.consume_back(kAhead) && module.lookupSymbol(name);
  }

  void declareLaunch(ModuleOp module) {
    OpBuilder b(module.getBody(), module.getBody()->begin());
    Type i64 = b.getI64Type();
    auto type = b.getFunctionType({LLVM::LLVMPointerType::get(&getContext()), i64, i64, i64, i64}, {});
    func::FuncOp::create(b, module.getLoc(), "qwench_device_launch", type).setPrivate();
  }

  /// The functions through which launches are reached: those that hold one, and their callers.
  static llvm::SetVector<func::FuncOp> launching(ModuleOp module) {
    SymbolTable symbols(module);
    llvm::SetVector<func::FuncOp> found;
    module.walk([&](qwen::LaunchOp op) { found.insert(op->getParentOfType<func::FuncOp>()); });
    for (size_t i = 0; i < found.size(); ++i)
      module.walk([&](func::CallOp call) {
        if (symbols.lookup<func::FuncOp>(call.getCallee()) == found[i])
          found.insert(call->getParentOfType<func::FuncOp>());
      });
    return found;
  }

  static void schedule(qwen::LaunchOp launch, Value team, int64_t number) {
    ImplicitLocOpBuilder b(launch.getLoc(), launch);
    auto integer = [&](Value v) -> Value { return arith::IndexCastOp::create(b, b.getI64Type(), v); };
    SmallVector<Value> operands{team, arith::ConstantOp::create(b, b.getI64IntegerAttr(number)), integer(launch.getTiles()),
                                integer(launch.getArgs()[1]), integer(launch.getArgs()[2])};
    func::CallOp::create(b, "qwench_device_launch", TypeRange{}, operands);
    launch.erase();
  }
};

} // namespace

std::unique_ptr<Pass> createLaunchSchedulePass() { return std::make_unique<LaunchSchedule>(); }

void addSchedulePasses(OpPassManager &passes, std::vector<Device> devices, Schedule schedule) {
  if (schedule == Schedule::Persistent)
    passes.addPass(createPersistentSchedulePass(std::move(devices)));
  passes.addPass(createLaunchSchedulePass());
}

} // namespace qwench::gpu
