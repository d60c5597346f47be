#include "compiler/target/gpu/warpgroup_unit.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;

namespace qwench::gpu {

namespace {

/// Fields of a descriptor of rows, "Matrix Descriptor Format": addresses and distances in units of 16 bytes.
constexpr int64_t kUnit = 16, kAddressMask = 0x3ffff;
constexpr int kLeadingBit = 16, kStrideBit = 32, kSwizzleBit = 62;
constexpr uint64_t kSwizzle128 = 1, kSwizzle64 = 2;
constexpr int64_t kSwizzledRows = 8; ///< of one pattern; the next follows a stride further

/// What descriptors of rows of so many bytes have in common, whatever the rows' place. Rows are no longer than a swizzle's span,
/// so that the leading distance counts for nothing; 1 is what the ISA's tables show then.
uint64_t formatOf(int64_t rowBytes) {
  uint64_t swizzle = rowBytes == 128 ? kSwizzle128 : kSwizzle64;
  uint64_t stride = kSwizzledRows * rowBytes / kUnit;
  return swizzle << kSwizzleBit | stride << kStrideBit | uint64_t(1) << kLeadingBit;
}

Value i64(KernelBuilder &b, uint64_t value) {
  return arith::ConstantOp::create(b, b.getI64IntegerAttr(static_cast<int64_t>(value)));
}

Value descriptorOf(KernelBuilder &b, const StagedRows &rows) {
  Value base = memref::ExtractAlignedPointerAsIndexOp::create(b, rows.memory);
  Value address = arith::IndexCastOp::create(b, b.getI64Type(), b.add(base, b.mul(rows.start, 2)));
  address = arith::AndIOp::create(b, address, i64(b, kAddressMask));
  return arith::OrIOp::create(b, arith::DivUIOp::create(b, address, i64(b, kUnit)), i64(b, formatOf(rows.stride * 2)));
}

/// The descriptor of what stands so many elements further.
Value advance(KernelBuilder &b, Value descriptor, int64_t elements) {
  return arith::AddIOp::create(b, descriptor, i64(b, elements * 2 / kUnit));
}

} // namespace

/// What registers hold of the sums of a thread.
Type WarpgroupUnit::sumsType(KernelBuilder &b) const {
  SmallVector<Type> sums(kRows * columns / (kSubgroups * b.device.subgroupSize), b.getF32Type());
  return LLVM::LLVMStructType::getLiteral(b.getContext(), sums);
}

/// By instructions that stay where they are: LLVM would move what sets registers behind wgmma.fence, which orders such accesses
/// before products.
Value WarpgroupUnit::zeros(KernelBuilder &b) const {
  auto type = cast<LLVM::LLVMStructType>(sumsType(b));
  std::string text, registers;
  for (size_t i = 0; i < type.getBody().size(); ++i) {
    text += "mov.b32 $" + std::to_string(i) + ", 0;\n";
    registers += i ? ",=f" : "=f";
  }
  return LLVM::InlineAsmOp::create(b, type, ValueRange(), text, registers, /*has_side_effects=*/true, /*is_align_stack=*/false,
                                   LLVM::TailCallKind::None, nullptr, nullptr)
      .getRes();
}

SmallVector<Value> WarpgroupUnit::multiply(KernelBuilder &b, const StagedRows &rows, const StagedRows &weights,
                                           ValueRange before) const {
  constexpr auto bf16 = NVVM::WGMMATypes::bf16;
  constexpr auto one = NVVM::WGMMAScaleIn::one;
  SmallVector<Value> sums(before);
  Value a = descriptorOf(b, rows), w = descriptorOf(b, weights);
  auto shape = NVVM::MMAShapeAttr::get(b.getContext(), kRows, columns, Fragments::kInputs);
  NVVM::WgmmaFenceAlignedOp::create(b);
  for (int64_t k = 0; k < rows.stride; k += Fragments::kInputs)
    for (auto [i, sum] : llvm::enumerate(sums))
      sum = NVVM::WgmmaMmaAsyncOp::create(b, sum.getType(), sum, advance(b, a, i * kRows * rows.stride + k), advance(b, w, k), shape,
                                          bf16, bf16, NVVM::WGMMATypes::f32, NVVM::WGMMAScaleOut::one, one, one,
                                          NVVM::MMALayout::row, NVVM::MMALayout::col, NVVM::MMAIntOverflowAttr());
  NVVM::WgmmaGroupSyncAlignedOp::create(b);
  return sums;
}

Value WarpgroupUnit::fragment(KernelBuilder &b, Value sums, int64_t j) const {
  SmallVector<Value> elements;
  for (int64_t i = 4 * j; i < 4 * j + 4; ++i)
    elements.push_back(LLVM::ExtractValueOp::create(b, b.getF32Type(), sums, ArrayRef<int64_t>{i}));
  return vector::FromElementsOp::create(b, b.floats(4), elements);
}

void WarpgroupUnit::await(KernelBuilder &b, int64_t later) { NVVM::WgmmaWaitGroupSyncOp::create(b, later); }

void WarpgroupUnit::publish(KernelBuilder &b) {
  auto space = NVVM::SharedSpaceAttr::get(b.getContext(), NVVM::SharedSpace::shared_cta);
  NVVM::FenceProxyOp::create(b, NVVM::ProxyKind::async_shared, space);
}

} // namespace qwench::gpu
