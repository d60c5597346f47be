#include "compiler/target/gpu/stage_barriers.h"

#include "compiler/target/gpu/warpgroup_unit.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;

namespace qwench::gpu {

namespace {

/// A hint of how long a thread may sleep, in nanoseconds: it looks again as long as nothing has come.
constexpr int64_t kSleep = 1000000;

/// The address of an element, of NVVM's number of its memory space.
Value pointer(KernelBuilder &b, Value memory, Value at, NVVM::NVVMMemorySpace space) {
  int64_t bytes = cast<MemRefType>(memory.getType()).getElementTypeBitWidth() / 8;
  Value base = memref::ExtractAlignedPointerAsIndexOp::create(b, memory);
  Value address = arith::IndexCastOp::create(b, b.getI64Type(), b.add(base, b.mul(at, bytes)));
  return LLVM::IntToPtrOp::create(b, LLVM::LLVMPointerType::get(b.getContext(), static_cast<unsigned>(space)), address);
}

} // namespace

StageBarriers::StageBarriers(KernelBuilder &b, int64_t stages, int64_t copies)
    : stages(stages), copies(copies), memory(b.shared(stages, b.getI64Type())) {}

Value StageBarriers::barrier(KernelBuilder &b, Value stage) const {
  return pointer(b, memory, stage, NVVM::NVVMMemorySpace::Shared);
}

void StageBarriers::open(KernelBuilder &b) const {
  b.forThreads(stages, [&](Value stage) { NVVM::MBarrierInitOp::create(b, barrier(b, stage), b.i32(copies), Value()); });
  WarpgroupUnit::publish(b); // the copying unit counts there
  b.barrier();
}

void StageBarriers::close(KernelBuilder &b) const {
  b.forThreads(stages, [&](Value stage) { NVVM::MBarrierInvalOp::create(b, barrier(b, stage)); });
}

void StageBarriers::copy(KernelBuilder &b, Value stage, Value memory, Value from, Value sharedMemory, Value to,
                         int64_t bytes) const {
  Value at = barrier(b, stage), size = b.i32(bytes);
  NVVM::MBarrierArriveExpectTxOp::create(b, Type(), at, size, NVVM::MemScopeKind::CTA, /*relaxed=*/false, Value());
  auto cluster = LLVM::LLVMPointerType::get(b.getContext(), static_cast<unsigned>(NVVM::NVVMMemorySpace::SharedCluster));
  Value target = LLVM::AddrSpaceCastOp::create(b, cluster, pointer(b, sharedMemory, to, NVVM::NVVMMemorySpace::Shared));
  NVVM::CpAsyncBulkGlobalToSharedClusterOp::create(b, target, pointer(b, memory, from, NVVM::NVVMMemorySpace::Global), at, size,
                                                   Value(), Value());
}

void StageBarriers::await(KernelBuilder &b, Value stage, Value round) const {
  NVVM::MBarrierTryWaitParityOp::create(b, barrier(b, stage), b.toI32(b.rem(round, 2)), b.i32(kSleep));
}

} // namespace qwench::gpu
