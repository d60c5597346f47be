#include "compiler/target/x86/tile_kernel.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;

namespace {

constexpr int64_t kPair = 2;
/// Elements of a panel's step: a row of two B tiles.
constexpr int64_t kStep = kPair * kPanel;

/// The function `(a, aStart, aStride, b, bStart, columns, c, cStart)`: starts and strides in elements.
func::FuncOp tileKernel(KernelBuilder &caller, const TileProduct &p, int64_t rows) {
  std::string name = ("tiles.bf16." + Twine(rows) + "x" + Twine(kPanel)).str();
  if (auto existing = caller.module.lookupSymbol<func::FuncOp>(name))
    return existing;
  KernelBuilder b(caller.getLoc(), caller.getContext());
  b.setInsertionPointToEnd(caller.module.getBody());
  Type i = b.getIndexType();
  auto type = b.getFunctionType({p.a.getType(), i, i, p.b.getType(), i, i, p.c.getType(), i}, {});
  auto function = func::FuncOp::create(b, name, type);
  function.setPrivate();
  function->setAttr("passthrough", b.getStrArrayAttr({"noinline"}));
  Block *body = function.addEntryBlock();
  b.setInsertionPointToStart(body);
  auto argument = [&](unsigned n) { return body->getArgument(n); };

  auto input = amx::TileType::get({kTileRows, kTileColumns}, b.getBF16Type());
  auto sum = amx::TileType::get({kTileRows, kLanes}, b.getF32Type());
  Value step = b.index(kStep), cStride = b.index(kPanel);
  auto load = [&](amx::TileType tile, Value memory, Value at, Value stride) -> Value {
    return amx::TileLoadOp::create(b, tile, memory, ValueRange{at}, stride);
  };
  int64_t blocks = rows / kTileRows;
  SmallVector<Value> places, before;
  for (int64_t block = 0; block < blocks; ++block)
    for (int64_t half = 0; half < 2; ++half) {
      places.push_back(b.add(argument(7), block * kTileRows * kPanel + half * kLanes));
      before.push_back(load(sum, argument(6), places.back(), cStride));
    }
  auto sums = b.loop(b.index(0), argument(5), kTileColumns, before, [&](Value column, ValueRange accumulators) {
    KernelBuilder::Yield next(accumulators);
    Value bAt = b.add(argument(4), b.mul(column, kPanel));
    Value weights[2] = {load(input, argument(3), bAt, step), load(input, argument(3), b.add(bAt, kPair * kLanes), step)};
    for (int64_t block = 0; block < blocks; ++block) {
      Value first = b.add(argument(1), b.mul(argument(2), block * kTileRows));
      Value x = load(input, argument(0), b.add(first, column), argument(2));
      for (int64_t half = 0; half < 2; ++half) {
        Value &target = next[block * 2 + half];
        target = amx::TileMulFOp::create(b, sum, x, weights[half], target);
      }
    }
    return next;
  });
  for (auto [place, value] : llvm::zip_equal(places, sums))
    amx::TileStoreOp::create(b, argument(6), ValueRange{place}, value, cStride);
  func::ReturnOp::create(b);
  return function;
}

} // namespace

void x86::forTileBlocks(KernelBuilder &b, Value count, llvm::function_ref<void(Value, int64_t)> body) {
  Value whole = b.mul(b.div(count, kMaxTileBlock), kMaxTileBlock);
  b.loop(b.index(0), whole, kMaxTileBlock, [&](Value row) { body(row, kMaxTileBlock); });
  Value half = arith::AndIOp::create(b, b.sub(count, whole), b.index(kTileRows));
  b.when(arith::CmpIOp::create(b, arith::CmpIPredicate::ne, half, b.index(0)), [&] { body(whole, kTileRows); });
  forRowBlocks(b, b.add(whole, half), count, body);
}

void x86::emitTileProduct(KernelBuilder &b, const TileProduct &p, int64_t rows) {
  func::CallOp::create(b, tileKernel(b, p, rows),
                       ValueRange{p.a, p.aStart, b.index(p.aStride), p.b, p.bStart, p.columns, p.c, p.cStart});
}
