// Causal attention over the cache by streaming softmax. A tile is a block of rows by one key/value head; its query vectors
// (rows by the heads that share the key/value head) pass over the keys in blocks of kKeyBlock. The cache is packed like
// weights, so scores and values are products of the same micro-kernels as linear maps.
#include "compiler/target/x86/kernels.h"
#include "compiler/target/x86/micro_kernel.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;
using namespace qwench::qwen;

namespace {

constexpr float kMasked = -1e30f; // finite: the difference of two of them is 0, not NaN

/// Everything one tile works with. A query vector r is head `r % group` of row `first + r / group`.
struct AttentionTile {
  AttentionOp op;
  int64_t dim, group, queries; ///< queries: most query vectors of a tile
  Rows query, out;
  Value queryOffsets, weightOffsets; ///< rows of Q and of P for the micro-kernels
  Value scores, weights, values;     ///< S [queries, kKeyBlock] f32, P likewise, O [queries, dim] f32
  Value maxima, sums;                ///< of each query vector so far, f32
  CacheHead cache;
  Value head, first, count; ///< key/value head, first row, number of query vectors

  AttentionTile(KernelBuilder &b, AttentionOp op);
  void begin(KernelBuilder &b, Value firstRow, Value lastRow);
  void scoreBlock(KernelBuilder &b, Value block);
  void softmaxBlock(KernelBuilder &b, Value block);
  void valueBlock(KernelBuilder &b, Value block);
  void finish(KernelBuilder &b);
  Value rowOf(KernelBuilder &b, Value r) const { return b.add(first, b.div(r, group)); }
};

AttentionTile::AttentionTile(KernelBuilder &b, AttentionOp op) : op(op) {
  dim = op.getCache().getType().getDim();
  query = b.rows(op.getQuery());
  out = b.rows(dest(op));
  group = query.width / dim / op.getCache().getType().getHeads();
  queries = std::max(tileSizes(op)[0] * group, group);
  int64_t at = 0;
  auto take = [&](int64_t elements, Type element) {
    Value view = b.scratchAt(at, element);
    at += llvm::alignTo(elements * element.getIntOrFloatBitWidth() / 8, 128);
    return view;
  };
  queryOffsets = take(queries, b.getI64Type());
  weightOffsets = take(queries, b.getI64Type());
  maxima = take(queries, b.getF32Type());
  sums = take(queries, b.getF32Type());
  scores = take(queries * kKeyBlock, b.getF32Type());
  weights = take(queries * kKeyBlock, query.element);
  values = take(queries * dim, b.getF32Type());
  assert(at <= kScratchBytes);
}

void AttentionTile::begin(KernelBuilder &b, Value firstRow, Value lastRow) {
  first = firstRow;
  count = b.mul(b.sub(lastRow, firstRow), group);
  b.loop(b.index(0), count, 1, [&](Value r) {
    Value column = b.mul(b.add(b.mul(head, group), b.rem(r, group)), dim);
    Value start = b.add(b.mul(rowOf(b, r), query.stride), column);
    b.storeScalar(arith::IndexCastOp::create(b, b.getI64Type(), start), queryOffsets, r);
    b.storeScalar(arith::IndexCastOp::create(b, b.getI64Type(), b.mul(r, kKeyBlock)), weightOffsets, r);
    b.storeScalar(b.f32(kMasked), maxima, r);
    b.storeScalar(b.f32(0), sums, r);
    b.loop(dim, kLanes, [&](Value i) { b.store(b.splat(0.0f), values, b.add(b.mul(r, dim), i)); });
  });
}

void AttentionTile::scoreBlock(KernelBuilder &b, Value block) {
  int64_t depth = cache.depth;
  Value start = b.add(cache.keys, b.mul(block, kKeyBlock * dim));
  for (int64_t panel = 0; panel < kKeyBlock / kPanel; ++panel) {
    Product product{query.memory, queryOffsets, cache.memory, b.add(start, panel * kPanel * dim), kPanel * depth,
                    kLanes * depth, depth, dim / depth, scores, kKeyBlock, false};
    forRowBlocks(b, b.index(0), count, [&](Value r, int64_t rows) {
      emitProduct(b, product, r, rows, b.add(b.mul(r, kKeyBlock), panel * kPanel));
    });
  }
}

void AttentionTile::softmaxBlock(KernelBuilder &b, Value block) {
  constexpr int64_t vectors = kKeyBlock / kLanes;
  auto words = VectorType::get({kLanes}, b.getI32Type());
  SmallVector<int32_t> iota(kLanes);
  for (int64_t i = 0; i < kLanes; ++i)
    iota[i] = i;
  Value lanes = arith::ConstantOp::create(b, DenseElementsAttr::get(words, ArrayRef<int32_t>(iota)));
  Value scale = b.splat(op.getScale().convertToFloat());
  b.loop(b.index(0), count, 1, [&](Value r) {
    Value position = b.item(StepField::Positions, rowOf(b, r));
    Value last = b.splat(b.toI32(position)), at = b.mul(r, kKeyBlock);
    SmallVector<Value> valid, score;
    Value largest = b.splat(kMasked);
    for (int64_t v = 0; v < vectors; ++v) {
      Value key = arith::AddIOp::create(b, lanes, b.splat(b.toI32(b.add(b.mul(block, kKeyBlock), v * kLanes))));
      Value inside = arith::CmpIOp::create(b, arith::CmpIPredicate::sle, key, last);
      if (op.getWindow()) {
        Value before = b.splat(b.toI32(b.sub(position, b.index(*op.getWindow()))));
        inside = arith::AndIOp::create(b, inside, arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, key, before));
      }
      Value scaled = b.mulf(b.load(scores, b.add(at, v * kLanes)), scale);
      score.push_back(arith::SelectOp::create(b, inside, scaled, b.splat(kMasked)));
      valid.push_back(inside);
      largest = b.maxf(largest, score.back());
    }
    Value before = b.loadScalar(maxima, r);
    Value now = b.maxf(before, b.largest(largest)), nowAll = b.splat(now);
    Value shrink = b.exp(b.subf(b.splat(before), nowAll));
    Value total = b.splat(0.0f);
    for (int64_t v = 0; v < vectors; ++v) {
      Value weight = arith::SelectOp::create(b, valid[v], b.exp(b.subf(score[v], nowAll)), b.splat(0.0f));
      total = b.addf(total, weight);
      b.store(weight, weights, b.add(at, v * kLanes));
    }
    Value factor = vector::ExtractOp::create(b, shrink, ArrayRef<int64_t>{0});
    b.storeScalar(now, maxima, r);
    b.storeScalar(b.addf(b.mulf(b.loadScalar(sums, r), factor), b.sum(total)), sums, r);
    b.loop(dim, kLanes, [&](Value i) {
      Value o = b.add(b.mul(r, dim), i);
      b.store(b.mulf(b.load(values, o), shrink), values, o);
    });
  });
}

void AttentionTile::valueBlock(KernelBuilder &b, Value block) {
  int64_t depth = cache.depth;
  Value start = b.add(cache.values, b.mul(block, kKeyBlock * dim));
  b.loop(dim, kPanel, [&](Value column) {
    Product product{weights, weightOffsets, cache.memory, b.add(start, b.mul(column, depth)), dim * depth,
                    kLanes * depth, depth, kKeyBlock / depth, values, dim, true};
    forRowBlocks(b, b.index(0), count, [&](Value r, int64_t rows) {
      emitProduct(b, product, r, rows, b.add(b.mul(r, dim), column));
    });
  });
}

void AttentionTile::finish(KernelBuilder &b) {
  b.loop(b.index(0), count, 1, [&](Value r) {
    Value inverse = b.splat(b.divf(b.f32(1), b.loadScalar(sums, r)));
    Value column = b.mul(b.add(b.mul(head, group), b.rem(r, group)), dim);
    Value target = b.add(b.mul(rowOf(b, r), out.stride), column);
    b.loop(dim, kLanes, [&](Value i) {
      b.store(b.mulf(b.load(values, b.add(b.mul(r, dim), i)), inverse), out.memory, b.add(target, i));
    });
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

Value x86::attentionTiles(KernelBuilder &b, Operation *op) {
  auto attention = cast<AttentionOp>(op);
  return b.mul(b.ceilDiv(b.rowsOf(dest(op)), tileSizes(op)[0]), attention.getCache().getType().getHeads());
}

void x86::emitAttention(KernelBuilder &b, Operation *op) {
  auto attention = cast<AttentionOp>(op);
  AttentionTile t(b, attention);
  Value rows = b.rowsOf(dest(op)), rowTiles = b.ceilDiv(rows, tileSizes(op)[0]);
  // Heads outermost: a thread's share of tiles then has early and late rows alike.
  Value row = arith::RemUIOp::create(b, b.tile, rowTiles);
  t.head = arith::DivUIOp::create(b, b.tile, rowTiles);
  std::pair<Value, Value> range = b.tileRange(row, rows, tileSizes(op)[0]);
  Value begin = range.first, end = range.second;
  auto run = [&](Value first) {
    Value last = endOfRun(b, first, end);
    t.cache = cacheHead(b, attention.getCache().getType(), b.item(StepField::Slots, first), t.head);
    t.begin(b, first, last);
    Value firstKey = b.index(0);
    if (attention.getWindow())
      firstKey = b.max(b.index(0), b.sub(b.item(StepField::Positions, first), b.index(*attention.getWindow() - 1)));
    Value lastKey = b.item(StepField::Positions, b.sub(last, b.index(1)));
    b.loop(b.div(firstKey, kKeyBlock), b.add(b.div(lastKey, kKeyBlock), 1), 1, [&](Value block) {
      t.scoreBlock(b, block);
      t.softmaxBlock(b, block);
      t.valueBlock(b, block);
    });
    t.finish(b);
    return last;
  };
  scf::WhileOp::create(
      b, TypeRange{b.getIndexType()}, ValueRange{begin},
      [&](OpBuilder &, Location, ValueRange row) { scf::ConditionOp::create(b, b.less(row[0], end), row); },
      [&](OpBuilder &, Location, ValueRange row) { scf::YieldOp::create(b, run(row[0])); });
}
