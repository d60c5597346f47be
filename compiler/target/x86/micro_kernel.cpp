#include "compiler/target/x86/micro_kernel.h"

#include "compiler/target/x86/integers.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/X86Vector/X86VectorDialect.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;

namespace {

/// Blocks of more rows are bound by arithmetic.
bool streams(int64_t rows) { return rows <= 4; }

/// The arithmetic of one step for one pair (row of A, 16 columns of B), by element types and what the CPU has.
class Arithmetic {
public:
  Arithmetic(KernelBuilder &b, Type a, Type weights, bool dot)
      : b(b), dot(dot && a.isBF16()), wide(weights.isBF16() && !this->dot) {}

  /// B's vectors of a step: one, or even and odd elements apart.
  SmallVector<Value, 2> loadB(Value memory, Value at, int64_t depth) {
    Type element = cast<MemRefType>(memory.getType()).getElementType();
    Value raw = vector::LoadOp::create(b, VectorType::get({kLanes * depth}, element), memory, ValueRange{at});
    if (!wide)
      return {raw};
    Value bits = toBits(b, raw);
    return {toFloats(b, shl(b, bits, 16)), toFloats(b, andi(b, bits, 0xffff0000u))};
  }

  /// A's elements of a step, each in all lanes.
  SmallVector<Value, 2> loadA(Value memory, Value at) {
    if (dot) {
      Value pair = vector::LoadOp::create(b, VectorType::get({2}, b.getBF16Type()), memory, ValueRange{at});
      Value word = vector::BitCastOp::create(b, VectorType::get({1}, b.getI32Type()), pair);
      Value all = vector::BroadcastOp::create(b, VectorType::get({kLanes}, b.getI32Type()), word);
      return {vector::BitCastOp::create(b, VectorType::get({2 * kLanes}, b.getBF16Type()), all)};
    }
    SmallVector<Value, 2> elements;
    for (int64_t i = 0; i < (wide ? 2 : 1); ++i)
      elements.push_back(b.splat(b.loadScalar(memory, b.add(at, i))));
    return elements;
  }

  Value accumulate(Value sum, ArrayRef<Value> a, ArrayRef<Value> weights) {
    if (dot)
      return x86vector::DotBF16Op::create(b, sum.getType(), sum, a[0], weights[0]);
    for (auto [x, w] : llvm::zip_equal(a, weights))
      sum = b.fma(x, w, sum);
    return sum;
  }

private:
  KernelBuilder &b;
  bool dot, wide;
};

std::string nameOf(const Product &p, int64_t rows) {
  auto element = [](Value memory) { return cast<MemRefType>(memory.getType()).getElementType(); };
  std::string name;
  llvm::raw_string_ostream(name) << "micro." << element(p.a) << "x" << element(p.b) << "." << rows << "x" << kPanel
                                 << (p.accumulate ? ".accumulate" : "") << (p.stream && streams(rows) ? ".stream" : "");
  if (p.nextPanel)
    name += ".next" + std::to_string(p.nextPanel);
  return name;
}

/// The body of the function `(a, rowOffsets, row, b, bStart, stepStride, blockStride, steps, c, cStart, cStride)`.
void emitMicroKernel(KernelBuilder &b, ValueRange arguments, const Product &p, int64_t rows) {
  auto argument = [&](unsigned n) { return arguments[n]; };
  Value a = argument(0), bMemory = argument(3), c = argument(8);

  SmallVector<Value> offsets;
  for (int64_t r = 0; r < rows; ++r)
    offsets.push_back(b.toIndex(b.loadScalar(argument(1), b.add(argument(2), r))));
  Arithmetic arithmetic(b, cast<MemRefType>(p.a.getType()).getElementType(),
                        cast<MemRefType>(p.b.getType()).getElementType(), b.machine.bf16Dot);
  int64_t unroll = accumulatorsPerSum(b.machine, rows);
  SmallVector<Value> zeros(unroll * rows * 2, b.splat(0.0f));
  auto sums = b.loop(b.index(0), argument(7), unroll, zeros, [&](Value step, ValueRange accumulators) {
    KernelBuilder::Yield next(accumulators);
    for (int64_t u = 0; u < unroll; ++u) {
      Value s = b.add(step, u);
      Value at = b.add(argument(4), b.mul(s, argument(5)));
      SmallVector<Value, 2> weights[2] = {arithmetic.loadB(bMemory, at, p.depth),
                                          arithmetic.loadB(bMemory, b.add(at, argument(6)), p.depth)};
      if (p.stream && streams(rows))
        for (Value half : {at, b.add(at, argument(6))})
          prefetch(b, bMemory, half, 64);
      if (p.nextPanel)
        for (Value half : {at, b.add(at, argument(6))})
          prefetch(b, bMemory, half, 64, p.nextPanel, 2);
      for (int64_t r = 0; r < rows; ++r) {
        auto x = arithmetic.loadA(a, b.add(offsets[r], b.mul(s, p.depth)));
        for (int64_t j = 0; j < 2; ++j) {
          Value &sum = next[(u * rows + r) * 2 + j];
          sum = arithmetic.accumulate(sum, x, weights[j]);
        }
      }
    }
    return next;
  });
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < 2; ++j) {
      Value sum = sums[r * 2 + j];
      for (int64_t u = 1; u < unroll; ++u)
        sum = b.addf(sum, sums[(u * rows + r) * 2 + j]);
      Value at = b.add(b.add(argument(9), b.mul(argument(10), r)), j * kLanes);
      b.store(p.accumulate ? b.addf(b.load(c, at), sum) : sum, c, at);
    }
}

} // namespace

void x86::prefetch(KernelBuilder &b, Value memory, Value at, int64_t bytes) {
  prefetch(b, memory, at, bytes, b.machine.fetchAhead);
}

void x86::prefetch(KernelBuilder &b, Value memory, Value at, int64_t bytes, int64_t ahead, int cacheLevel) {
  if (!ahead)
    return;
  int64_t size = cast<MemRefType>(memory.getType()).getElementTypeBitWidth() / 8;
  for (int64_t line = 0; line < bytes; line += 64)
    memref::PrefetchOp::create(b, memory, ValueRange{b.add(at, (ahead + line) / size)}, /*isWrite=*/false,
                               /*localityHint=*/4 - cacheLevel, /*isDataCache=*/true);
}

SmallVector<int64_t> x86::rowBlocks(const Machine &machine, int64_t sets) {
  int64_t rowRegisters = sets * kPanel / machine.lanes;
  int64_t most = std::clamp<int64_t>(machine.registers * 3 / 4 / rowRegisters, 1, kMaxRowBlock);
  SmallVector<int64_t> blocks{most};
  for (int64_t rows = llvm::bit_floor(static_cast<uint64_t>(most)); rows; rows /= 2)
    if (rows < most)
      blocks.push_back(rows);
  return blocks;
}

int64_t x86::accumulatorsPerSum(const Machine &machine, int64_t rows, int64_t sets) {
  int64_t times = rowBlocks(machine, sets).front() / rows;
  return std::min<int64_t>(4, llvm::bit_floor(static_cast<uint64_t>(std::max<int64_t>(1, times))));
}

void x86::forRowBlocks(KernelBuilder &b, Value begin, Value end, ArrayRef<int64_t> blocks,
                       llvm::function_ref<void(Value, int64_t)> body) {
  int64_t most = blocks.front();
  Value whole = b.add(begin, b.mul(b.div(b.sub(end, begin), most), most));
  b.loop(begin, whole, most, [&](Value row) { body(row, most); });
  Value rest = b.sub(end, whole), row = whole;
  for (int64_t rows : blocks.drop_front()) {
    Value part = arith::AndIOp::create(b, rest, b.index(rows));
    b.when(arith::CmpIOp::create(b, arith::CmpIPredicate::ne, part, b.index(0)), [&] { body(row, rows); });
    row = b.add(row, part);
  }
}

void x86::emitProduct(KernelBuilder &b, const Product &p, Value row, int64_t rows, Value cStart) {
  b.callShared(nameOf(p, rows),
               {p.a, p.rowOffsets, row, p.b, p.bStart, b.index(p.stepStride), b.index(p.blockStride),
                p.fewerSteps ? p.fewerSteps : b.index(p.steps), p.c, cStart, b.index(p.cStride)},
               [&](KernelBuilder &b, ValueRange arguments) { emitMicroKernel(b, arguments, p, rows); });
}
