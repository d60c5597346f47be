#include "compiler/target/gpu/kernel_builder.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/NVGPU/IR/NVGPUDialect.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::gpu {

KernelBuilder::KernelBuilder(Location loc, mlir::gpu::GPUModuleOp kernels, const Device &device, StringRef name,
                             int64_t subgroups)
    : StepBuilder(loc, kernels.getContext()), device(device), subgroups(subgroups) {
  setInsertionPointToEnd(kernels.getBody());
  SmallVector<Type> types{BatchType::get(getContext()), getIndexType(), getIndexType(), getIndexType()};
  function = mlir::gpu::GPUFuncOp::create(*this, name, getFunctionType(types, {}));
  function.setKnownBlockSize(ArrayRef<int32_t>{static_cast<int32_t>(threads()), 1, 1});
  setInsertionPointToStart(&function.getBody().front());
  module = kernels->getParentOfType<ModuleOp>();
  memorySpace = mlir::gpu::AddressSpaceAttr::get(getContext(), mlir::gpu::AddressSpace::Global);
  batch = function.getArgument(0), layer = function.getArgument(1), instance = function.getArgument(2);
  tile = function.getArgument(3);
  thread = mlir::gpu::ThreadIdOp::create(*this, mlir::gpu::Dimension::x);
  lane = rem(thread, device.subgroupSize);
  subgroup = div(thread, device.subgroupSize);
}

//===-- Floats ----------------------------------------------------------------------------------------------------===//

Value KernelBuilder::exp(Value x) {
  Value factor = f32(1.4426950408889634);
  if (auto type = dyn_cast<VectorType>(x.getType()))
    factor = splat(factor, type.getNumElements());
  return exp2(mulf(x, factor));
}

Value KernelBuilder::swiglu(Value gate, Value up) {
  Value one = f32(1);
  if (auto type = dyn_cast<VectorType>(gate.getType()))
    one = splat(one, type.getNumElements());
  Value negated = arith::NegFOp::create(*this, gate);
  return mulf(divf(gate, addf(one, exp(negated))), up);
}

Value KernelBuilder::sum(Value vector) {
  return vector::ReductionOp::create(*this, vector::CombiningKind::ADD, vector, arith::FastMathFlags::reassoc);
}

//===-- Memory ----------------------------------------------------------------------------------------------------===//

Value KernelBuilder::load(Value memory, Value at) {
  Value raw = loadScalar(memory, at);
  return raw.getType().isF32() ? raw : arith::ExtFOp::create(*this, getF32Type(), raw).getResult();
}

void KernelBuilder::store(Value value, Value memory, Value at) {
  Type element = cast<MemRefType>(memory.getType()).getElementType();
  storeScalar(element.isF32() ? value : arith::TruncFOp::create(*this, element, value).getResult(), memory, at);
}

Value KernelBuilder::load(Value memory, Value at, int64_t n) {
  Type element = cast<MemRefType>(memory.getType()).getElementType();
  auto type = vectorOf(n, element);
  Value raw = n == 1 ? vector::LoadOp::create(*this, type, memory, ValueRange{at}).getResult()
                     : vector::LoadOp::create(*this, type, memory, ValueRange{at}, false, llvm::MaybeAlign(16)).getResult();
  return element.isF32() ? raw : arith::ExtFOp::create(*this, floats(n), raw).getResult();
}

void KernelBuilder::storeVector(Value vector, Value memory, Value at) {
  Type element = cast<MemRefType>(memory.getType()).getElementType();
  int64_t n = cast<VectorType>(vector.getType()).getNumElements();
  if (!element.isF32())
    vector = arith::TruncFOp::create(*this, vectorOf(n, element), vector);
  if (n == 1)
    vector::StoreOp::create(*this, vector, memory, ValueRange{at});
  else
    vector::StoreOp::create(*this, vector, memory, ValueRange{at}, false, llvm::MaybeAlign(16));
}

/// The elements of a piece of a row of odd shape, one by one as of(place) loads them: what lies behind the row is not read.
static Value oddPiece(KernelBuilder &b, Type element, Value start, Value k, int64_t width, llvm::function_ref<Value(Value)> of) {
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(element));
  SmallVector<Value> elements;
  for (int64_t j = 0; j < kPiece; ++j) {
    Value column = b.add(k, j), inside = b.less(column, b.index(width));
    Value value = of(b.add(start, b.min(column, b.index(width - 1))));
    elements.push_back(b.select(inside, value, zero));
  }
  return vector::FromElementsOp::create(b, b.vectorOf(kPiece, element), elements);
}

Value KernelBuilder::inputPieceRaw(const Buffer &buffer, Value start, Value k, int64_t width) {
  if (buffer.aligned && width % kPiece == 0)
    return loadRaw(buffer.memory, add(start, k));
  return oddPiece(*this, buffer.element, start, k, width, [&](Value at) { return loadScalar(buffer.memory, at); });
}

Value KernelBuilder::inputPiece(const Buffer &buffer, Value start, Value k, int64_t width) {
  if (buffer.aligned && width % kPiece == 0)
    return load(buffer.memory, add(start, k), kPiece);
  return oddPiece(*this, getF32Type(), start, k, width, [&](Value at) { return load(buffer.memory, at); });
}

//===-- The block -------------------------------------------------------------------------------------------------===//

void KernelBuilder::keepRolled(ValueRange loopResults) {
  MLIRContext *context = getContext();
  auto unroll = LLVM::LoopUnrollAttr::get(context, BoolAttr::get(context, true), {}, {}, {}, {}, {}, {});
  auto annotation = LLVM::LoopAnnotationAttr::get(context, {}, {}, {}, unroll, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {});
  loopResults.front().getDefiningOp()->setAttr("llvm.loop_annotation", annotation);
}

Value KernelBuilder::shared(int64_t count, Type element, int64_t alignment) {
  auto space = mlir::gpu::AddressSpaceAttr::get(getContext(), mlir::gpu::AddressSpace::Workgroup);
  int64_t each = element.getIntOrFloatBitWidth() / 8, bytes = llvm::alignTo(count * each, kSharedGranule);
  auto type = MemRefType::get({bytes / each}, element, MemRefLayoutAttrInterface(), space);
  Value memory = function.addWorkgroupAttribution(type, getLoc());
  int last = static_cast<int>(function.getNumWorkgroupAttributions()) - 1;
  function.setWorkgroupAttributionAttr(last, "llvm.align", getI64IntegerAttr(alignment));
  sharedBytes = llvm::alignTo(sharedBytes, alignment) + bytes;
  return memory;
}

Value KernelBuilder::copyPiece(Value memory, Value at, Value sharedMemory, Value target, Value inside) {
  auto token = nvgpu::DeviceAsyncTokenType::get(getContext());
  return nvgpu::DeviceAsyncCopyOp::create(*this, token, sharedMemory, target, memory, at, getIndexAttr(kPiece),
                                          select(inside, index(kPiece), index(0)), /*bypassL1=*/getUnitAttr());
}

Value KernelBuilder::copyGroup(ValueRange copies) {
  auto group = nvgpu::DeviceAsyncCreateGroupOp::create(*this, nvgpu::DeviceAsyncTokenType::get(getContext()), copies);
  if (copies.empty()) // MLIR's text of a group without operands would take the next line's result for one
    group->setAttr("qwen.copies_before", getUnitAttr());
  return group;
}

void KernelBuilder::awaitCopies(Value group, int64_t later) {
  nvgpu::DeviceAsyncWaitOp::create(*this, group, getI32IntegerAttr(static_cast<int32_t>(later)));
}

Value KernelBuilder::reduce(Reduction how, Value value, int64_t size, int64_t stride) {
  if (size == 0 || size == device.subgroupSize)
    return mlir::gpu::SubgroupReduceOp::create(*this, value, how, /*uniform=*/false);
  if (size == 1)
    return value;
  return mlir::gpu::SubgroupReduceOp::create(*this, value, how, /*uniform=*/false, static_cast<uint32_t>(size),
                                             static_cast<uint32_t>(stride));
}

Value KernelBuilder::blockSum(Value value) {
  Value partial = subgroupSum(value);
  if (subgroups == 1)
    return partial;
  Value sums = shared(subgroups, getF32Type());
  when(equal(lane, index(0)), [&] { storeScalar(partial, sums, subgroup); });
  barrier();
  Value total = loadScalar(sums, index(0));
  for (int64_t s = 1; s < subgroups; ++s)
    total = addf(total, loadScalar(sums, index(s)));
  return total;
}

//===-- Operands --------------------------------------------------------------------------------------------------===//

Buffer KernelBuilder::buffer(Value planned) {
  Buffer result{rows(planned)};
  auto op = planned.getDefiningOp<BufferOp>();
  int64_t bytes = result.element.getIntOrFloatBitWidth() / 8;
  result.aligned = op.getOffset() % 16 == 0 && result.stride % kPiece == 0 && result.stride * bytes % 16 == 0;
  result.vector = result.aligned && result.width % kPiece == 0 ? kPiece : 1;
  return result;
}

} // namespace qwench::gpu
