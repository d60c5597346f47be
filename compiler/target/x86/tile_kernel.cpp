#include "compiler/target/x86/tile_kernel.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;

namespace {

/// Steps of K that one tile holds: 16 rows of B.
constexpr int64_t kTileSteps = 16;

Type elementOf(Value memory) { return cast<MemRefType>(memory.getType()).getElementType(); }

/// The function `(a, aStart, aStride, b, bStart, stepStride, blockStride, steps, c, cStart, cStride)`: starts and strides
/// in elements.
func::FuncOp tileKernel(KernelBuilder &caller, const Product &p, int64_t rows) {
  std::string name = ("tiles.bf16." + Twine(rows) + "x" + Twine(kPanel)).str();
  if (auto existing = caller.module.lookupSymbol<func::FuncOp>(name))
    return existing;
  KernelBuilder b(caller.getLoc(), caller.getContext());
  b.setInsertionPointToEnd(caller.module.getBody());
  Type i = b.getIndexType();
  auto type = b.getFunctionType({p.a.getType(), i, i, p.b.getType(), i, i, i, i, p.c.getType(), i, i}, {});
  auto function = func::FuncOp::create(b, name, type);
  function.setPrivate();
  function->setAttr("passthrough", b.getStrArrayAttr({"noinline"}));
  Block *body = function.addEntryBlock();
  b.setInsertionPointToStart(body);
  auto argument = [&](unsigned n) { return body->getArgument(n); };

  auto input = amx::TileType::get({kTileRows, kTileSteps * p.depth}, elementOf(p.a));
  auto sum = amx::TileType::get({kTileRows, kLanes}, b.getF32Type());
  int64_t blocks = rows / kTileRows;
  SmallVector<Value> zeros;
  for (int64_t n = 0; n < blocks * 2; ++n)
    zeros.push_back(amx::TileZeroOp::create(b, sum));
  auto sums = b.loop(b.index(0), argument(7), kTileSteps, zeros, [&](Value step, ValueRange accumulators) {
    KernelBuilder::Yield next(accumulators);
    auto load = [&](Value memory, Value at, Value stride) -> Value {
      return amx::TileLoadOp::create(b, input, memory, ValueRange{at}, stride);
    };
    Value bAt = b.add(argument(4), b.mul(step, argument(5)));
    Value weights[2] = {load(argument(3), bAt, argument(5)), load(argument(3), b.add(bAt, argument(6)), argument(5))};
    for (int64_t block = 0; block < blocks; ++block) {
      Value first = b.add(argument(1), b.mul(argument(2), block * kTileRows));
      Value x = load(argument(0), b.add(first, b.mul(step, p.depth)), argument(2));
      for (int64_t j = 0; j < 2; ++j) {
        Value &target = next[block * 2 + j];
        target = amx::TileMulFOp::create(b, sum, x, weights[j], target);
      }
    }
    return next;
  });
  for (int64_t block = 0; block < blocks; ++block)
    for (int64_t j = 0; j < 2; ++j) {
      Value at = b.add(b.add(argument(9), b.mul(argument(10), block * kTileRows)), j * kLanes);
      amx::TileStoreOp::create(b, argument(8), ValueRange{at}, sums[block * 2 + j], argument(10));
    }
  func::ReturnOp::create(b);
  return function;
}

} // namespace

bool x86::tilesFit(const KernelBuilder &b, const Product &p) {
  return b.machine.tiles && p.aStride && elementOf(p.a).isBF16() && elementOf(p.b).isBF16() && p.steps % kTileSteps == 0 &&
         !p.accumulate;
}

void x86::forProductBlocks(KernelBuilder &b, const Product &p, Value begin, Value end,
                           llvm::function_ref<void(Value, int64_t)> body) {
  if (!tilesFit(b, p))
    return forRowBlocks(b, begin, end, body);
  Value whole = b.add(begin, b.mul(b.div(b.sub(end, begin), kMaxTileBlock), kMaxTileBlock));
  b.loop(begin, whole, kMaxTileBlock, [&](Value row) { body(row, kMaxTileBlock); });
  Value half = arith::AndIOp::create(b, b.sub(end, whole), b.index(kTileRows));
  b.when(arith::CmpIOp::create(b, arith::CmpIPredicate::ne, half, b.index(0)), [&] { body(whole, kTileRows); });
  forRowBlocks(b, b.add(whole, half), end, body);
}

void x86::emitTileProduct(KernelBuilder &b, const Product &p, Value row, int64_t rows, Value cStart) {
  func::FuncOp kernel = tileKernel(b, p, rows);
  Value aStart = b.toIndex(b.loadScalar(p.rowOffsets, row));
  func::CallOp::create(b, kernel,
                       ValueRange{p.a, aStart, b.index(*p.aStride), p.b, p.bStart, b.index(p.stepStride),
                                  b.index(p.blockStride), b.index(p.steps), p.c, cStart, b.index(p.cStride)});
}
