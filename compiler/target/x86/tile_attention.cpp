#include "compiler/target/x86/tile_attention.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;

namespace {

/// Steps of K, pairs of columns, that one tile holds: 16 rows of B.
constexpr int64_t kTileSteps = 16;

Type elementOf(Value memory) { return cast<MemRefType>(memory.getType()).getElementType(); }

bool tilesFit(const KernelBuilder &b, const Product &p) {
  return b.machine.tiles && elementOf(p.a).isBF16() && elementOf(p.b).isBF16() && p.steps % kTileSteps == 0;
}

/// The function `(a, aStart, aStride, b, bStart, stepStride, blockStride, steps, c, cStart, cStride)`: starts and strides
/// in elements.
func::FuncOp tileKernel(KernelBuilder &caller, const Product &p, int64_t rows) {
  std::string name =
      ("tiles.attention." + Twine(rows) + "x" + Twine(kPanel) + (p.accumulate ? ".accumulate" : "")).str();
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

  auto input = amx::TileType::get({kTileRows, kTileSteps * p.depth}, b.getBF16Type());
  auto sum = amx::TileType::get({kTileRows, kLanes}, b.getF32Type());
  auto load = [&](amx::TileType tile, Value memory, Value at, Value stride) -> Value {
    return amx::TileLoadOp::create(b, tile, memory, ValueRange{at}, stride);
  };
  int64_t blocks = rows / kTileRows;
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
    Value right[2] = {load(input, argument(3), bAt, argument(5)),
                      load(input, argument(3), b.add(bAt, argument(6)), argument(5))};
    for (int64_t block = 0; block < blocks; ++block) {
      Value first = b.add(argument(1), b.mul(argument(2), block * kTileRows));
      Value x = load(input, argument(0), b.add(first, b.mul(step, p.depth)), argument(2));
      for (int64_t half = 0; half < 2; ++half) {
        Value &target = next[block * 2 + half];
        target = amx::TileMulFOp::create(b, sum, x, right[half], target);
      }
    }
    return next;
  });
  for (int64_t n = 0; n < 2 * blocks; ++n)
    amx::TileStoreOp::create(b, argument(8), ValueRange{places[n]}, sums[n], argument(10));
  func::ReturnOp::create(b);
  return function;
}

void emitTiles(KernelBuilder &b, const Product &p, int64_t aStride, Value row, int64_t rows, Value cStart) {
  func::FuncOp kernel = tileKernel(b, p, rows);
  func::CallOp::create(b, kernel,
                       ValueRange{p.a, b.mul(row, aStride), b.index(aStride), p.b, p.bStart, b.index(p.stepStride),
                                  b.index(p.blockStride), b.index(p.steps), p.c, cStart, b.index(p.cStride)});
}

} // namespace

void x86::emitAttentionProduct(KernelBuilder &b, const Product &product, int64_t aStride, Value count,
                               llvm::function_ref<Value(Value)> cStart) {
  auto micro = [&](Value row, int64_t rows) { emitProduct(b, product, row, rows, cStart(row)); };
  if (!tilesFit(b, product))
    return forRowBlocks(b, b.index(0), count, micro);
  forTileBlocks(b, count, [&](Value row, int64_t rows) {
    if (rows < kTileRows)
      return micro(row, rows);
    emitTiles(b, product, aStride, row, rows, cStart(row));
  });
}
