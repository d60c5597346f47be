#include "tests/gpu-on-cpu/lower.h"

#include "compiler/target/gpu/passes.h"
#include "compiler/target/step_fields.h"
#include "dialects/Qwen.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/AMDGPU/IR/AMDGPUDialect.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/Regex.h"

using namespace mlir;

namespace qwench::gpu_on_cpu {

namespace {

/// One gpu.func to a func.func.
class KernelLowering {
public:
  KernelLowering(ModuleOp module, mlir::gpu::GPUFuncOp kernel) : module(module), kernel(kernel), b(kernel.getLoc(), module.getContext()) {}

  func::FuncOp run() {
    b.setInsertionPointToEnd(module.getBody());
    pointer = LLVM::LLVMPointerType::get(module.getContext());
    SmallVector<Type> types(kernel.getArgumentTypes());
    size_t own = types.size(), workgroup = kernel.getNumWorkgroupAttributions();
    SmallVector<int64_t> alignments;
    for (size_t i = 0; i < workgroup; ++i)
      alignments.push_back(cast<IntegerAttr>(kernel.getWorkgroupAttributionAttr(i, "llvm.align")).getInt());
    types.append({pointer, pointer, b.getIndexType(), b.getIndexType(), b.getIndexType()});
    auto function = func::FuncOp::create(b, kernel.getName(), b.getFunctionType(types, {}));
    function.getBody().takeBody(kernel.getBody());
    Block &entry = function.getBody().front();
    SmallVector<BlockArgument> buffers(entry.getArguments().drop_front(own));
    for (Type type : ArrayRef(types).drop_front(own))
      entry.addArgument(type, kernel.getLoc());
    auto added = entry.getArguments().drop_front(own + workgroup);
    block = added[0], shared = added[1], thread = added[2], index = added[3], blocks = added[4];
    b.setInsertionPointToStart(&entry);
    Value size = LLVM::ConstantOp::create(b, b.getI64Type(), b.getI64IntegerAttr(96));
    operands = LLVM::AllocaOp::create(b, pointer, b.getI8Type(), size, /*alignment=*/16);
    for (auto [i, buffer] : llvm::enumerate(buffers))
      placeBuffer(buffer, alignments[i]);
    entry.eraseArguments(own, workgroup);
    function.walk([&](Operation *op) { replace(op); });
    for (Operation *assembly : dead) {
      for (Operation *user : llvm::make_early_inc_range(assembly->getUsers()))
        user->erase();
      assembly->erase();
    }
    return function;
  }

  int64_t sharedBytes = 0;

private:
  void placeBuffer(BlockArgument buffer, int64_t alignment) {
    auto type = cast<MemRefType>(buffer.getType());
    sharedBytes = llvm::alignTo(sharedBytes, alignment);
    for (Operation *user : llvm::make_early_inc_range(buffer.getUsers()))
      if (isa<memref::ExtractAlignedPointerAsIndexOp>(user)) // what counts from the start of workgroup memory
        substitute(user, arith::ConstantIndexOp::create(b, sharedBytes));
    Value place = LLVM::GEPOp::create(b, pointer, b.getI8Type(), shared,
                                      ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(sharedBytes)});
    buffer.replaceAllUsesWith(flatMemref(b, place, type));
    sharedBytes += type.getNumElements() * type.getElementTypeBitWidth() / 8;
  }

  void replace(Operation *op) {
    b.setInsertionPoint(op);
    b.setLoc(op->getLoc());
    if (isa<mlir::gpu::ThreadIdOp>(op))
      return substitute(op, thread);
    if (isa<mlir::gpu::BlockIdOp>(op))
      return substitute(op, index);
    if (isa<mlir::gpu::GridDimOp>(op))
      return substitute(op, blocks);
    if (isa<mlir::gpu::ReturnOp>(op)) {
      func::ReturnOp::create(b);
      op->erase();
    } else if (isa<mlir::gpu::BarrierOp>(op)) {
      call("gpu_barrier", {block, i32(++sites)}, {});
      op->erase();
    } else if (auto reduce = dyn_cast<mlir::gpu::SubgroupReduceOp>(op)) {
      substitute(op, emitReduce(reduce));
    } else if (isa<NVVM::MmaOp, amdgpu::MFMAOp, amdgpu::WMMAOp>(op)) {
      substitute(op, emitProduct(op));
    } else if (auto load = dyn_cast<nvgpu::LdMatrixOp>(op)) {
      substitute(op, emitMatrices(load));
    } else if (auto copy = dyn_cast<nvgpu::DeviceAsyncCopyOp>(op)) {
      substitute(op, emitCopy(copy));
    } else if (isa<nvgpu::DeviceAsyncCreateGroupOp>(op)) {
      substitute(op, call("gpu_copy_group", {block}, b.getI32Type()));
    } else if (auto wait = dyn_cast<nvgpu::DeviceAsyncWaitOp>(op)) {
      call("gpu_copy_wait", {block, i32(wait.getNumGroups().value_or(0))}, {});
      op->erase();
    } else if (isa<NVVM::SyncWarpOp>(op)) {
      op->erase(); // products are meeting points here
    } else if (auto control = dyn_cast<NVVM::GriddepcontrolOp>(op)) {
      if (control.getKind() == NVVM::GridDepActionKind::wait)
        call("gpu_await_launches", {block}, {});
      op->erase(); // that the next launch may begin, its own wait makes up for
    } else if (replaceWarpgroup(op) || replaceBarrier(op)) {
    } else if (isa<LLVM::AtomicRMWOp>(op)) {
      call("gpu_arrive", {block}, {});
    } else if (auto load = dyn_cast<LLVM::LoadOp>(op); load && load.getOrdering() != LLVM::AtomicOrdering::not_atomic) {
      call("gpu_poll", {block, i32(++sites)}, {});
    } else {
      report(op);
    }
  }

  /// Sums of a warpgroup's product are a number.
  bool replaceWarpgroup(Operation *op) {
    if (auto product = dyn_cast<NVVM::WgmmaMmaAsyncOp>(op)) {
      bool adds = product.getScaleD() == NVVM::WGMMAScaleOut::one;
      Value before = adds ? product.getInouts() : i32(0), transposed = i32(product.getLayoutB() == NVVM::MMALayout::row);
      substitute(op, call("gpu_warpgroup_multiply",
                          {block, i32(++sites), i64(product.getShape().getN()), product.getDescriptorA(), product.getDescriptorB(),
                           transposed, before},
                          b.getI32Type()));
    } else if (auto element = dyn_cast<LLVM::ExtractValueOp>(op); element && element.getContainer().getType().isInteger(32)) {
      if (!goesToProduct(element))
        substitute(op, call("gpu_warpgroup_sum", {block, element.getContainer(), i64(element.getPosition()[0])}, b.getF32Type()));
    } else if (auto assembly = dyn_cast<LLVM::InlineAsmOp>(op); assembly && isOfWarpgroup(assembly)) {
      replaceAssembly(assembly);
    } else if (isa<NVVM::WgmmaFenceAlignedOp>(op)) {
      erase(op, "gpu_warpgroup_fence", {block});
    } else if (isa<NVVM::WgmmaGroupSyncAlignedOp>(op)) {
      erase(op, "gpu_warpgroup_group", {block});
    } else if (auto wait = dyn_cast<NVVM::WgmmaWaitGroupSyncOp>(op)) {
      erase(op, "gpu_warpgroup_wait", {block, i32(wait.getGroup())});
    } else if (auto fence = dyn_cast<NVVM::FenceProxyOp>(op); fence && fence.getKind() == NVVM::ProxyKind::async_shared) {
      erase(op, "gpu_publish", {block});
    } else {
      return false;
    }
    return true;
  }

  static constexpr StringLiteral kProduct = "wgmma.mma_async.sync.aligned.m64n";

  static bool isOfWarpgroup(LLVM::InlineAsmOp assembly) {
    size_t operands = assembly.getOperands().size();
    return assembly.getAsmString().contains(kProduct) || operands == 0 || (operands > 1 && assembly.getAsmString().empty());
  }
  /// Sums that a product adds to are not read.
  static bool goesToProduct(LLVM::ExtractValueOp element) {
    auto assembly = dyn_cast<LLVM::InlineAsmOp>(*element->user_begin());
    return assembly && element->hasOneUse() && assembly.getAsmString().contains(kProduct);
  }

  /// Zeros; registers that are held; a product whose A is in registers.
  void replaceAssembly(LLVM::InlineAsmOp assembly) {
    StringRef text = assembly.getAsmString();
    ValueRange operands = assembly.getOperands();
    if (text.contains(kProduct))
      return replaceProduct(assembly);
    if (operands.empty())
      return substitute(assembly, i32(0));
    if (operands.front().getType().isF32()) {
      Value held = i32(0);
      for (Value operand : operands)
        held = call("gpu_warpgroup_hold", {block, held, operand}, b.getI32Type());
      return substitute(assembly, held);
    }
    call("gpu_warpgroup_hold_words", {block}, {});
    for (Operation *user : assembly.getRes().getUsers())
      user->getResult(0).replaceAllUsesWith(operands[cast<LLVM::ExtractValueOp>(user).getPosition()[0]]);
    dead.push_back(assembly);
  }

  /// d, a, b-desc, scale-d, imm-scale-a, imm-scale-b, imm-trans-b: what it multiplies is read off its text.
  void replaceProduct(LLVM::InlineAsmOp assembly) {
    static const llvm::Regex kForm("^[{]\n[.]reg [.]pred p;\nsetp.ne.b32 p, 1, 0;\nwgmma.mma_async.sync.aligned.m64n([0-9]+)k16"
                                   ".f32.bf16.bf16 [{]([$0-9, ]+)[}], [{]([$0-9, ]+)[}], [$]([0-9]+), p, 1, 1, ([01]);\n[}]$");
    SmallVector<StringRef> parts;
    int64_t columns = 0;
    if (!kForm.match(assembly.getAsmString(), &parts) || parts[1].getAsInteger(10, columns))
      return void(assembly.emitError("expected a product of a warpgroup of a form that the CPU's run of kernels knows"));
    const int64_t sums = columns / 2;
    ValueRange operands = assembly.getOperands();
    auto numbers = [](int64_t first, int64_t count) {
      std::string list;
      for (int64_t i = first; i < first + count; ++i)
        list += (i > first ? ", $" : "$") + std::to_string(i);
      return list;
    };
    auto container = operands.front().getDefiningOp<LLVM::ExtractValueOp>();
    bool inOrder = parts[2] == numbers(0, sums) && parts[3] == numbers(2 * sums, 4) && parts[4] == std::to_string(2 * sums + 4);
    for (int64_t i = 0; i < sums && inOrder; ++i) {
      auto element = operands[i].getDefiningOp<LLVM::ExtractValueOp>();
      inOrder = element && element.getPosition()[0] == i && element.getContainer() == container.getContainer();
    }
    if (!inOrder)
      return void(assembly.emitError("expected operands of a product of a warpgroup in their order"));
    SmallVector<Value> arguments{block, i32(++sites), i64(columns)};
    llvm::append_range(arguments, operands.slice(sums, 5));
    arguments.push_back(i32(parts[5] == "1"));
    arguments.push_back(container.getContainer());
    SmallVector<Operation *> elements;
    for (int64_t i = 0; i < sums; ++i)
      elements.push_back(operands[i].getDefiningOp());
    substitute(assembly, call("gpu_warpgroup_multiply_held", arguments, b.getI32Type()));
    for (Operation *element : elements)
      element->erase();
  }

  /// mbarriers, and copies that they tell of. Addresses in workgroup memory count from its start.
  bool replaceBarrier(Operation *op) {
    auto number = [&](Value pointer) -> Value { return LLVM::PtrToIntOp::create(b, b.getI64Type(), pointer); };
    if (auto begin = dyn_cast<NVVM::MBarrierInitOp>(op)) {
      erase(op, "gpu_mbarrier_begin", {block, number(begin.getAddr()), begin.getCount()});
    } else if (auto end = dyn_cast<NVVM::MBarrierInvalOp>(op)) {
      erase(op, "gpu_mbarrier_end", {block, number(end.getAddr())});
    } else if (auto arrive = dyn_cast<NVVM::MBarrierArriveExpectTxOp>(op)) {
      erase(op, "gpu_mbarrier_arrive", {block, number(arrive.getAddr()), arrive.getTxcount()});
    } else if (auto wait = dyn_cast<NVVM::MBarrierTryWaitParityOp>(op)) {
      erase(op, "gpu_mbarrier_wait", {block, i32(++sites), number(wait.getAddr()), wait.getPhase()});
    } else if (auto copy = dyn_cast<NVVM::CpAsyncBulkGlobalToSharedClusterOp>(op)) {
      erase(op, "gpu_bulk_copy",
            {block, number(copy.getDstMem()), number(copy.getSrcMem()), number(copy.getMbar()), copy.getSize()});
    } else {
      return false;
    }
    return true;
  }

  void erase(Operation *op, StringRef function, ValueRange operands) {
    call(function, operands, {});
    op->erase();
  }

  Value emitProduct(Operation *op) {
    auto put = [&](ValueRange values, int32_t at) {
      for (Value value : values) {
        Value place = LLVM::GEPOp::create(b, pointer, b.getI8Type(), operands, ArrayRef<LLVM::GEPArg>{at});
        LLVM::StoreOp::create(b, value, place, /*alignment=*/4);
        at += 4; // several values are words
      }
    };
    int32_t kind = kMmaSync;
    if (auto product = dyn_cast<NVVM::MmaOp>(op)) {
      put(product.getOperandA(), 0), put(product.getOperandB(), 32), put(product.getOperandC(), 64);
    } else {
      put(op->getOperand(0), 0), put(op->getOperand(1), 32), put(op->getOperand(2), 64);
      auto inputs = cast<VectorType>(op->getOperand(0).getType()).getNumElements();
      kind = isa<amdgpu::MFMAOp>(op) ? kMfma : inputs == 16 ? kWmma11 : kWmma12;
    }
    call("gpu_multiply", {block, i32(++sites), i32(kind), operands}, {});
    Value place = LLVM::GEPOp::create(b, pointer, b.getI8Type(), operands, ArrayRef<LLVM::GEPArg>{64});
    return LLVM::LoadOp::create(b, op->getResult(0).getType(), place, /*alignment=*/16);
  }

  /// The lane's two elements of each of four matrices.
  Value emitMatrices(nvgpu::LdMatrixOp load) {
    auto type = cast<VectorType>(load.getType());
    if (type.getDimSize(0) != 4)
      load.emitError("expected a load of four matrices");
    call("gpu_load_matrices",
         {block, i32(++sites), i32(load.getTranspose()), address(load.getSrcMemref(), load.getIndices()), operands}, {});
    Value flat = LLVM::LoadOp::create(b, VectorType::get({8}, type.getElementType()), operands, /*alignment=*/16);
    return vector::ShapeCastOp::create(b, type, flat);
  }

  Value emitCopy(nvgpu::DeviceAsyncCopyOp copy) {
    int64_t bytes = copy.getDst().getType().getElementTypeBitWidth() / 8;
    int64_t count = copy.getDstElements().getSExtValue();
    Value read = copy.getSrcElements() ? copy.getSrcElements() : arith::ConstantIndexOp::create(b, count).getResult();
    Value source = address(copy.getSrc(), copy.getSrcIndices()), target = address(copy.getDst(), copy.getDstIndices());
    Value readBytes = arith::MulIOp::create(b, read, arith::ConstantIndexOp::create(b, bytes));
    readBytes = arith::IndexCastOp::create(b, b.getI64Type(), readBytes);
    return call("gpu_copy", {block, target, source, i64(count * bytes), readBytes}, b.getI32Type());
  }

  void substitute(Operation *op, Value value) {
    op->getResult(0).replaceAllUsesWith(value);
    op->erase();
  }

  Value emitReduce(mlir::gpu::SubgroupReduceOp reduce) {
    using Op = mlir::gpu::AllReduceOperation;
    int32_t how = -1;
    if (reduce.getOp() == Op::ADD)
      how = kAdd;
    else if (reduce.getOp() == Op::MAXNUMF || reduce.getOp() == Op::MAXSI)
      how = kMax;
    else if (reduce.getOp() == Op::MINNUMF || reduce.getOp() == Op::MINSI)
      how = kMin;
    Type type = reduce.getType();
    if (how < 0 || !(type.isF32() || type.isInteger(32))) {
      reduce.emitError("expected a reduction that the CPU's run of kernels knows");
      return reduce.getValue();
    }
    int64_t size = reduce.getClusterSize().value_or(0);
    return call(type.isF32() ? "gpu_reduce_f32" : "gpu_reduce_i32",
                {block, i32(++sites), i32(how), reduce.getValue(), i32(size), i32(reduce.getClusterStride())}, type);
  }

  /// Before an access to memory, a call that says which.
  void report(Operation *op) {
    auto access = [&](Value memory, ValueRange at, Type type, bool write) {
      auto viewed = memory.getDefiningOp<memref::CastOp>();
      if ((viewed ? viewed.getSource() : memory).getDefiningOp<memref::GetGlobalOp>())
        return; // a constant
      int64_t elements = isa<VectorType>(type) ? cast<VectorType>(type).getNumElements() : 1;
      int64_t bytes = getElementTypeOrSelf(type).getIntOrFloatBitWidth() / 8;
      call("gpu_access", {block, address(memory, at), i64(bytes * elements), i32(write)}, {});
    };
    if (auto load = dyn_cast<memref::LoadOp>(op))
      access(load.getMemRef(), load.getIndices(), load.getType(), false);
    else if (auto store = dyn_cast<memref::StoreOp>(op))
      access(store.getMemRef(), store.getIndices(), store.getValue().getType(), true);
    else if (auto prefetch = dyn_cast<memref::PrefetchOp>(op))
      access(prefetch.getMemref(), prefetch.getIndices(), prefetch.getMemRefType().getElementType(), false);
    else if (auto load = dyn_cast<vector::LoadOp>(op))
      access(load.getBase(), load.getIndices(), load.getType(), false);
    else if (auto store = dyn_cast<vector::StoreOp>(op))
      access(store.getBase(), store.getIndices(), store.getValueToStore().getType(), true);
  }

  /// That of an element of flat memory, i64.
  Value address(Value memory, ValueRange at) {
    int64_t bytes = cast<MemRefType>(memory.getType()).getElementTypeBitWidth() / 8;
    Value base = memref::ExtractAlignedPointerAsIndexOp::create(b, memory);
    Value offset = arith::MulIOp::create(b, at[0], arith::ConstantIndexOp::create(b, bytes));
    return arith::IndexCastOp::create(b, b.getI64Type(), arith::AddIOp::create(b, base, offset));
  }

  Value i64(int64_t value) { return arith::ConstantOp::create(b, b.getI64IntegerAttr(value)); }
  Value i32(int64_t value) { return arith::ConstantOp::create(b, b.getI32IntegerAttr(value)); }

  Value call(StringRef name, ValueRange operands, Type result) {
    SmallVector<Type> results;
    if (result)
      results.push_back(result);
    if (!module.lookupSymbol(name)) {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(module.getBody());
      func::FuncOp::create(b, name, b.getFunctionType(operands.getTypes(), results)).setPrivate();
    }
    auto made = func::CallOp::create(b, name, results, operands);
    return result ? made.getResult(0) : Value();
  }

  ModuleOp module;
  mlir::gpu::GPUFuncOp kernel;
  ImplicitLocOpBuilder b;
  Type pointer;
  Value block, shared, thread, index, blocks, operands;
  SmallVector<Operation *> dead; ///< assembly whose results are its operands
  int32_t sites = 0;
};

void addLoweringPasses(PassManager &passes) {
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  arith::ArithExpandOpsPassOptions expand;
  expand.includeBf16 = true;
  passes.addPass(arith::createArithExpandOpsPass(expand));
  passes.addPass(createSCFToControlFlowPass());
  passes.addPass(createConvertVectorToLLVMPass());
  passes.addPass(memref::createExpandStridedMetadataPass());
  passes.addPass(createLowerAffinePass());
  passes.addPass(createConvertToLLVMPass());
  passes.addPass(createReconcileUnrealizedCastsPass());
}

} // namespace

Result<std::vector<LaunchShape>> lower(ModuleOp module, int64_t subgroupSize) {
  std::string message;
  ScopedDiagnosticHandler handler(module.getContext(), [&](Diagnostic &diagnostic) {
    message = diagnostic.str();
    return success();
  });
  AttrTypeReplacer spaces; // one memory; tokens of copies are numbers, and so are sums of a warpgroup's products
  spaces.addReplacement([](LLVM::LLVMStructType type) -> Type {
    constexpr size_t kFewestSums = 16; // mma.sync has 4
    bool sums = type.getBody().size() >= kFewestSums && type.getBody().front().isF32();
    return sums ? Type(IntegerType::get(type.getContext(), 32)) : Type(type);
  });
  spaces.addReplacement([](nvgpu::DeviceAsyncTokenType type) -> Type { return IntegerType::get(type.getContext(), 32); });
  spaces.addReplacement([](MemRefType type) -> Type {
    return MemRefType::get(type.getShape(), type.getElementType(), type.getLayout());
  });
  spaces.recursivelyReplaceElementsIn(module, /*replaceAttrs=*/true, /*replaceLocs=*/false, /*replaceTypes=*/true);
  std::vector<LaunchShape> shapes;
  for (auto kernels : llvm::make_early_inc_range(module.getOps<mlir::gpu::GPUModuleOp>())) {
    for (auto global : llvm::make_early_inc_range(kernels.getOps<memref::GlobalOp>()))
      global->moveBefore(module.getBody(), module.getBody()->begin());
    for (auto function : kernels.getOps<mlir::gpu::GPUFuncOp>()) {
      KernelLowering lowering(module, function);
      int64_t threads = (*function.getKnownBlockSize())[0];
      std::string name = function.getName().str();
      bool cooperative = function->hasAttr(gpu::kCooperative), dependent = function->hasAttr(gpu::kDependent);
      lowering.run();
      shapes.push_back({name, threads, subgroupSize, lowering.sharedBytes, cooperative, dependent});
    }
    kernels.erase();
  }
  lowerStepFields(module);
  for (NamedAttribute attribute : llvm::to_vector(module->getAttrs()))
    if (attribute.getName().getValue().starts_with("qwen."))
      module->removeAttr(attribute.getName());
  PassManager passes(module.getContext());
  addLoweringPasses(passes);
  if (!message.empty() || failed(passes.run(module)))
    return internalError("cannot lower kernels for the CPU: " + message);
  return shapes;
}

} // namespace qwench::gpu_on_cpu
