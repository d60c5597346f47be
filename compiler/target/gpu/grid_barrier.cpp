// A barrier of a grid: the first thread of each block adds to a counter and waits for its top bit to change. All blocks but one
// add 1, and that one what makes the sum of all 2^31: the bit changes when the last has come, and never else. So the
// counter needs no reset between two barriers. Fences stand by themselves: NVIDIA's backend drops the order of an atomic addition,
// and a poll that acquires would empty the caches of blocks that still work.
#include "compiler/target/gpu/grid_barrier.h"

#include "dialects/Qwen.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;

namespace qwench::gpu {

namespace {

constexpr unsigned kGlobal = 1; // the address space of both vendors
constexpr uint32_t kTop = 1u << 31;

Value i32(ImplicitLocOpBuilder &b, uint32_t value) {
  return arith::ConstantOp::create(b, b.getI32IntegerAttr(static_cast<int32_t>(value)));
}

Value isZero(ImplicitLocOpBuilder &b, Value index) {
  return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, index, arith::ConstantIndexOp::create(b, 0));
}

Value counterOf(ImplicitLocOpBuilder &b, Value batch) {
  auto space = mlir::gpu::AddressSpaceAttr::get(b.getContext(), mlir::gpu::AddressSpace::Global);
  auto type = MemRefType::get({ShapedType::kDynamic}, b.getI32Type(), MemRefLayoutAttrInterface(), space);
  Value memory = qwen::StepFieldOp::create(b, type, batch, qwen::StepField::Team);
  Value index = memref::ExtractAlignedPointerAsIndexOp::create(b, memory);
  Value address = arith::IndexCastOp::create(b, b.getI64Type(), index);
  return LLVM::IntToPtrOp::create(b, LLVM::LLVMPointerType::get(b.getContext(), kGlobal), address);
}

/// The counter before this block was added.
Value arrive(ImplicitLocOpBuilder &b, Value counter, Value block, Value grid, const GridTraits &traits) {
  Value others = arith::SubIOp::create(b, arith::IndexCastOp::create(b, b.getI32Type(), grid), i32(b, 1));
  Value rest = arith::SubIOp::create(b, i32(b, kTop), others);
  Value added = arith::SelectOp::create(b, isZero(b, block), rest, i32(b, 1));
  LLVM::FenceOp::create(b, LLVM::AtomicOrdering::release, traits.scope);
  return LLVM::AtomicRMWOp::create(b, LLVM::AtomicBinOp::add, counter, added, LLVM::AtomicOrdering::monotonic, traits.scope);
}

void waitForOthers(ImplicitLocOpBuilder &b, Value counter, Value before, const GridTraits &traits) {
  auto same = [&](OpBuilder &, Location, ValueRange) {
    Value now = LLVM::LoadOp::create(b, b.getI32Type(), counter, /*alignment=*/4, false, false, false, false,
                                     LLVM::AtomicOrdering::monotonic, traits.scope);
    Value changed = arith::AndIOp::create(b, arith::XOrIOp::create(b, before, now), i32(b, kTop));
    scf::ConditionOp::create(b, arith::CmpIOp::create(b, arith::CmpIPredicate::eq, changed, i32(b, 0)), ValueRange());
  };
  auto again = [&](OpBuilder &, Location, ValueRange) { scf::YieldOp::create(b); };
  scf::WhileOp::create(b, TypeRange(), ValueRange(), same, again);
  LLVM::FenceOp::create(b, LLVM::AtomicOrdering::acquire, traits.scope);
}

} // namespace

void emitGridBarrier(ImplicitLocOpBuilder &b, Value batch, Value block, Value grid, const GridTraits &traits,
                     llvm::function_ref<void()> meanwhile) {
  if (traits.eachReleases)
    LLVM::FenceOp::create(b, LLVM::AtomicOrdering::release, traits.scope);
  mlir::gpu::BarrierOp::create(b);
  Value first = isZero(b, mlir::gpu::ThreadIdOp::create(b, mlir::gpu::Dimension::x)), counter = counterOf(b, batch);
  auto arrival = scf::IfOp::create(b, TypeRange{b.getI32Type()}, first, /*withElseRegion=*/true);
  auto wait = scf::IfOp::create(b, first, /*withElseRegion=*/false);
  mlir::gpu::BarrierOp::create(b);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(arrival.elseBlock());
  scf::YieldOp::create(b, i32(b, 0));
  b.setInsertionPointToStart(arrival.thenBlock());
  scf::YieldOp::create(b, arrive(b, counter, block, grid, traits));
  b.setInsertionPoint(wait);
  meanwhile();
  b.setInsertionPointToStart(wait.thenBlock());
  waitForOthers(b, counter, arrival.getResult(0), traits);
}

} // namespace qwench::gpu
