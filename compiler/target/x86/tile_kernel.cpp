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

/// Tiles of columns that are widened ahead of the one that is multiplied: loads of tiles wait for stores to reach the cache.
constexpr int64_t kTilesAhead = 2;

std::string nameOf(const TileProduct &tile, int64_t rows) {
  const Product &p = tile.product;
  return "tiles.bf16." + std::to_string(rows) + "x" + std::to_string(kPanel) + (p.accumulate ? ".accumulate" : "") +
         (p.stream ? ".stream" : "") + (tile.widen ? "." + tile.widen->widener.name() : "");
}

/// A function of these parameters; starts and strides are in elements.
enum Parameter : unsigned { A, AStart, AStride, B, BStart, StepStride, BlockStride, Steps, C, CStart, CStride, Times,
                            Panel, PanelStart, PanelColumn, RingColumns };

struct TileKernel {
  KernelBuilder &b;
  ValueRange arguments;
  const TileProduct &tile;
  int64_t rows;
  int64_t blocks = llvm::divideCeil(rows, kTileRows), blockRows = rows / blocks;
  amx::TileType left = amx::TileType::get({blockRows, kTileColumns}, b.getBF16Type());
  amx::TileType right = amx::TileType::get({kTileSteps, kTileColumns}, b.getBF16Type());
  amx::TileType sum = amx::TileType::get({blockRows, kLanes}, b.getF32Type());

  Value load(amx::TileType type, Value memory, Value at, Value stride) {
    return amx::TileLoadOp::create(b, type, memory, ValueRange{at}, stride);
  }

  /// Adds the products of one tile of columns to `sums`: `step` of A, B from element `bAt` on.
  void multiply(Value aStart, Value step, Value bAt, MutableArrayRef<Value> sums) {
    auto loadA = [&](int64_t block) {
      Value first = b.add(aStart, b.mul(arguments[AStride], block * kTileRows));
      return load(left, arguments[A], b.add(first, b.mul(step, kPair)), arguments[AStride]);
    };
    auto loadB = [&](int64_t half) {
      return load(right, arguments[B], half ? b.add(bAt, arguments[BlockStride]) : bAt, arguments[StepStride]);
    };
    auto add = [&](int64_t block, int64_t half, Value x, Value weights) {
      Value &target = sums[block * 2 + half];
      target = amx::TileMulFOp::create(b, sum, x, weights, target);
    };
    forTilesOfBlock(blocks, loadA, loadB, add);
  }

  /// The sums of all steps, B as it lies in memory.
  KernelBuilder::Yield multiplyAll(Value aStart, ValueRange before) {
    return b.loop(b.index(0), arguments[Steps], kTileSteps, before, [&](Value step, ValueRange sums) {
      KernelBuilder::Yield next(sums);
      Value bAt = b.add(arguments[BStart], b.mul(step, arguments[StepStride]));
      if (tile.product.stream)
        prefetch(b, arguments[B], bAt, kTileSteps * kPair * kPanel * 2);
      multiply(aStart, step, bAt, next);
      return next;
    });
  }

  /// The same, B widened ahead into its ring.
  KernelBuilder::Yield widenAndMultiply(Value aStart, ValueRange before) {
    Value tiles = b.div(arguments[Steps], kTileSteps), ring = b.div(arguments[RingColumns], kTileColumns);
    Value ahead = b.min(b.index(kTilesAhead), b.min(ring, tiles));
    auto widen = [&](Value number, Value slot) {
      Value first = b.add(arguments[PanelColumn], b.mul(number, kTileColumns));
      tile.widen->widener.emit(b, arguments[Panel], arguments[PanelStart], first, b.index(kTileColumns), arguments[B],
                               b.mul(slot, kTileColumns));
    };
    auto after = [&](Value slot) -> Value {
      Value next = b.add(slot, 1);
      return arith::SelectOp::create(b, b.less(next, ring), next, b.index(0));
    };
    b.loop(b.index(0), ahead, 1, [&](Value number) { widen(number, number); });
    KernelBuilder::Yield carried(before);
    Value wraps = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, ahead, ring);
    carried.append({b.index(0), arith::SelectOp::create(b, wraps, b.index(0), ahead)});
    auto result = b.loop(b.index(0), tiles, 1, carried, [&](Value number, ValueRange state) {
      KernelBuilder::Yield next(state.drop_back(2));
      Value slot = state[state.size() - 2], free = state.back();
      Value bAt = b.mul(slot, b.mul(arguments[StepStride], kTileSteps));
      multiply(aStart, b.mul(number, kTileSteps), bAt, next);
      Value later = b.add(number, ahead);
      b.when(b.less(later, tiles), [&] { widen(later, free); });
      next.append({after(slot), after(free)});
      return next;
    });
    result.pop_back_n(2);
    return result;
  }

  void emitBlocks(Value time) {
    auto from = [&](Value start, Value stride) { return b.add(start, b.mul(b.mul(time, rows), stride)); };
    Value aStart = from(arguments[AStart], arguments[AStride]), cStart = from(arguments[CStart], arguments[CStride]);
    KernelBuilder::Yield places, before;
    for (int64_t block = 0; block < blocks; ++block)
      for (int64_t half = 0; half < 2; ++half) {
        places.push_back(b.add(b.add(cStart, b.mul(arguments[CStride], block * kTileRows)), half * kLanes));
        before.push_back(tile.product.accumulate ? load(sum, arguments[C], places.back(), arguments[CStride])
                                                 : amx::TileZeroOp::create(b, sum).getResult());
      }
    auto sums = tile.widen ? widenAndMultiply(aStart, before) : multiplyAll(aStart, before);
    for (auto [place, value] : llvm::zip_equal(places, sums))
      amx::TileStoreOp::create(b, arguments[C], ValueRange{place}, value, arguments[CStride]);
  }

  void emit() {
    if (tile.widen)
      return emitBlocks(b.index(0));
    b.loop(b.index(0), arguments[Times], 1, [&](Value time) { emitBlocks(time); });
  }
};

} // namespace

bool x86::tilesFit(const KernelBuilder &b, const Product &p) {
  return b.machine.tiles && elementOf(p.a).isBF16() && elementOf(p.b).isBF16() && p.steps % kTileSteps == 0;
}

void x86::forTilesOfBlock(int64_t blocks, llvm::function_ref<Value(int64_t)> loadA, llvm::function_ref<Value(int64_t)> loadB,
                          llvm::function_ref<void(int64_t, int64_t, Value, Value)> add) {
  if (blocks > 2) { // six sums leave registers for one tile of either
    for (int64_t half = 0; half < 2; ++half) {
      Value weights = loadB(half);
      for (int64_t block = 0; block < blocks; ++block)
        add(block, half, loadA(block), weights);
    }
    return;
  }
  Value weights[2] = {loadB(0), loadB(1)};
  for (int64_t block = 0; block < blocks; ++block) {
    Value x = loadA(block);
    for (int64_t half = 0; half < 2; ++half)
      add(block, half, x, weights[half]);
  }
}

void x86::forWholeTiles(KernelBuilder &b, Value count, int64_t most, llvm::function_ref<void(int64_t)> body) {
  Value tiles = b.ceilDiv(count, kTileRows);
  for (int64_t rows = kTileRows; rows <= most; rows += kTileRows)
    b.when(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, tiles, b.index(rows / kTileRows)), [&] { body(rows); });
}

void x86::firstBlockApart(KernelBuilder &b, Value row, int64_t rows, Value times,
                          llvm::function_ref<void(Value, Value, bool)> body) {
  b.choose(
      arith::CmpIOp::create(b, arith::CmpIPredicate::eq, row, b.index(0)),
      [&] {
        body(row, b.index(1), true);
        b.when(b.less(b.index(1), times), [&] { body(b.index(rows), b.sub(times, b.index(1)), false); });
      },
      [&] { body(row, times, false); });
}

void x86::forTileBlocks(KernelBuilder &b, Value count, ArrayRef<int64_t> microBlocks,
                        llvm::function_ref<void(Value, int64_t, Value)> tiles,
                        llvm::function_ref<void(Value, int64_t)> micro) {
  Value whole = b.div(count, kMaxTileBlock), done = b.mul(whole, kMaxTileBlock);
  b.when(b.less(b.index(0), whole), [&] { tiles(b.index(0), kMaxTileBlock, whole); });
  for (int64_t rows = kTileRows; rows >= kMinTileBlock; rows /= 2) {
    Value some = arith::AndIOp::create(b, count, b.index(rows));
    if (rows == kMinTileBlock) {
      Value alone = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, count, b.index(rows));
      some = arith::SelectOp::create(b, alone, b.index(0), some);
    }
    b.when(arith::CmpIOp::create(b, arith::CmpIPredicate::ne, some, b.index(0)), [&] { tiles(done, rows, b.index(1)); });
    done = b.add(done, some);
  }
  forRowBlocks(b, done, count, microBlocks, micro);
}

void x86::emitTileProduct(KernelBuilder &b, const TileProduct &tile, int64_t rows, Value times, Value cStart) {
  const Product &p = tile.product;
  SmallVector<Value> operands{p.a, tile.aStart, b.index(tile.aStride), p.b, p.bStart, b.index(p.stepStride),
                              b.index(p.blockStride), b.index(p.steps), p.c, cStart, b.index(p.cStride), times};
  if (const WidenAhead *w = tile.widen)
    operands.append({w->memory, w->start, w->first, w->columns});
  b.callShared(nameOf(tile, rows), operands,
               [&](KernelBuilder &b, ValueRange arguments) { TileKernel{b, arguments, tile, rows}.emit(); });
}
