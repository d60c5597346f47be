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

/// What descriptors of rows of so many bytes have in common, whatever the rows' place. Where inputs follow one another (K-major),
/// rows are no longer than a swizzle's span, so that the leading distance counts for nothing; 1 is what the ISA's tables show
/// then. Where columns do (MN-major), it is that from one span of columns to the next. The stride is that from 8 rows of memory to
/// the next 8: columns there, inputs here.
uint64_t formatOf(int64_t rowBytes, int64_t leading = kUnit) {
  uint64_t swizzle = rowBytes == 128 ? kSwizzle128 : kSwizzle64;
  uint64_t stride = kSwizzledRows * rowBytes / kUnit;
  return swizzle << kSwizzleBit | stride << kStrideBit | static_cast<uint64_t>(leading / kUnit) << kLeadingBit;
}

Value i64(KernelBuilder &b, uint64_t value) {
  return arith::ConstantOp::create(b, b.getI64IntegerAttr(static_cast<int64_t>(value)));
}

Value descriptorOf(KernelBuilder &b, Value memory, Value start, uint64_t format) {
  Value base = memref::ExtractAlignedPointerAsIndexOp::create(b, memory);
  Value address = arith::IndexCastOp::create(b, b.getI64Type(), b.add(base, b.mul(start, 2)));
  address = arith::AndIOp::create(b, address, i64(b, kAddressMask));
  return arith::OrIOp::create(b, arith::DivUIOp::create(b, address, i64(b, kUnit)), i64(b, format));
}

Value descriptorOf(KernelBuilder &b, const StagedRows &rows) {
  return descriptorOf(b, rows.memory, rows.start, formatOf(rows.stride * 2));
}

/// The descriptor of what stands so many elements further.
Value advance(KernelBuilder &b, Value descriptor, int64_t elements) {
  return arith::AddIOp::create(b, descriptor, i64(b, elements * 2 / kUnit));
}

/// An assembly of `text` that stays where it is among its like. Its first operands are in its results' registers.
Value assembly(KernelBuilder &b, const std::string &text, Type element, size_t results, ValueRange operands, StringRef others = "") {
  auto type = LLVM::LLVMStructType::getLiteral(b.getContext(), SmallVector<Type>(results, element));
  const char *letter = element.isF32() ? "f" : "r";
  std::string constraints;
  for (size_t i = 0; i < results; ++i)
    constraints += std::string(i ? ",=" : "=") + letter;
  for (size_t i = 0; i < results && !operands.empty(); ++i)
    constraints += "," + std::to_string(i);
  return LLVM::InlineAsmOp::create(b, type, operands, text, constraints + others.str(), /*has_side_effects=*/true,
                                   /*is_align_stack=*/false, LLVM::TailCallKind::None, nullptr, nullptr)
      .getRes();
}

SmallVector<Value> elementsOf(KernelBuilder &b, Value structure) {
  SmallVector<Value> elements;
  for (auto [i, type] : llvm::enumerate(cast<LLVM::LLVMStructType>(structure.getType()).getBody()))
    elements.push_back(LLVM::ExtractValueOp::create(b, type, structure, ArrayRef<int64_t>{static_cast<int64_t>(i)}));
  return elements;
}

constexpr int64_t kFragment = 4; ///< sums of a lane in one

SmallVector<Value> fragmentsOf(KernelBuilder &b, ArrayRef<Value> elements) {
  SmallVector<Value> fragments;
  for (; !elements.empty(); elements = elements.drop_front(kFragment))
    fragments.push_back(vector::FromElementsOp::create(b, b.floats(kFragment), elements.take_front(kFragment)));
  return fragments;
}

} // namespace

Value StagedPanels::place(KernelBuilder &b, Value row, Value element) const {
  Value within = StagedRows{memory, start, width}.place(b, row, b.div(b.rem(element, width), kPiece));
  return b.add(b.add(start, b.mul(b.div(element, width), rows * width)), within);
}

/// What registers hold of the sums of a thread.
Type WarpgroupUnit::sumsType(KernelBuilder &b) const {
  return LLVM::LLVMStructType::getLiteral(b.getContext(), SmallVector<Type>(registers(b), b.getF32Type()));
}

/// By instructions that stay where they are: LLVM would move what sets registers behind wgmma.fence, which orders such accesses
/// before products.
Value WarpgroupUnit::zeros(KernelBuilder &b) const {
  std::string text;
  for (int64_t i = 0; i < registers(b); ++i)
    text += "mov.b32 $" + std::to_string(i) + ", 0;\n";
  return assembly(b, text, b.getF32Type(), registers(b), {});
}

void WarpgroupUnit::begin(KernelBuilder &b) { NVVM::WgmmaFenceAlignedOp::create(b); }
void WarpgroupUnit::commit(KernelBuilder &b) { NVVM::WgmmaGroupSyncAlignedOp::create(b); }

SmallVector<Value> WarpgroupUnit::add(KernelBuilder &b, const StagedRows &rows, const StagedRows &weights, ValueRange before) const {
  constexpr auto bf16 = NVVM::WGMMATypes::bf16;
  constexpr auto one = NVVM::WGMMAScaleIn::one;
  SmallVector<Value> sums(before);
  Value a = descriptorOf(b, rows), w = descriptorOf(b, weights);
  auto shape = NVVM::MMAShapeAttr::get(b.getContext(), kRows, columns, Fragments::kInputs);
  for (int64_t k = 0; k < rows.stride; k += Fragments::kInputs)
    for (auto [i, sum] : llvm::enumerate(sums)) {
      auto keep = sum ? NVVM::WGMMAScaleOut::one : NVVM::WGMMAScaleOut::zero;
      Value sumsBefore = sum ? sum : LLVM::UndefOp::create(b, sumsType(b)).getRes();
      sum = NVVM::WgmmaMmaAsyncOp::create(b, sumsType(b), sumsBefore, advance(b, a, i * kRows * rows.stride + k), advance(b, w, k),
                                          shape, bf16, bf16, NVVM::WGMMATypes::f32, keep, one, one, NVVM::MMALayout::row,
                                          NVVM::MMALayout::col, NVVM::MMAIntOverflowAttr());
    }
  return sums;
}

SmallVector<Value> WarpgroupUnit::multiply(KernelBuilder &b, const StagedRows &rows, const StagedRows &weights,
                                           ValueRange before) const {
  begin(b);
  SmallVector<Value> sums = add(b, rows, weights, before);
  commit(b);
  return sums;
}

/// NVVM's operation takes no A of registers.
Value WarpgroupUnit::addHeld(KernelBuilder &b, ArrayRef<Value> words, const StagedPanels &inputs, Value sum) const {
  const int64_t count = registers(b), rowBytes = inputs.width * 2;
  auto list = [](int64_t first, int64_t count) {
    std::string registers;
    for (int64_t i = first; i < first + count; ++i)
      registers += (i > first ? ", $" : "$") + std::to_string(i);
    return "{" + registers + "}";
  };
  std::string text = "{\n.reg .pred p;\nsetp.ne.b32 p, 1, 0;\nwgmma.mma_async.sync.aligned.m64n" + std::to_string(columns) +
                     "k16.f32.bf16.bf16 " + list(0, count) + ", " + list(2 * count, kWords) + ", $" +
                     std::to_string(2 * count + kWords) + ", p, 1, 1, 1;\n}"; // signs of A and B, and B is MN-major
  Value w = descriptorOf(b, inputs.memory, inputs.start, formatOf(rowBytes, inputs.rows * rowBytes));
  for (size_t i = 0; i < words.size() / kWords; ++i) {
    SmallVector<Value> operands = elementsOf(b, sum);
    llvm::append_range(operands, words.slice(i * kWords, kWords));
    operands.push_back(advance(b, w, i * Fragments::kInputs * inputs.width));
    sum = assembly(b, text, b.getF32Type(), count, operands, ",r,r,r,r,l");
  }
  return sum;
}

Value WarpgroupUnit::fragment(KernelBuilder &b, Value sums, int64_t j) const {
  SmallVector<Value> elements;
  for (int64_t i = kFragment * j; i < kFragment * (j + 1); ++i)
    elements.push_back(LLVM::ExtractValueOp::create(b, b.getF32Type(), sums, ArrayRef<int64_t>{i}));
  return vector::FromElementsOp::create(b, b.floats(kFragment), elements);
}

SmallVector<Value> WarpgroupUnit::fragments(KernelBuilder &b, Value sums) const {
  return fragmentsOf(b, elementsOf(b, assembly(b, "", b.getF32Type(), registers(b), elementsOf(b, sums))));
}

Value WarpgroupUnit::sumsOf(KernelBuilder &b, ValueRange fragments) const {
  SmallVector<Value> elements;
  for (Value fragment : fragments)
    for (int64_t i = 0; i < kFragment; ++i)
      elements.push_back(b.extract(fragment, i));
  return assembly(b, "", b.getF32Type(), elements.size(), elements);
}

SmallVector<Value> WarpgroupUnit::hold(KernelBuilder &b, ValueRange pairs) {
  SmallVector<Value> words = wordsOf(b, pairs);
  return elementsOf(b, assembly(b, "", b.getI32Type(), words.size(), words));
}

void WarpgroupUnit::await(KernelBuilder &b, int64_t later) { NVVM::WgmmaWaitGroupSyncOp::create(b, later); }

void WarpgroupUnit::publish(KernelBuilder &b) {
  auto space = NVVM::SharedSpaceAttr::get(b.getContext(), NVVM::SharedSpace::shared_cta);
  NVVM::FenceProxyOp::create(b, NVVM::ProxyKind::async_shared, space);
}

} // namespace qwench::gpu
