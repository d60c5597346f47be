#include "compiler/target/x86/tile_kernel.h"

#include "mlir/Dialect/AMX/AMXDialect.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;

namespace {

/// Steps of K, pairs of columns, that one tile holds: its rows of B.
constexpr int64_t kTileSteps = kTileRows;
constexpr int64_t kPair = 2;
static_assert(kTileColumns == kTileSteps * kPair);

Type elementOf(Value memory) { return cast<MemRefType>(memory.getType()).getElementType(); }

std::string nameOf(const Product &p, int64_t rows) {
  return "tiles.bf16." + std::to_string(rows) + "x" + std::to_string(kPanel) + (p.accumulate ? ".accumulate" : "") +
         (p.stream ? ".stream" : "");
}

/// The body of the function `(a, aStart, aStride, b, bStart, stepStride, blockStride, steps, c, cStart, cStride)`: starts and
/// strides in elements.
void emitTileKernel(KernelBuilder &b, ValueRange arguments, const Product &p, int64_t rows) {
  auto argument = [&](unsigned n) { return arguments[n]; };
  int64_t blocks = llvm::divideCeil(rows, kTileRows), blockRows = rows / blocks;
  auto left = amx::TileType::get({blockRows, kTileColumns}, b.getBF16Type());
  auto right = amx::TileType::get({kTileSteps, kTileColumns}, b.getBF16Type());
  auto sum = amx::TileType::get({blockRows, kLanes}, b.getF32Type());
  auto load = [&](amx::TileType tile, Value memory, Value at, Value stride) -> Value {
    return amx::TileLoadOp::create(b, tile, memory, ValueRange{at}, stride);
  };
  SmallVector<Value> places, before;
  for (int64_t block = 0; block < blocks; ++block)
    for (int64_t half = 0; half < 2; ++half) {
      places.push_back(b.add(b.add(argument(9), b.mul(argument(10), block * kTileRows)), half * kLanes));
      before.push_back(p.accumulate ? load(sum, argument(8), places.back(), argument(10))
                                    : amx::TileZeroOp::create(b, sum).getResult());
    }
  auto sums = b.loop(b.index(0), argument(7), kTileSteps, before, [&](Value step, ValueRange accumulators) {
    KernelBuilder::Yield next(accumulators);
    Value bAt = b.add(argument(4), b.mul(step, argument(5)));
    Value weights[2] = {load(right, argument(3), bAt, argument(5)),
                        load(right, argument(3), b.add(bAt, argument(6)), argument(5))};
    if (p.stream)
      prefetch(b, argument(3), bAt, kTileSteps * kPair * kPanel * 2);
    for (int64_t block = 0; block < blocks; ++block) {
      Value first = b.add(argument(1), b.mul(argument(2), block * kTileRows));
      Value x = load(left, argument(0), b.add(first, b.mul(step, kPair)), argument(2));
      for (int64_t half = 0; half < 2; ++half) {
        Value &target = next[block * 2 + half];
        target = amx::TileMulFOp::create(b, sum, x, weights[half], target);
      }
    }
    return next;
  });
  for (auto [place, value] : llvm::zip_equal(places, sums))
    amx::TileStoreOp::create(b, argument(8), ValueRange{place}, value, argument(10));
}

} // namespace

bool x86::tilesFit(const KernelBuilder &b, const Product &p) {
  return b.machine.tiles && elementOf(p.a).isBF16() && elementOf(p.b).isBF16() && p.steps % kTileSteps == 0;
}

void x86::forTileBlocks(KernelBuilder &b, Value count, llvm::function_ref<void(Value, int64_t)> tiles,
                        llvm::function_ref<void(Value, int64_t)> micro) {
  Value done = b.mul(b.div(count, kMaxTileBlock), kMaxTileBlock);
  b.loop(b.index(0), done, kMaxTileBlock, [&](Value row) { tiles(row, kMaxTileBlock); });
  for (int64_t rows = kTileRows; rows >= kMinTileBlock; rows /= 2) {
    Value some = arith::AndIOp::create(b, count, b.index(rows));
    if (rows == kMinTileBlock) {
      Value alone = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, count, b.index(rows));
      some = arith::SelectOp::create(b, alone, b.index(0), some);
    }
    b.when(arith::CmpIOp::create(b, arith::CmpIPredicate::ne, some, b.index(0)), [&] { tiles(done, rows); });
    done = b.add(done, some);
  }
  forRowBlocks(b, done, count, micro);
}

void x86::emitTileProduct(KernelBuilder &b, const TileProduct &tile, int64_t rows, Value cStart) {
  const Product &p = tile.product;
  b.callShared(nameOf(p, rows),
               {p.a, tile.aStart, b.index(tile.aStride), p.b, p.bStart, b.index(p.stepStride), b.index(p.blockStride),
                b.index(p.steps), p.c, cStart, b.index(p.cStride)},
               [&](KernelBuilder &b, ValueRange arguments) { emitTileKernel(b, arguments, p, rows); });
}
