// Mixture of experts: routing, dispatch, grouped products and their combination.
#include "compiler/target/x86/integers.h"
#include "compiler/target/x86/kernels.h"
#include "compiler/target/x86/micro_kernel.h"
#include "compiler/target/x86/panel_product.h"
#include "compiler/target/x86/tile_kernel.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;
using namespace qwench::qwen;

//===-- Router ----------------------------------------------------------------------------------------------------===//

namespace {

// Scratch of the routers: row offsets, probabilities of one row, logits of one row block.
constexpr int64_t kRouterOffsetsAt = 0;
constexpr int64_t kProbabilitiesAt = 128;
constexpr int64_t kRouterLogitsAt = kProbabilitiesAt + 4 * kMaxExperts;
static_assert(kRouterLogitsAt + 4 * kMaxExperts * kMaxRowBlock <= kScratchBytes);

/// Softmax over the first `experts` of the logits from `at` on, then the `k` likeliest, to row `row` of both dests.
void chooseExperts(KernelBuilder &b, Value logits, Value at, int64_t experts, int64_t k, bool normalize,
                   const Rows &weights, const Rows &ids, Value row) {
  int64_t width = padded(experts);
  Value probabilities = b.scratchAt(kProbabilitiesAt, b.getF32Type());
  Value lanes = laneNumbers(b);
  auto isExpert = [&](Value i) -> Value {
    Value id = arith::AddIOp::create(b, lanes, b.splat(b.toI32(i)));
    return arith::CmpIOp::create(b, arith::CmpIPredicate::slt, id, b.splat(b.toI32(b.index(experts))));
  };
  auto masked = [&](Value i) -> Value {
    return arith::SelectOp::create(b, isExpert(i), b.load(logits, b.add(at, i)), b.splat(-3e38f));
  };
  Value largest = b.loop(b.index(0), b.index(width), kLanes, {b.splat(-3e38f)}, [&](Value i, ValueRange m) {
    return KernelBuilder::Yield{b.maxf(m[0], masked(i))};
  })[0];
  Value top = b.splat(b.largest(largest));
  Value total = b.loop(b.index(0), b.index(width), kLanes, {b.splat(0.0f)}, [&](Value i, ValueRange s) {
    Value e = arith::SelectOp::create(b, isExpert(i), b.exp(b.subf(masked(i), top)), b.splat(0.0f));
    Value kept = arith::SelectOp::create(b, isExpert(i), e, b.splat(-1.0f)); // never the likeliest
    b.store(kept, probabilities, i);
    return KernelBuilder::Yield{b.addf(s[0], e)};
  })[0];
  Value sum = b.sum(total), weightsAt = b.mul(row, weights.stride), idsAt = b.mul(row, ids.stride);
  Value chosen = b.loop(b.index(0), b.index(k), 1, {b.f32(0)}, [&](Value j, ValueRange s) {
    Value best = b.loop(b.index(0), b.index(width), kLanes, {b.splat(-1.0f)}, [&](Value i, ValueRange m) {
      return KernelBuilder::Yield{b.maxf(m[0], b.load(probabilities, i))};
    })[0];
    Value value = b.largest(best);
    // The lowest id among equals: scan downwards and keep the last match.
    Value id = b.loop(b.index(0), b.index(experts), 1, {b.index(0)}, [&](Value i, ValueRange found) {
      Value from = b.sub(b.index(experts - 1), i);
      Value equal = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, b.loadScalar(probabilities, from), value);
      return KernelBuilder::Yield{arith::SelectOp::create(b, equal, from, found[0])};
    })[0];
    b.storeScalar(b.f32(-1), probabilities, id);
    b.storeScalar(b.divf(value, sum), weights.memory, b.add(weightsAt, j));
    b.storeScalar(b.toI32(id), ids.memory, b.add(idsAt, j));
    return KernelBuilder::Yield{b.addf(s[0], b.divf(value, sum))};
  })[0];
  if (normalize)
    b.loop(k, 1, [&](Value j) {
      Value place = b.add(weightsAt, j);
      b.storeScalar(b.divf(b.loadScalar(weights.memory, place), chosen), weights.memory, place);
    });
}

} // namespace

void x86::emitRouter(KernelBuilder &b, Operation *op) {
  auto router = cast<RouterOp>(op);
  Rows logits = b.rows(router.getLogits()), weights = b.rows(dest(op, 0)), ids = b.rows(dest(op, 1));
  forTileRows(b, op, dest(op, 0), [&](Value row) {
    chooseExperts(b, logits.memory, b.mul(row, logits.stride), logits.width, router.getTopK(), router.getNormalize(),
                  weights, ids, row);
  });
}

void x86::emitFusedRouter(KernelBuilder &b, Operation *op) {
  auto router = cast<FusedRouterOp>(op);
  Rows in = b.rows(router.getInput()), weights = b.rows(dest(op, 0)), ids = b.rows(dest(op, 1));
  Weight w = b.weight(router.getWeight());
  int64_t experts = w.outputs(), width = padded(experts), depth = w.layout.getDepth();
  Value offsets = b.scratchAt(kRouterOffsetsAt, b.getI64Type()), logits = b.scratchAt(kRouterLogitsAt, b.getF32Type());
  auto [begin, end] = b.tileRange(b.tile, b.rowsOf(dest(op, 0)), tileSizes(op)[0]);
  Value first = begin, last = end;
  forRowBlocks(b, first, last, [&](Value row, int64_t rows) {
    b.loop(rows, 1, [&](Value r) {
      Value start = b.mul(b.add(row, r), in.stride);
      b.storeScalar(arith::IndexCastOp::create(b, b.getI64Type(), start), offsets, r);
    });
    b.loop(w.panels(), 1, [&](Value panel) {
      Product product{in.memory, offsets, w.memory, b.mul(panel, w.panelStride()), kPanel * depth, kLanes * depth,
                      depth, w.columns() / depth, logits, width, false};
      emitProduct(b, product, b.index(0), rows, b.mul(panel, kPanel));
    });
    b.loop(rows, 1, [&](Value r) {
      chooseExperts(b, logits, b.mul(r, width), experts, router.getTopK(), router.getNormalize(), weights, ids,
                    b.add(row, r));
    });
  });
}

//===-- Dispatch --------------------------------------------------------------------------------------------------===//

Value x86::oneTile(KernelBuilder &b, Operation *) { return b.index(1); }

void x86::emitDispatch(KernelBuilder &b, Operation *op) {
  auto dispatch = cast<DispatchOp>(op);
  Rows ids = b.rows(dispatch.getExperts()), offsets = b.rows(dest(op, 0)), pairs = b.rows(dest(op, 1));
  int64_t experts = cast<MemRefType>(dest(op, 0).getType()).getDimSize(0) - 1, k = ids.width;
  Value cursor = b.scratchAt(0, b.getI32Type());
  Value zero = arith::ConstantIntOp::create(b, 0, 32), one = arith::ConstantIntOp::create(b, 1, 32);
  auto increment = [&](Value memory, Value at) {
    Value old = b.loadScalar(memory, at);
    b.storeScalar(arith::AddIOp::create(b, old, one), memory, at);
    return old;
  };
  Value rows = b.rowsOf(dispatch.getExperts());
  auto forPairs = [&](llvm::function_ref<void(Value, Value)> body) {
    b.loop(b.index(0), rows, 1, [&](Value row) {
      b.loop(k, 1, [&](Value j) {
        body(b.add(b.mul(row, k), j), b.toIndex(b.loadScalar(ids.memory, b.add(b.mul(row, ids.stride), j))));
      });
    });
  };
  b.loop(experts + 1, 1, [&](Value e) { b.storeScalar(zero, offsets.memory, e); });
  forPairs([&](Value, Value expert) { increment(offsets.memory, b.add(expert, 1)); });
  b.storeScalar(zero, cursor, b.index(0));
  b.loop(experts, 1, [&](Value e) {
    Value next = b.add(e, 1);
    Value end = arith::AddIOp::create(b, b.loadScalar(offsets.memory, e), b.loadScalar(offsets.memory, next));
    b.storeScalar(end, offsets.memory, next);
    b.storeScalar(end, cursor, next);
  });
  forPairs([&](Value pair, Value expert) {
    b.storeScalar(b.toI32(pair), pairs.memory, b.toIndex(increment(cursor, expert)));
  });
}

//===-- Grouped products ------------------------------------------------------------------------------------------===//

namespace {

Value weightOf(Operation *op) {
  return isa<GroupedLinearOp>(op) ? cast<GroupedLinearOp>(op).getWeight() : cast<GroupedLinearCombineOp>(op).getWeight();
}

/// The products of one tile: for every expert, its segment's rows times the tile's panels. A tile owns its columns for
/// all rows, so a skewed routing leaves threads as balanced as an even one.
struct GroupedProduct {
  Rows in;
  Weight weight;
  Value offsets, pairs;                          ///< of the dispatch, i32
  std::function<Value(Value)> inputRow;          ///< sorted row to row of `in`
  std::function<void(Value, Value, Value, Value)> epilogue; ///< (lanes 0..15, lanes 16..31, sorted row, panel)
  int64_t panelsPerTile;
  int64_t inputs; ///< of one pass over a panel

  void emit(KernelBuilder &b);
};

void GroupedProduct::emit(KernelBuilder &b) {
  auto range = b.tileRange(b.tile, b.index(weight.panels()), panelsPerTile);
  Value firstPanel = range.first, lastPanel = range.second;
  int64_t experts = weight.type.getDimSize(0);
  PanelProduct product{in, weight, inputs};
  int64_t gathered = product.gatheredRows(b);
  b.loop(experts, 1, [&](Value expert) {
    Value begin = b.toIndex(b.loadScalar(offsets, expert)), end = b.toIndex(b.loadScalar(offsets, b.add(expert, 1)));
    Value matrix = b.mul(expert, weight.matrixStride());
    b.loop(begin, end, gathered ? gathered : kMaxListedRows, [&](Value chunk) {
      Value count = b.min(b.sub(end, chunk), b.index(gathered ? gathered : kMaxListedRows));
      auto forPanels = [&](auto multiply) {
        b.loop(firstPanel, lastPanel, 1, [&](Value panel) {
          (product.*multiply)(b, b.add(matrix, b.mul(panel, weight.panelStride())), count,
                              [&](Value row, Value lower, Value upper) { epilogue(lower, upper, b.add(chunk, row), panel); });
        });
      };
      auto onTiles = [&] {
        product.gather(b, count);
        forPanels(&PanelProduct::emitGathered);
      };
      product.listRows(b, count, [&](Value i) { return inputRow(b.add(chunk, i)); });
      if (!gathered)
        forPanels(&PanelProduct::emit);
      else if (int64_t few = product.fewRows(b))
        b.choose(b.less(b.index(few), count), onTiles, [&] { forPanels(&PanelProduct::emit); });
      else
        onTiles();
    });
  });
}

} // namespace

Value x86::groupedTiles(KernelBuilder &b, Operation *op) {
  WeightOp weight = lookupWeight(weightOf(op));
  auto type = cast<RankedTensorType>(weight.getType());
  return b.index(llvm::divideCeil(weight.getLayout()->paddedOutputs(type.getDimSize(1)), tileSizes(op)[0]));
}

void x86::emitGroupedLinear(KernelBuilder &b, Operation *op) {
  auto grouped = cast<GroupedLinearOp>(op);
  Rows out = b.rows(dest(op));
  bool swiglu = grouped.getActivation() == Activation::Swiglu;
  GroupedProduct product;
  product.in = b.rows(grouped.getInput());
  product.weight = b.weight(grouped.getWeight());
  product.offsets = b.rows(grouped.getOffsets()).memory;
  product.pairs = b.rows(grouped.getPairs()).memory;
  product.panelsPerTile = tileSizes(op)[0] / kPanel, product.inputs = tileSizes(op)[1];
  product.inputRow = [&](Value i) {
    return grouped.getGather() ? b.div(b.toIndex(b.loadScalar(product.pairs, i)), grouped.getTopK()) : i;
  };
  product.epilogue = [&](Value first, Value second, Value row, Value panel) {
    Value target = b.add(b.mul(row, out.stride), b.mul(panel, swiglu ? kPanel / 2 : kPanel));
    if (swiglu)
      return b.store(b.swiglu(first, second), out.memory, target);
    b.store(first, out.memory, target);
    b.store(second, out.memory, b.add(target, kLanes));
  };
  product.emit(b);
}

void x86::emitGroupedLinearCombine(KernelBuilder &b, Operation *op) {
  auto combine = cast<GroupedLinearCombineOp>(op);
  Rows out = b.rows(dest(op)), weights = b.rows(combine.getWeights());
  int64_t k = weights.width;
  GroupedProduct product;
  product.in = b.rows(combine.getInput());
  product.weight = b.weight(combine.getWeight());
  product.offsets = b.rows(combine.getOffsets()).memory;
  product.pairs = b.rows(combine.getPairs()).memory;
  product.panelsPerTile = tileSizes(op)[0] / kPanel, product.inputs = tileSizes(op)[1];
  product.inputRow = [](Value i) { return i; };

  // The tile's columns start as the residual (or zero) and gather the experts in ascending order.
  std::optional<Rows> residual;
  if (combine.getResidual())
    residual = b.rows(combine.getResidual());
  auto range = b.tileRange(b.tile, b.index(product.weight.panels()), product.panelsPerTile);
  Value firstColumn = b.mul(range.first, kPanel), lastColumn = b.mul(range.second, kPanel);
  if (!residual || combine.getResidual().getDefiningOp<BufferOp>().getOffset() != dest(op).getDefiningOp<BufferOp>().getOffset())
    b.loop(b.index(0), b.rowsOf(dest(op)), 1, [&](Value row) {
      b.loop(firstColumn, lastColumn, kLanes, [&](Value column) {
        Value start = residual ? b.load(residual->memory, b.add(b.mul(row, residual->stride), column)) : b.splat(0.0f);
        b.store(start, out.memory, b.add(b.mul(row, out.stride), column));
      });
    });
  product.epilogue = [&](Value first, Value second, Value i, Value panel) {
    Value pair = b.toIndex(b.loadScalar(product.pairs, i)), row = b.div(pair, k);
    Value weight = b.splat(b.loadScalar(weights.memory, b.add(b.mul(row, weights.stride), b.rem(pair, k))));
    Value target = b.add(b.mul(row, out.stride), b.mul(panel, kPanel));
    for (auto [product, offset] : {std::pair(first, int64_t(0)), std::pair(second, kLanes)}) {
      Value place = b.add(target, offset);
      b.store(b.fma(weight, product, b.load(out.memory, place)), out.memory, place);
    }
  };
  product.emit(b);
}

void x86::emitCombine(KernelBuilder &b, Operation *op) {
  auto combine = cast<CombineOp>(op);
  Rows in = b.rows(combine.getInput()), weights = b.rows(combine.getWeights()), out = b.rows(dest(op));
  Value pairs = b.rows(combine.getPairs()).memory;
  int64_t k = weights.width;
  Value count = b.rowsOf(combine.getPairs());
  std::optional<Rows> residual;
  if (combine.getResidual())
    residual = b.rows(combine.getResidual());
  forTileRows(b, op, dest(op), [&](Value row) {
    Value target = b.mul(row, out.stride);
    b.loop(padded(out.width), kLanes, [&](Value i) {
      Value start = residual ? b.load(residual->memory, b.add(b.mul(row, residual->stride), i)) : b.splat(0.0f);
      b.store(start, out.memory, b.add(target, i));
    });
    // Sorted order is ascending by expert; the row's own pairs are picked from it.
    b.loop(b.index(0), count, 1, [&](Value i) {
      Value pair = b.toIndex(b.loadScalar(pairs, i));
      b.when(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, b.div(pair, k), row), [&] {
        Value weight = b.splat(b.loadScalar(weights.memory, b.add(b.mul(row, weights.stride), b.rem(pair, k))));
        b.loop(padded(out.width), kLanes, [&](Value c) {
          Value place = b.add(target, c);
          b.store(b.fma(weight, b.load(in.memory, b.add(b.mul(i, in.stride), c)), b.load(out.memory, place)), out.memory, place);
        });
      });
    });
  });
}
