// persistent-schedule
// Assumes: kernels stage of a GPU backend; the kernels that @decode reaches have one block size. Guarantees: @decode is one
// launch of @decode_step, a cooperative kernel that every gpu.module has in place of those kernels: all blocks of its grid walk
// the step, share the tiles of each phase, and meet between two phases.
//   qwen.launch @a tiles(%n) args(...)  =>  for %tile = block_id to %n step grid_dim: the body of @a
//   qwen.launch @b tiles(%m) args(...)      the blocks meet; meanwhile the body of @b_ahead, if there is one, for its first tile
//                                           for %tile = block_id to %m step grid_dim: the body of @b
// Launches stand where they stood, in the loop over layers: what a launch counts and is given, the device now computes. Bodies
// are inlined, each once. Their workgroup memories are views of one, the largest.
#include "compiler/target/gpu/grid_barrier.h"
#include "compiler/target/gpu/passes.h"
#include "dialects/Qwen.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/SymbolTable.h"

using namespace mlir;

namespace qwench::gpu {

namespace {

constexpr StringLiteral kKernel = "decode_step";

/// Calls in a function of one block are replaced by what they call, until there are none. Returns the functions called.
llvm::SetVector<func::FuncOp> inlineCalls(func::FuncOp function, SymbolTable &symbols) {
  llvm::SetVector<func::FuncOp> called;
  auto next = [&] {
    func::CallOp found;
    function.walk([&](func::CallOp call) {
      found = call;
      return WalkResult::interrupt();
    });
    return found;
  };
  while (func::CallOp call = next()) {
    auto callee = symbols.lookup<func::FuncOp>(call.getCallee());
    IRMapping mapping;
    mapping.map(callee.getArguments(), call.getOperands());
    OpBuilder b(call);
    for (Operation &op : callee.getBody().front().without_terminator())
      b.clone(op, mapping);
    call.erase();
    called.insert(callee);
  }
  return called;
}

SmallVector<qwen::LaunchOp> launchesOf(Operation *scope) {
  SmallVector<qwen::LaunchOp> launches;
  scope->walk([&](qwen::LaunchOp launch) { launches.push_back(launch); });
  return launches;
}

/// The kernel of one device.
class PersistentKernel {
public:
  PersistentKernel(func::FuncOp decode, mlir::gpu::GPUModuleOp kernels, const Device &device)
      : decode(decode), kernels(kernels), device(device), b(decode.getLoc(), decode.getContext()) {}

  LogicalResult build() {
    if (failed(findBodies()))
      return failure();
    b.setInsertionPointToEnd(kernels.getBody());
    kernel = mlir::gpu::GPUFuncOp::create(b, kKernel, b.getFunctionType(bodies.front().second.getArgumentTypes(), {}));
    kernel.setKnownBlockSize(threads);
    kernel->setAttr(mlir::gpu::GPUDialect::getKernelFuncAttrName(), b.getUnitAttr());
    kernel->setAttr(kCooperative, b.getUnitAttr());
    b.setInsertionPointToStart(&kernel.getBody().front());
    block = mlir::gpu::BlockIdOp::create(b, mlir::gpu::Dimension::x);
    grid = mlir::gpu::GridDimOp::create(b, mlir::gpu::Dimension::x);
    placeWorkgroupMemory();
    IRMapping mapping;
    for (auto [from, to] : llvm::zip(decode.getArguments(), kernel.getArguments()))
      mapping.map(from, to);
    for (Operation &op : decode.getBody().front().without_terminator())
      b.clone(op, mapping);
    mlir::gpu::ReturnOp::create(b);
    takeTables();
    auto launches = launchesOf(kernel);
    if (device.grid.prefetches)
      for (qwen::LaunchOp launch : launches)
        moveNumbersUp(launch);
    for (qwen::LaunchOp launch : launches)
      expand(launch, launch == launches.back() && launch->getParentOp() == kernel);
    return success();
  }

private:
  /// The bodies of the launches, and their block size.
  LogicalResult findBodies() {
    for (qwen::LaunchOp launch : launchesOf(decode)) {
      auto body = kernels.lookupSymbol<mlir::gpu::GPUFuncOp>(launch.getKernel());
      if (!body)
        return launch.emitOpError("expected a function @") << launch.getKernel() << " in every gpu.module";
      std::optional<ArrayRef<int32_t>> size = body.getKnownBlockSize();
      if (!size)
        return body.emitOpError("expected a kernel of known_block_size");
      if (bodies.empty())
        threads.assign(size->begin(), size->end());
      if (*size != ArrayRef(threads))
        return body.emitOpError("expected blocks of ") << threads[0] << " threads as in the other kernels of @decode, found "
                                                       << (*size)[0] << "; --schedule persistent makes them so";
      bodies.insert({launch.getKernel(), body});
    }
    if (bodies.empty())
      return decode.emitOpError("expected a launch");
    return success();
  }

  /// One workgroup memory, of which every body's are views.
  void placeWorkgroupMemory() {
    int64_t bytes = 0;
    llvm::StringMap<SmallVector<int64_t>> offsets;
    for (auto &[name, body] : bodies) {
      int64_t end = 0;
      for (BlockArgument memory : body.getWorkgroupAttributions()) {
        auto type = cast<MemRefType>(memory.getType());
        offsets[name].push_back(end);
        end += llvm::alignTo(type.getNumElements() * type.getElementTypeBitWidth() / 8, kSharedGranule);
      }
      bytes = std::max(bytes, end);
    }
    if (!bytes)
      return;
    auto space = mlir::gpu::AddressSpaceAttr::get(b.getContext(), mlir::gpu::AddressSpace::Workgroup);
    Value all = kernel.addWorkgroupAttribution(
        MemRefType::get({bytes}, b.getI8Type(), MemRefLayoutAttrInterface(), space), kernel.getLoc());
    kernel.setWorkgroupAttributionAttr(0, "llvm.align", b.getI64IntegerAttr(kSharedGranule));
    for (auto &[name, body] : bodies)
      for (auto [memory, offset] : llvm::zip(body.getWorkgroupAttributions(), offsets[name]))
        views[name].push_back(memref::ViewOp::create(b, cast<MemRefType>(memory.getType()), all,
                                                     arith::ConstantIndexOp::create(b, offset), ValueRange()));
  }

  /// Tables of the host that the step reads become the device's.
  void takeTables() {
    auto space = mlir::gpu::AddressSpaceAttr::get(b.getContext(), mlir::gpu::AddressSpace::Global);
    kernel.walk([&](memref::GetGlobalOp get) {
      auto table = SymbolTable::lookupNearestSymbolFrom<memref::GlobalOp>(decode, get.getNameAttr());
      auto type = MemRefType::get(table.getType().getShape(), table.getType().getElementType(), MemRefLayoutAttrInterface(), space);
      if (!kernels.lookupSymbol(get.getName())) {
        auto copy = table.clone();
        copy.setType(type);
        kernels.getBody()->push_front(copy);
      }
      get.getResult().setType(type);
    });
  }

  /// What a launch counts and is given stands before the first launch of its block, and so is known ahead of its turn.
  void moveNumbersUp(qwen::LaunchOp launch) {
    Operation *first = *launch->getBlock()->getOps<qwen::LaunchOp>().begin();
    SmallVector<Operation *> between;
    for (Operation *op = first; op != launch; op = op->getNextNode())
      if (isMemoryEffectFree(op) && op->getNumRegions() == 0)
        between.push_back(op);
    for (Operation *op : between)
      op->moveBefore(first);
  }

  /// The launch that surely follows.
  static qwen::LaunchOp nextOf(qwen::LaunchOp launch) {
    for (Operation *op = launch->getNextNode(); op && op->getNumRegions() == 0; op = op->getNextNode())
      if (auto next = dyn_cast<qwen::LaunchOp>(op))
        return next;
    return {};
  }

  /// A number below 2^32 as a phase sees it: nobody knows where from. Else what follows from it in any phase would be computed
  /// before the first one, and addresses of each weight from layer to layer, and all that would fill registers to the end.
  Value opaque(Value number, StringRef reg) {
    Value narrow = arith::IndexCastUIOp::create(b, b.getI32Type(), number);
    auto same = LLVM::InlineAsmOp::create(b, b.getI32Type(), ValueRange{narrow}, "", ("=" + reg + ",0").str(),
                                          /*has_side_effects=*/true, /*is_align_stack=*/false, LLVM::TailCallKind::None, nullptr,
                                          nullptr);
    return arith::IndexCastUIOp::create(b, b.getIndexType(), same.getResult(0));
  }
  /// Of what all threads of a block have in common: "r" is a scalar register where there are any.
  Value opaque(Value number) { return opaque(number, "r"); }
  Value opaqueThread() {
    Value thread = opaque(mlir::gpu::ThreadIdOp::create(b, mlir::gpu::Dimension::x), device.grid.threadRegister);
    return arith::RemUIOp::create(b, thread, arith::ConstantIndexOp::create(b, threads[0])); // which says how large it can be
  }

  /// A body for a tile, at the insertion point.
  void inlineBody(mlir::gpu::GPUFuncOp body, ValueRange arguments, Value thread) {
    IRMapping mapping;
    mapping.map(body.getArguments(), arguments);
    for (auto [memory, view] : llvm::zip(body.getWorkgroupAttributions(), views[body.getName()]))
      mapping.map(memory, view);
    for (Operation &op : body.getBody().front().without_terminator())
      if (auto id = dyn_cast<mlir::gpu::ThreadIdOp>(op); id && id.getDimension() == mlir::gpu::Dimension::x)
        mapping.map(id.getResult(), thread);
      else
        b.clone(op, mapping);
  }

  /// What can be asked of memory for the first tile of a launch before it begins.
  void askAhead(qwen::LaunchOp launch) {
    auto ahead = kernels.lookupSymbol<mlir::gpu::GPUFuncOp>((launch.getKernel() + kAhead).str());
    if (!ahead)
      return;
    Value any = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, block, launch.getTiles());
    auto branch = scf::IfOp::create(b, any, /*withElseRegion=*/false);
    b.setInsertionPointToStart(branch.thenBlock());
    Value tile = opaque(block), thread = opaqueThread();
    inlineBody(ahead, {launch.getArgs()[0], opaque(launch.getArgs()[1]), opaque(launch.getArgs()[2]), tile}, thread);
  }

  /// A phase: this block's tiles, and, unless it is the last one, the others' arrival.
  void expand(qwen::LaunchOp launch, bool last) {
    auto body = bodies.lookup(launch.getKernel());
    b.setLoc(launch.getLoc());
    b.setInsertionPoint(launch);
    Value thread = opaqueThread(), layer = opaque(launch.getArgs()[1]), instance = opaque(launch.getArgs()[2]);
    auto loop = scf::ForOp::create(b, opaque(block), launch.getTiles(), opaque(grid));
    b.setInsertionPointToStart(loop.getBody());
    inlineBody(body, {launch.getArgs()[0], layer, instance, loop.getInductionVar()}, thread);
    if (body.getNumWorkgroupAttributions()) // the next tile writes what this one may still read
      mlir::gpu::BarrierOp::create(b);
    b.setInsertionPoint(launch);
    if (!last)
      emitGridBarrier(b, kernel.getArgument(0), block, grid, device.grid, [&] {
        if (qwen::LaunchOp next = nextOf(launch))
          askAhead(next);
      });
    launch.erase();
  }

  func::FuncOp decode;
  mlir::gpu::GPUModuleOp kernels;
  const Device &device;
  ImplicitLocOpBuilder b;
  mlir::gpu::GPUFuncOp kernel;
  Value block, grid;
  llvm::MapVector<StringRef, mlir::gpu::GPUFuncOp> bodies;
  SmallVector<int32_t> threads;
  llvm::StringMap<SmallVector<Value>> views;
};

struct PersistentSchedule : PassWrapper<PersistentSchedule, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(PersistentSchedule)

  explicit PersistentSchedule(std::vector<Device> devices) : devices(std::move(devices)) {}
  StringRef getArgument() const final { return "persistent-schedule"; }
  StringRef getDescription() const final { return "a decode step is one kernel, whose blocks meet between its tile programs"; }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<func::FuncDialect, arith::ArithDialect, scf::SCFDialect, memref::MemRefDialect, LLVM::LLVMDialect,
                    mlir::gpu::GPUDialect>();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto decode = module.lookupSymbol<func::FuncOp>("decode");
    if (!decode) {
      module.emitError("expected a function @decode");
      return signalPassFailure();
    }
    SymbolTable symbols(module);
    auto called = inlineCalls(decode, symbols);
    for (auto kernels : module.getOps<mlir::gpu::GPUModuleOp>()) {
      auto device = llvm::find_if(devices, [&](const Device &d) { return d.moduleName == kernels.getName(); });
      if (device == devices.end()) {
        kernels.emitError("expected a gpu.module named after an architecture of --gpu, found ") << kernels.getName();
        return signalPassFailure();
      }
      if (failed(PersistentKernel(decode, kernels, *device).build()))
        return signalPassFailure();
    }
    launchKernel(decode);
    eraseUnused(called.getArrayRef());
  }

  void launchKernel(func::FuncOp decode) {
    Block &body = decode.getBody().front();
    Operation *end = body.getTerminator();
    while (end != &body.front())
      end->getPrevNode()->erase();
    ImplicitLocOpBuilder b(decode.getLoc(), end);
    qwen::LaunchOp::create(b, kKernel, arith::ConstantIndexOp::create(b, 1), ValueRange(decode.getArguments()));
  }

  /// What nobody calls, launches or reads any more.
  void eraseUnused(ArrayRef<func::FuncOp> called) {
    ModuleOp module = getOperation();
    for (func::FuncOp function : called)
      if (SymbolTable::symbolKnownUseEmpty(function, module))
        function.erase();
    llvm::DenseSet<StringRef> launched;
    for (qwen::LaunchOp launch : launchesOf(module))
      launched.insert(launch.getKernel());
    for (auto kernels : module.getOps<mlir::gpu::GPUModuleOp>())
      for (auto function : llvm::make_early_inc_range(kernels.getOps<mlir::gpu::GPUFuncOp>()))
        if (!launched.contains(function.getName()))
          function.erase();
    for (auto table : llvm::make_early_inc_range(module.getOps<memref::GlobalOp>()))
      if (table.isPrivate() && SymbolTable::symbolKnownUseEmpty(table, module))
        table.erase();
  }

  std::vector<Device> devices;
};

} // namespace

std::unique_ptr<Pass> createPersistentSchedulePass(std::vector<Device> devices) {
  return std::make_unique<PersistentSchedule>(std::move(devices));
}

} // namespace qwench::gpu
