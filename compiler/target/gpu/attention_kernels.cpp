// Causal attention over the cache by streaming softmax. A tile is a row, or a run of its keys, by a key/value head. A team
// of lanes holds a key in pieces of 16 bytes; the teams of a block share the keys out among them and merge their sums at
// the end.
#include "compiler/target/gpu/kernels.h"
#include "compiler/target/gpu/passes.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::gpu {

namespace {

/// Most query heads that pass over the keys together: 8 pieces of queries and of sums are 128 registers.
constexpr int64_t kHeads = 8;

constexpr double kLog2e = 1.4426950408889634;

struct RowAttention {
  AttentionOp op;
  Buffer query, out;
  std::optional<Buffer> stats; ///< with runs of keys: `out` is then [S, A, D] in a row, `stats` [S, A, 2]
  int64_t dim, group, heads; ///< head dimension, query heads of a key/value head, those that pass together
  int64_t keyHeads;          ///< key/value heads
  int64_t keysAtOnce;        ///< of a team: as many loads of keys, then of values, are in flight
  int64_t teamLanes, teams;  ///< lanes of a team, teams of a block
  Value head, run, row;      ///< of the tile, the run of keys only with `stats`; and the row that is worked on
  Value piece, team;         ///< of the thread: its first element of a key, its team in the block
  Value inside;              ///< whether the piece is one: teams are powers of two
  CacheHead cache;
  Value begin, end;          ///< keys of the tile
  Value maxima, sums, values; ///< of each subgroup and head, [subgroups, heads] and [subgroups, heads, dim], to be merged

  RowAttention(KernelBuilder &b, AttentionOp op);
  void beginRow(KernelBuilder &b, Value rowOfStep);
  void emitHeads(KernelBuilder &b, int64_t firstHead);

private:
  struct State {
    SmallVector<Value> maxima, sums, values; ///< of each head: scores are powers of 2
    static State unpack(ValueRange values);
    SmallVector<Value> pack() const;
  };
  void findKeys(KernelBuilder &b);
  Value queryHead(KernelBuilder &b, int64_t h) const { return b.add(b.mul(head, group), h); }
  Value ownPiece(KernelBuilder &b, llvm::function_ref<Value(Value column)> load) const;
  State step(KernelBuilder &b, Value base, ArrayRef<Value> queries, const State &before) const;
  void mergeTeams(KernelBuilder &b, State &state) const;
  void mergeSubgroups(KernelBuilder &b, const State &state, int64_t firstHead) const;
};

RowAttention::RowAttention(KernelBuilder &b, AttentionOp op)
    : op(op), query(b.buffer(op.getQuery())), out(b.buffer(dest(op))), dim(op.getCache().getType().getDim()) {
  CacheType type = op.getCache().getType();
  keyHeads = type.getHeads();
  keysAtOnce = b.device.loadsAhead / 2;
  group = query.width / dim / keyHeads;
  heads = std::min(group, kHeads);
  teamLanes = llvm::PowerOf2Ceil(dim / kPiece);
  teams = b.threads() / teamLanes;
  piece = b.mul(b.rem(b.thread, teamLanes), kPiece);
  team = b.div(b.thread, teamLanes);
  inside = teamLanes * kPiece == dim ? Value() : b.less(piece, b.index(dim));
  if (op.getSplits())
    stats = b.buffer(dest(op, 1));
  maxima = b.shared(b.subgroups * heads, b.getF32Type()), sums = b.shared(b.subgroups * heads, b.getF32Type());
  values = b.shared(b.subgroups * heads * dim, b.getF32Type());
}

void RowAttention::beginRow(KernelBuilder &b, Value rowOfStep) {
  row = rowOfStep;
  cache = cacheHead(b, op.getCache().getType(), b.item(StepField::Slots, row), head);
  findKeys(b);
}

/// The keys that the row attends to, or those of them that are of the run.
void RowAttention::findKeys(KernelBuilder &b) {
  Value last = b.item(StepField::Positions, row);
  begin = op.getWindow() ? b.max(b.index(0), b.sub(last, b.index(*op.getWindow() - 1))) : b.index(0);
  end = b.add(last, 1);
  if (!stats)
    return;
  int64_t keys = *op.getSplitKeys(), splits = *op.getSplits();
  Value firstBlock = b.div(begin, keys), blocks = b.sub(b.add(b.div(last, keys), 1), firstBlock);
  auto edge = [&](Value s) { return b.mul(b.add(firstBlock, b.div(b.mul(s, blocks), splits)), keys); };
  begin = b.max(begin, edge(run));
  end = b.min(end, edge(b.add(run, 1)));
}

RowAttention::State RowAttention::State::unpack(ValueRange values) {
  size_t n = values.size() / 3;
  return {llvm::to_vector(values.take_front(n)), llvm::to_vector(values.slice(n, n)), llvm::to_vector(values.drop_front(2 * n))};
}

SmallVector<Value> RowAttention::State::pack() const {
  SmallVector<Value> all(maxima);
  llvm::append_range(all, sums);
  llvm::append_range(all, values);
  return all;
}

/// The thread's piece of a head, which `load` gives from a column on; zeros if it has none.
Value RowAttention::ownPiece(KernelBuilder &b, llvm::function_ref<Value(Value)> load) const {
  if (!inside)
    return load(piece);
  Value value = load(b.select(inside, piece, b.index(0)));
  return b.select(inside, value, b.splat(b.f32(0), kPiece));
}

/// One step of streaming softmax: the team's keys base, base + 1, ... below the end.
RowAttention::State RowAttention::step(KernelBuilder &b, Value base, ArrayRef<Value> queries, const State &before) const {
  SmallVector<Value> positions, valid, keys, values;
  for (int64_t j = 0; j < keysAtOnce; ++j) {
    Value position = b.add(base, j);
    valid.push_back(b.less(position, end));
    positions.push_back(b.min(position, b.sub(end, b.index(1))));
    keys.push_back(ownPiece(b, [&](Value column) { return cache.keys.load(b, positions[j], column); }));
  }
  for (int64_t j = 0; j < keysAtOnce; ++j)
    values.push_back(ownPiece(b, [&](Value column) { return cache.values.load(b, positions[j], column); }));
  State after;
  for (int64_t h = 0; h < heads; ++h) {
    SmallVector<Value> scores;
    Value largest = before.maxima[h];
    for (int64_t j = 0; j < keysAtOnce; ++j) {
      Value score = b.reduce(KernelBuilder::Reduction::ADD, b.sum(b.mulf(queries[h], keys[j])), teamLanes);
      scores.push_back(b.select(valid[j], score, b.f32(kMasked)));
      largest = b.maxf(largest, scores[j]);
    }
    Value shrink = b.exp2(b.subf(before.maxima[h], largest));
    Value sum = b.mulf(before.sums[h], shrink), value = b.mulf(before.values[h], b.splat(shrink, kPiece));
    for (int64_t j = 0; j < keysAtOnce; ++j) {
      Value weight = b.select(valid[j], b.exp2(b.subf(scores[j], largest)), b.f32(0));
      sum = b.addf(sum, weight);
      value = b.fma(b.splat(weight, kPiece), values[j], value);
    }
    after.maxima.push_back(largest);
    after.sums.push_back(sum);
    after.values.push_back(value);
  }
  return after;
}

/// All teams of a subgroup have the sums of all.
void RowAttention::mergeTeams(KernelBuilder &b, State &state) const {
  int64_t perSubgroup = b.device.subgroupSize / teamLanes;
  auto add = [&](Value v) { return b.reduce(KernelBuilder::Reduction::ADD, v, perSubgroup, teamLanes); };
  for (int64_t h = 0; h < heads && perSubgroup > 1; ++h) {
    Value largest = b.reduce(KernelBuilder::Reduction::MAXNUMF, state.maxima[h], perSubgroup, teamLanes);
    Value shrink = b.exp2(b.subf(state.maxima[h], largest));
    state.maxima[h] = largest;
    state.sums[h] = add(b.mulf(state.sums[h], shrink));
    SmallVector<Value> elements;
    for (int64_t i = 0; i < kPiece; ++i)
      elements.push_back(add(b.mulf(b.extract(state.values[h], i), shrink)));
    state.values[h] = vector::FromElementsOp::create(b, b.floats(kPiece), elements);
  }
}

/// Through workgroup memory.
void RowAttention::mergeSubgroups(KernelBuilder &b, const State &state, int64_t firstHead) const {
  Value writes = b.less(b.lane, b.index(dim / kPiece));
  b.when(writes, [&] {
    for (int64_t h = 0; h < heads; ++h) {
      Value place = b.add(b.mul(b.subgroup, heads), h);
      b.when(b.equal(b.lane, b.index(0)), [&] {
        b.storeScalar(state.maxima[h], maxima, place);
        b.storeScalar(state.sums[h], sums, place);
      });
      b.storeVector(state.values[h], values, b.add(b.mul(place, dim), piece));
    }
  });
  b.barrier();
  b.forThreads(std::min(heads, group - firstHead) * dim, [&](Value i) {
    Value h = b.div(i, dim), element = b.rem(i, dim);
    Value largest = b.f32(kMasked);
    for (int64_t s = 0; s < b.subgroups; ++s)
      largest = b.maxf(largest, b.loadScalar(maxima, b.add(h, s * heads)));
    Value sum = b.f32(0), value = b.f32(0);
    for (int64_t s = 0; s < b.subgroups; ++s) {
      Value place = b.add(h, s * heads), shrink = b.exp2(b.subf(b.loadScalar(maxima, place), largest));
      sum = b.fma(shrink, b.loadScalar(sums, place), sum);
      value = b.fma(shrink, b.loadScalar(values, b.add(b.mul(place, dim), element)), value);
    }
    Value which = b.add(b.add(b.mul(head, group), firstHead), h);
    if (!stats)
      return b.store(b.divf(value, sum), out.memory, b.add(b.mul(row, out.stride), b.add(b.mul(which, dim), element)));
    which = b.add(b.mul(run, group * keyHeads), which);
    b.store(value, out.memory, b.add(b.mul(row, out.stride), b.add(b.mul(which, dim), element)));
    b.when(b.equal(element, b.index(0)), [&] { // the maximum not as a power of 2, but of e
      Value at = b.add(b.mul(row, stats->stride), b.mul(which, 2));
      b.store(b.mulf(largest, b.f32(1 / kLog2e)), stats->memory, at);
      b.store(sum, stats->memory, b.add(at, 1));
    });
  });
}

/// Heads firstHead .. firstHead + heads - 1 of the group; those behind its end repeat the last and are not stored.
void RowAttention::emitHeads(KernelBuilder &b, int64_t firstHead) {
  Value scale = b.splat(b.f32(op.getScale().convertToFloat() * kLog2e), kPiece);
  SmallVector<Value> queries;
  State state;
  for (int64_t h = 0; h < heads; ++h) {
    Value column = b.mul(queryHead(b, std::min(firstHead + h, group - 1)), dim);
    Value start = b.add(b.mul(row, query.stride), column);
    Value piece = ownPiece(b, [&](Value column) { return b.load(query.memory, b.add(start, column), kPiece); });
    queries.push_back(b.mulf(piece, scale));
    state.maxima.push_back(b.f32(kMasked));
    state.sums.push_back(b.f32(0));
    state.values.push_back(b.splat(b.f32(0), kPiece));
  }
  // All teams make as many steps, those without keys too: they reduce together.
  auto merged = b.loop(begin, end, teams * keysAtOnce, state.pack(), [&](Value base, ValueRange before) {
    return step(b, b.add(base, b.mul(team, keysAtOnce)), queries, State::unpack(before)).pack();
  });
  state = State::unpack(merged);
  mergeTeams(b, state);
  mergeSubgroups(b, state, firstHead);
}

} // namespace

Value attentionTiles(StepBuilder &host, Operation *op) {
  auto attention = cast<AttentionOp>(op);
  int64_t splits = attention.getSplits().value_or(1);
  Value rowTiles = host.ceilDiv(host.rowsOf(dest(op)), tileSizes(op)[0]);
  return host.mul(rowTiles, attention.getCache().getType().getHeads() * splits);
}

/// Emits the form for many rows, if the op has one here. Where the module is for products of four subgroups and this is not, the
/// kernel says so, with the reason.
static bool emitManyRows(KernelBuilder &b, AttentionOp op) {
  std::string refusal = matrixAttentionRefusal(b, op);
  const bool fits = refusal.empty();
  if (b.device.matrix == MatrixUnit::Wgmma) {
    if (fits)
      refusal = warpgroupAttentionRefusal(op);
    if (refusal.empty()) {
      emitWarpgroupAttention(b, op);
      return true;
    }
    b.function->setAttr(kMatrixUnit, b.getStringAttr(fits ? "mma" : "none"));
    b.function->setAttr(kMatrixUnitReason, b.getStringAttr(refusal));
  }
  if (fits)
    emitMatrixAttention(b, op);
  return fits;
}

/// Pieces of queries and of sums of up to 4 heads leave room for three blocks, those of more for two.
int64_t attentionTogether(Operation *op) { return cast<AttentionOp>(op).groupSize() > kHeads / 2 ? 2 : 3; }

void emitAttention(KernelBuilder &b, Operation *op) {
  auto attention = cast<AttentionOp>(op);
  if (emitManyRows(b, attention))
    return;
  RowAttention tile(b, attention);
  int64_t heads = attention.getCache().getType().getHeads();
  Value rows = b.rowsOf(dest(op)), rest = b.div(b.tile, heads), rowTile = rest;
  tile.head = b.rem(b.tile, heads);
  if (attention.getSplits()) {
    Value rowTiles = b.ceilDiv(rows, tileSizes(op)[0]);
    tile.run = arith::DivUIOp::create(b, rest, rowTiles);
    rowTile = arith::RemUIOp::create(b, rest, rowTiles);
  }
  auto [begin, end] = b.tileRange(rowTile, rows, tileSizes(op)[0]);
  b.loop(begin, end, 1, [&](Value row) {
    tile.beginRow(b, row);
    for (int64_t head = 0; head < tile.group; head += tile.heads) {
      b.barrier(); // the heads before are merged
      tile.emitHeads(b, head);
    }
  });
}

//===-- Runs made whole -------------------------------------------------------------------------------------------===//

Value attentionCombineTiles(StepBuilder &host, Operation *op) {
  int64_t heads = cast<MemRefType>(dest(op).getType()).getDimSize(1);
  return host.mul(host.rowsOf(dest(op)), llvm::divideCeil(heads, tileSizes(op)[1]));
}

void emitAttentionCombine(KernelBuilder &b, Operation *op) {
  auto combine = cast<AttentionCombineOp>(op);
  auto type = cast<MemRefType>(combine.getValues().getType());
  int64_t runs = type.getDimSize(1), heads = type.getDimSize(2), dim = type.getDimSize(3), perTile = tileSizes(op)[1];
  Buffer values = b.buffer(combine.getValues()), stats = b.buffer(combine.getStats()), out = b.buffer(dest(op));
  int64_t headTiles = llvm::divideCeil(heads, perTile);
  Value row = b.div(b.tile, headTiles);
  auto [firstHead, lastHead] = b.tileRange(b.rem(b.tile, headTiles), b.index(heads), perTile);
  b.forThreads(b.mul(b.sub(lastHead, firstHead), dim), [&, first = firstHead](Value i) {
    Value head = b.add(first, b.div(i, dim)), element = b.rem(i, dim);
    auto stat = [&](Value run, int64_t which) {
      Value at = b.add(b.mul(b.add(b.mul(run, heads), head), 2), which);
      return b.load(stats.memory, b.add(b.mul(row, stats.stride), at));
    };
    Value none = b.f32(kMasked);
    Value largest = b.loop(b.index(0), b.index(runs), 1, {none}, [&](Value run, ValueRange before) {
      Value empty = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, stat(run, 1), b.f32(0));
      return KernelBuilder::Yield{b.maxf(before[0], b.select(empty, none, stat(run, 0)))};
    })[0];
    auto sums = b.loop(b.index(0), b.index(runs), 1, {b.f32(0), b.f32(0)}, [&](Value run, ValueRange before) {
      Value sum = stat(run, 1), empty = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, sum, b.f32(0));
      Value factor = b.select(empty, b.f32(0), b.exp(b.subf(stat(run, 0), largest)));
      Value at = b.add(b.mul(b.add(b.mul(run, heads), head), dim), element);
      Value value = b.load(values.memory, b.add(b.mul(row, values.stride), at));
      return KernelBuilder::Yield{b.fma(factor, value, before[0]), b.fma(factor, sum, before[1])};
    });
    b.store(b.divf(sums[0], sums[1]), out.memory, b.add(b.mul(row, out.stride), b.add(b.mul(head, dim), element)));
  });
}

} // namespace qwench::gpu
