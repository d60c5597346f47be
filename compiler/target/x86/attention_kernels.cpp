// Causal attention over the cache by streaming softmax. A tile is a block of rows by one key/value head, and one of the runs
// of keys if there are several; its query vectors (rows by the heads that share the key/value head) pass over the keys in
// blocks of kKeyBlock. The cache is packed like weights, so scores and values are products of the same micro-kernels as
// linear maps.
#include "compiler/target/x86/integers.h"
#include "compiler/target/x86/kernels.h"
#include "compiler/target/x86/tile_kernel.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;
using namespace qwench::qwen;

namespace {

/// Covers rows [0, count) of a product whose rows of A lie `aStride` elements apart: on tiles where the CPU multiplies these
/// elements on them, else with the micro-kernels. `cStart` gives the element of C where a row's columns begin.
void emitAttentionProduct(KernelBuilder &b, const Product &product, int64_t aStride, Value count,
                          llvm::function_ref<Value(Value row)> cStart) {
  auto tiles = [&](Value row, int64_t rows, Value times) {
    emitTileProduct(b, {product, b.mul(row, aStride), aStride}, rows, times, cStart(row));
  };
  auto micro = [&](Value row, int64_t rows) { emitProduct(b, product, row, rows, cStart(row)); };
  if (tilesFit(b, product))
    forTileBlocks(b, count, rowBlocks(b.machine), tiles, micro);
  else
    forRowBlocks(b, b.index(0), count, micro);
}

/// Query vectors of a tile that meet a quantized cache as codes: those of one row. 0 if blocks become f32 first, which more
/// of them share.
int64_t codeVectors(AttentionOp op, int64_t queries) {
  constexpr int64_t most = 32;
  return op.getCache().getType().getQuant() && queries == op.groupSize() && queries <= most ? queries : 0;
}

/// Everything one tile works with. A query vector r is head `r % group` of row `first + r / group`.
struct AttentionTile {
  AttentionOp op;
  int64_t dim, group, queries; ///< queries: most query vectors of a tile
  Rows query, out;
  std::optional<Rows> stats; ///< with runs of keys: `out` is then [S, A, D] in a row, `stats` [S, A, 2]
  Value queryOffsets, weightOffsets; ///< rows of Q and of P for the micro-kernels
  Value gathered;                    ///< Q [queries, dim]
  Value scores, weights, values;     ///< S [queries, kKeyBlock] f32, P likewise, O [queries, dim] f32
  Value maxima;                      ///< of each query vector's scores so far, before scaling: f32
  Value sums;                        ///< [queries, kLanes] f32: lanes are summed at the end
  CacheHead cache;
  std::optional<CacheReader> reader;      ///< of a quantized cache whose blocks become floats
  std::unique_ptr<CodeProducts> products; ///< of one whose codes are multiplied
  Value head, first, count; ///< key/value head, first row, number of query vectors
  Value run;                ///< of the keys, with `stats`

  AttentionTile(KernelBuilder &b, AttentionOp op);
  void begin(KernelBuilder &b, Value firstRow, Value lastRow);
  /// Scores times this are exponents of 2.
  float exponent() { return op.getScale().convertToFloat() * 1.44269504f; }
  void scoreBlock(KernelBuilder &b, Value block);
  void softmaxBlock(KernelBuilder &b, Value block, bool masked);
  void rescale(KernelBuilder &b, Value r, Value before, Value now);
  void valueBlock(KernelBuilder &b, Value block);
  void overBlocks(KernelBuilder &b, Value last);
  void finish(KernelBuilder &b);
  /// One row passes over the keys, so that they come from memory.
  bool oneRow() const { return queries == group; }
  /// Keys of a block up to that row's position, 1 to kKeyBlock: what has to come from memory.
  Value keysOf(KernelBuilder &b, Value block) const {
    Value end = b.add(b.item(StepField::Positions, first), 1);
    return b.min(b.index(kKeyBlock), b.sub(end, b.mul(block, kKeyBlock)));
  }
  Value rowOf(KernelBuilder &b, Value r) const { return b.add(first, b.div(r, group)); }
  /// Query head of query vector r.
  Value headOf(KernelBuilder &b, Value r) const { return b.add(b.mul(head, group), b.rem(r, group)); }
};

AttentionTile::AttentionTile(KernelBuilder &b, AttentionOp op) : op(op) {
  dim = op.getCache().getType().getDim();
  query = b.rows(op.getQuery());
  out = b.rows(dest(op));
  if (op.getSplits())
    stats = b.rows(dest(op, 1));
  group = op.groupSize();
  queries = std::max(tileSizes(op)[0] * group, group);
  int64_t at = 0;
  auto take = [&](int64_t elements, Type element) {
    Value view = b.scratchAt(at, element);
    at += llvm::alignTo(elements * element.getIntOrFloatBitWidth() / 8, 128);
    return view;
  };
  assert(attentionScratchBytes(op, queries) <= kScratchBytes);
  queryOffsets = take(queries, b.getI64Type());
  weightOffsets = take(queries, b.getI64Type());
  maxima = take(queries, b.getF32Type());
  sums = take(queries * kLanes, b.getF32Type());
  gathered = take(queries * dim, query.element);
  scores = take(queries * kKeyBlock, b.getF32Type());
  bool asCodes = codeVectors(op, queries);
  weights = take(queries * kKeyBlock, asCodes ? b.getF32Type() : query.element);
  values = take(queries * dim, b.getF32Type());
  CacheType type = op.getCache().getType();
  if (asCodes)
    products = CodeProducts::create(b, type, queries, at);
  else if (type.getQuant())
    reader.emplace(b, type, query.element, at);
}

void AttentionTile::begin(KernelBuilder &b, Value firstRow, Value lastRow) {
  first = firstRow;
  count = b.mul(b.sub(lastRow, firstRow), group);
  b.loop(b.index(0), count, 1, [&](Value r) {
    Value start = b.add(b.mul(rowOf(b, r), query.stride), b.mul(headOf(b, r), dim));
    auto type = VectorType::get({kPanel}, query.element);
    b.loop(dim, kPanel, [&](Value i) {
      Value part = vector::LoadOp::create(b, type, query.memory, ValueRange{b.add(start, i)});
      vector::StoreOp::create(b, part, gathered, ValueRange{b.add(b.mul(r, dim), i)});
    });
    b.storeScalar(arith::IndexCastOp::create(b, b.getI64Type(), b.mul(r, dim)), queryOffsets, r);
    b.storeScalar(arith::IndexCastOp::create(b, b.getI64Type(), b.mul(r, kKeyBlock)), weightOffsets, r);
    b.storeScalar(b.f32(kMasked), maxima, r);
    b.store(b.splat(0.0f), sums, b.mul(r, kLanes));
    b.loop(dim, kLanes, [&](Value i) { b.store(b.splat(0.0f), values, b.add(b.mul(r, dim), i)); });
  });
  if (products)
    products->begin(b, gathered);
}

void AttentionTile::scoreBlock(KernelBuilder &b, Value block) {
  if (products)
    return products->scores(b, cache, block, scores);
  int64_t depth = reader ? reader->depth() : cache.depth;
  Value memory = reader ? reader->keys(b, cache, block) : cache.memory;
  Value start = reader ? b.index(0) : b.add(cache.keys, b.mul(block, kKeyBlock * dim));
  for (int64_t panel = 0; panel < kKeyBlock / kPanel; ++panel) {
    Product product{gathered, queryOffsets, memory, b.add(start, panel * kPanel * dim), kPanel * depth,
                    kLanes * depth, depth, dim / depth, scores, kKeyBlock, false, oneRow()};
    auto multiply = [&] {
      emitAttentionProduct(b, product, dim, count,
                           [&](Value r) { return b.add(b.mul(r, kKeyBlock), panel * kPanel); });
    };
    if (panel && oneRow()) // the scores of later keys are masked, whatever they are
      b.when(b.less(b.index(panel * kPanel), keysOf(b, block)), multiply);
    else
      multiply();
  }
}

/// P from S, and what changes with it: maxima, sums, and O where the maximum grew. Without `masked` every query vector
/// attends to every key of the block.
void AttentionTile::softmaxBlock(KernelBuilder &b, Value block, bool masked) {
  constexpr int64_t vectors = kKeyBlock / kLanes;
  Value lanes = laneNumbers(b);
  b.loop(b.index(0), count, 1, [&](Value r) {
    Value at = b.mul(r, kKeyBlock);
    SmallVector<Value> valid, score;
    Value position, last;
    if (masked) {
      position = b.item(StepField::Positions, rowOf(b, r));
      last = b.splat(b.toI32(position));
    }
    for (int64_t v = 0; v < vectors; ++v) {
      score.push_back(b.load(scores, b.add(at, v * kLanes)));
      if (!masked)
        continue;
      Value key = addi(b, lanes, b.splat(b.toI32(b.add(b.mul(block, kKeyBlock), v * kLanes))));
      Value inside = arith::CmpIOp::create(b, arith::CmpIPredicate::sle, key, last);
      if (op.getWindow()) {
        Value before = b.splat(b.toI32(b.sub(position, b.index(*op.getWindow()))));
        inside = arith::AndIOp::create(b, inside, arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, key, before));
      }
      score.back() = arith::SelectOp::create(b, inside, score.back(), b.splat(kMasked));
      valid.push_back(inside);
    }
    Value largest = score[0];
    for (int64_t v = 1; v < vectors; ++v)
      largest = b.larger(largest, score[v]);
    // After the first blocks the maximum seldom grows: it is looked for only where a lane exceeds it.
    Value before = b.loadScalar(maxima, r);
    Value above = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, largest, b.splat(before));
    auto grows = scf::IfOp::create(b, TypeRange{b.getF32Type()},
                                   vector::ReductionOp::create(b, vector::CombiningKind::OR, above), true);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(grows.thenBlock());
      Value now = b.largest(largest);
      b.storeScalar(now, maxima, r);
      rescale(b, r, b.mulf(before, b.f32(exponent())), b.mulf(now, b.f32(exponent())));
      scf::YieldOp::create(b, now);
      b.setInsertionPointToStart(grows.elseBlock());
      scf::YieldOp::create(b, before);
    }
    Value offset = b.splat(arith::NegFOp::create(b, b.mulf(grows.getResult(0), b.f32(exponent()))));
    Value total = b.load(sums, b.mul(r, kLanes));
    for (int64_t v = 0; v < vectors; ++v) {
      Value weight = b.exp2(b.fma(score[v], b.splat(exponent()), offset));
      if (masked) // a row none of whose keys are in this block has no maximum yet, and weights of 1
        weight = arith::SelectOp::create(b, valid[v], weight, b.splat(0.0f));
      total = b.addf(total, weight);
      b.store(weight, weights, b.add(at, v * kLanes));
    }
    b.store(total, sums, b.mul(r, kLanes));
  });
}

/// O and the sums of query vector r, relative to the maximum `before` so far, become relative to `now`; both are exponents
/// of 2.
void AttentionTile::rescale(KernelBuilder &b, Value r, Value before, Value now) {
  Value shrink = b.exp2(b.splat(b.subf(before, now))), sum = b.mul(r, kLanes);
  b.store(b.mulf(b.load(sums, sum), shrink), sums, sum);
  b.loop(dim, kLanes, [&](Value i) {
    Value o = b.add(b.mul(r, dim), i);
    b.store(b.mulf(b.load(values, o), shrink), values, o);
  });
}

void AttentionTile::valueBlock(KernelBuilder &b, Value block) {
  if (products)
    return products->addValues(b, cache, block, weights, values);
  int64_t depth = reader ? reader->depth() : cache.depth;
  Value memory = reader ? reader->values(b, cache, block) : cache.memory;
  Value start = reader ? b.index(0) : b.add(cache.values, b.mul(block, kKeyBlock * dim));
  Value steps; // later keys have weights of 0
  if (oneRow())
    steps = b.mul(b.ceilDiv(keysOf(b, block), 4 * depth), 4);
  b.loop(dim, kPanel, [&](Value column) {
    Product product{weights, weightOffsets, memory, b.add(start, b.mul(column, kKeyBlock)), kPanel * depth, kLanes * depth,
                    depth, kKeyBlock / depth, values, dim, true, oneRow(), steps};
    emitAttentionProduct(b, product, kKeyBlock, count, [&](Value r) { return b.add(b.mul(r, dim), column); });
  });
}

/// Passes over the keys of rows first .. last - 1, which share a slot: all of them, or those of the run.
void AttentionTile::overBlocks(KernelBuilder &b, Value last) {
  Value lowest = b.item(StepField::Positions, first), highest = b.item(StepField::Positions, b.sub(last, b.index(1)));
  auto firstKey = [&](Value position) {
    return op.getWindow() ? b.max(b.index(0), b.sub(position, b.index(*op.getWindow() - 1))) : b.index(0);
  };
  Value begin = b.div(firstKey(lowest), kKeyBlock), end = b.add(b.div(highest, kKeyBlock), 1);
  if (stats) {
    int64_t keys = *op.getSplitKeys(), splits = *op.getSplits();
    Value firstBlock = b.div(firstKey(lowest), keys), blocks = b.sub(b.add(b.div(highest, keys), 1), firstBlock);
    auto edge = [&](Value s) { return b.mul(b.add(firstBlock, b.div(b.mul(s, blocks), splits)), keys / kKeyBlock); };
    begin = b.max(begin, edge(run)), end = b.min(end, edge(b.add(run, 1)));
  }
  // Blocks that all rows attend to as a whole need no mask.
  Value wholeEnd = b.div(b.add(lowest, 1), kKeyBlock);
  Value wholeBegin = op.getWindow() ? b.ceilDiv(firstKey(highest), kKeyBlock) : Value();
  b.loop(begin, end, 1, [&](Value block) {
    scoreBlock(b, block);
    Value whole = b.less(block, wholeEnd);
    if (wholeBegin)
      whole = arith::AndIOp::create(b, whole, arith::CmpIOp::create(b, arith::CmpIPredicate::sge, block, wholeBegin));
    auto choice = scf::IfOp::create(b, whole, /*withElseRegion=*/true);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(choice.thenBlock());
      softmaxBlock(b, block, /*masked=*/false);
      b.setInsertionPointToStart(choice.elseBlock());
      softmaxBlock(b, block, /*masked=*/true);
    }
    valueBlock(b, block);
  });
}

void AttentionTile::finish(KernelBuilder &b) {
  int64_t heads = query.width / dim;
  b.loop(b.index(0), count, 1, [&](Value r) {
    Value row = rowOf(b, r), column = headOf(b, r), sum = b.sum(b.load(sums, b.mul(r, kLanes)));
    auto copy = [&](Value target, llvm::function_ref<Value(Value)> change) {
      b.loop(dim, kLanes, [&](Value i) {
        b.store(change(b.load(values, b.add(b.mul(r, dim), i))), out.memory, b.add(target, i));
      });
    };
    if (!stats) {
      Value inverse = b.splat(b.divf(b.f32(1), sum));
      copy(b.add(b.mul(row, out.stride), b.mul(column, dim)), [&](Value v) { return b.mulf(v, inverse); });
      return;
    }
    Value which = b.add(b.mul(run, heads), column), at = b.add(b.mul(row, stats->stride), b.mul(which, 2));
    b.storeScalar(b.mulf(b.loadScalar(maxima, r), b.f32(op.getScale().convertToFloat())), stats->memory, at);
    b.storeScalar(sum, stats->memory, b.add(at, 1));
    b.when(arith::CmpFOp::create(b, arith::CmpFPredicate::UNE, sum, b.f32(0)),
           [&] { copy(b.add(b.mul(row, out.stride), b.mul(which, dim)), [](Value v) { return v; }); });
  });
}

/// The end of the run of rows from `row` on that share its slot.
Value endOfRun(KernelBuilder &b, Value row, Value end) {
  Value slot = b.item(StepField::Slots, row);
  auto search = scf::WhileOp::create(
      b, TypeRange{b.getIndexType()}, ValueRange{b.add(row, 1)},
      [&](OpBuilder &, Location, ValueRange state) {
        Value inside = b.less(state[0], end);
        auto same = scf::IfOp::create(b, TypeRange{b.getI1Type()}, inside, true);
        {
          OpBuilder::InsertionGuard guard(b);
          b.setInsertionPointToStart(same.thenBlock());
          Value equal = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, b.item(StepField::Slots, state[0]), slot);
          scf::YieldOp::create(b, equal);
          b.setInsertionPointToStart(same.elseBlock());
          scf::YieldOp::create(b, inside);
        }
        scf::ConditionOp::create(b, same.getResult(0), state);
      },
      [&](OpBuilder &, Location, ValueRange state) { scf::YieldOp::create(b, b.add(state[0], 1)); });
  return search.getResult(0);
}

} // namespace

int64_t x86::attentionScratchBytes(AttentionOp op, int64_t queries) {
  CacheType cache = op.getCache().getType();
  auto part = [](int64_t bytes) { return llvm::alignTo(bytes, 128); };
  int64_t lists = 2 * part(queries * 8) + part(queries * 4) + part(queries * kLanes * 4);
  int64_t blocks = 2 * part(queries * kKeyBlock * 4) + part(queries * cache.getDim() * 4);
  int64_t codes = 0;
  if (int64_t vectors = codeVectors(op, queries))
    codes = CodeProducts::scratchBytes(cache, vectors);
  else if (cache.getQuant())
    codes = CacheReader::scratchBytes(cache);
  return lists + blocks + part(queries * cache.getDim() * 4) + codes;
}

Value x86::attentionTiles(KernelBuilder &b, Operation *op) {
  auto attention = cast<AttentionOp>(op);
  Value rowTiles = b.ceilDiv(b.rowsOf(dest(op)), tileSizes(op)[0]);
  return b.mul(rowTiles, attention.getCache().getType().getHeads() * static_cast<int64_t>(attention.getSplits().value_or(1)));
}

void x86::emitAttention(KernelBuilder &b, Operation *op) {
  auto attention = cast<AttentionOp>(op);
  AttentionTile t(b, attention);
  int64_t heads = attention.getCache().getType().getHeads();
  Value rows = b.rowsOf(dest(op)), rowTiles = b.ceilDiv(rows, tileSizes(op)[0]), row;
  if (attention.getSplits()) {
    // Runs outermost: a thread's share of tiles then has a share of every row's keys, however their lengths differ. Heads
    // begin at different runs, so that the few runs of a short context that have keys fall to different threads.
    int64_t splits = *attention.getSplits();
    t.head = b.rem(b.tile, heads);
    Value rest = b.div(b.tile, heads);
    row = arith::RemUIOp::create(b, rest, rowTiles);
    Value turn = b.div(b.mul(t.head, splits), heads);
    t.run = b.rem(b.add(b.add(arith::DivUIOp::create(b, rest, rowTiles), turn), row), splits);
  } else {
    // Heads outermost, early and late rows in turn: a thread's share of tiles then has both alike.
    row = arith::RemUIOp::create(b, b.tile, rowTiles);
    t.head = arith::DivUIOp::create(b, b.tile, rowTiles);
    Value half = b.div(row, 2), odd = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, b.rem(row, 2), b.index(0));
    row = arith::SelectOp::create(b, odd, b.sub(b.sub(rowTiles, b.index(1)), half), half);
  }
  std::pair<Value, Value> range = b.tileRange(row, rows, tileSizes(op)[0]);
  Value begin = range.first, end = range.second;
  auto run = [&](Value first) {
    Value last = attention.getSplits() ? b.add(first, 1) : endOfRun(b, first, end);
    t.cache = cacheHead(b, attention.getCache().getType(), b.item(StepField::Slots, first), t.head);
    t.begin(b, first, last);
    t.overBlocks(b, last);
    t.finish(b);
    return last;
  };
  scf::WhileOp::create(
      b, TypeRange{b.getIndexType()}, ValueRange{begin},
      [&](OpBuilder &, Location, ValueRange row) { scf::ConditionOp::create(b, b.less(row[0], end), row); },
      [&](OpBuilder &, Location, ValueRange row) { scf::YieldOp::create(b, run(row[0])); });
}

//===-- Runs made whole -------------------------------------------------------------------------------------------===//

Value x86::attentionCombineTiles(KernelBuilder &b, Operation *op) {
  auto result = cast<MemRefType>(dest(op).getType());
  return b.mul(b.ceilDiv(b.rowsOf(dest(op)), tileSizes(op)[0]), llvm::divideCeil(result.getDimSize(1), tileSizes(op)[1]));
}

void x86::emitAttentionCombine(KernelBuilder &b, Operation *op) {
  auto combine = cast<AttentionCombineOp>(op);
  auto type = cast<MemRefType>(combine.getValues().getType());
  int64_t runs = type.getDimSize(1), heads = type.getDimSize(2), dim = type.getDimSize(3), vectors = dim / kLanes;
  Rows values = b.rows(combine.getValues()), stats = b.rows(combine.getStats()), out = b.rows(dest(op));
  int64_t headTiles = llvm::divideCeil(heads, tileSizes(op)[1]);
  auto one = [&](Value row, Value head) {
    auto which = [&](Value run) { return b.add(b.mul(run, heads), head); };
    auto stat = [&](Value run, int64_t i) {
      return b.loadScalar(stats.memory, b.add(b.add(b.mul(row, stats.stride), b.mul(which(run), 2)), i));
    };
    auto hasKeys = [&](Value sum) -> Value { return arith::CmpFOp::create(b, arith::CmpFPredicate::UNE, sum, b.f32(0)); };
    Value highest = b.loop(b.index(0), b.index(runs), 1, {b.f32(kMasked)}, [&](Value run, ValueRange state) {
      Value maximum = arith::SelectOp::create(b, hasKeys(stat(run, 1)), stat(run, 0), b.f32(kMasked));
      return KernelBuilder::Yield{b.maxf(state[0], maximum)};
    })[0];
    KernelBuilder::Yield zeros(vectors, b.splat(0.0f));
    zeros.push_back(b.f32(0));
    auto sums = b.loop(b.index(0), b.index(runs), 1, zeros, [&](Value run, ValueRange state) {
      Value sum = stat(run, 1);
      auto choice = scf::IfOp::create(b, TypeRange(state), hasKeys(sum), /*withElseRegion=*/true);
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(choice.thenBlock());
      Value factor = b.exp(b.splat(b.subf(stat(run, 0), highest)));
      Value at = b.add(b.mul(row, values.stride), b.mul(which(run), dim));
      KernelBuilder::Yield next;
      for (int64_t v = 0; v < vectors; ++v)
        next.push_back(b.fma(b.load(values.memory, b.add(at, v * kLanes)), factor, state[v]));
      Value scalar = vector::ExtractOp::create(b, factor, ArrayRef<int64_t>{0});
      next.push_back(b.addf(state[vectors], b.mulf(scalar, sum)));
      scf::YieldOp::create(b, next);
      b.setInsertionPointToStart(choice.elseBlock());
      scf::YieldOp::create(b, state);
      return KernelBuilder::Yield(choice.getResults());
    });
    Value inverse = b.splat(b.divf(b.f32(1), sums[vectors]));
    Value target = b.add(b.mul(row, out.stride), b.mul(head, dim));
    for (int64_t v = 0; v < vectors; ++v)
      b.store(b.mulf(sums[v], inverse), out.memory, b.add(target, v * kLanes));
  };
  auto [begin, end] = b.tileRange(b.div(b.tile, headTiles), b.rowsOf(dest(op)), tileSizes(op)[0]);
  auto [firstHead, lastHead] = b.tileRange(b.rem(b.tile, headTiles), b.index(heads), tileSizes(op)[1]);
  Value from = firstHead, to = lastHead;
  b.loop(begin, end, 1, [&](Value row) { b.loop(from, to, 1, [&](Value head) { one(row, head); }); });
}
