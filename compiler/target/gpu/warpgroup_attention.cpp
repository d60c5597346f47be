// Attention on products of four subgroups together: a tile's 64 query vectors are the rows of one. Queries, keys and values
// stand in workgroup memory as the unit reads them, of two blocks of keys and of values, 80 KiB for 128 elements a head; weights
// stay in registers. While a block's weights are made of its scores, the unit multiplies those of the block before by their values,
// and the next keys come.
#include "compiler/target/gpu/attention_tile.h"
#include "compiler/target/gpu/kernels.h"
#include "compiler/target/gpu/warpgroup_unit.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::gpu {

namespace {

/// Elements of a swizzle's span that rows of `dim` elements are a whole number of; 0 if there is none.
int64_t panelWidth(int64_t dim) { return dim % 64 == 0 ? 64 : dim % 32 == 0 ? 32 : 0; }

class WarpgroupAttention : public AttentionTile {
public:
  WarpgroupAttention(KernelBuilder &b, AttentionOp op);
  void emitRun(KernelBuilder &b);

private:
  struct State : Maxima {
    Value products; ///< [queries, dim], awaited
    Values weights; ///< words of the last block's, whose values are yet to be multiplied
  };
  /// Elements at which this block's keys and values stand, and the other's: of the one before, and then of the next.
  struct Stages {
    Value here, there;
  };
  StagedPanels panels(Value memory, Value start) const { return {memory, start, kKeyBlock, panelWidth(dim)}; }
  void bring(KernelBuilder &b, const CachePlane &plane, Value memory, Value stage, Value base, Value end) const;
  void arrive(KernelBuilder &b) const;
  Value score(KernelBuilder &b, Value stage) const;
  Value addBlock(KernelBuilder &b, const State &state, Value stage) const;
  void weigh(KernelBuilder &b, ArrayRef<Value> weights, State &state) const;
  State firstStep(KernelBuilder &b, Value base, Value end, Stages stages, State state) const;
  State step(KernelBuilder &b, Value base, Value end, Stages stages, State state) const;

  WarpgroupUnit scores{kKeyBlock}, results;
  bool async; ///< whether keys and values are copied asynchronously
  Value queries, keys, values; ///< [64, dim]; two stages of [64, dim] each
};

WarpgroupAttention::WarpgroupAttention(KernelBuilder &b, AttentionOp op)
    : AttentionTile(b, op), results(dim), async(b.device.asyncCopies && !type.getQuant()) {
  queries = b.shared(kQueries * dim, b.getBF16Type(), WarpgroupUnit::kAlignment);
  keys = b.shared(2 * kKeyBlock * dim, b.getBF16Type(), WarpgroupUnit::kAlignment);
  values = b.shared(2 * kKeyBlock * dim, b.getBF16Type(), WarpgroupUnit::kAlignment);
}

/// Keys, or values, from `base` on to a stage: copies begin, or codes become bf16. Behind `end` are zeros, or any of the last ones.
void WarpgroupAttention::bring(KernelBuilder &b, const CachePlane &plane, Value memory, Value stage, Value base, Value end) const {
  StagedPanels staged = panels(memory, stage);
  forPieces(b, [&](Value row, Value element) {
    Value position = b.add(base, row), place = staged.place(b, row, element);
    if (async)
      b.copyPiece(plane.memory, b.add(plane.place(b, position), element), memory, place, b.less(position, end));
    else
      b.storeRaw(plane.loadBF16(b, b.min(position, b.sub(end, b.index(1))), element), memory, place);
  });
}

/// What was brought is there, for all threads and their products.
void WarpgroupAttention::arrive(KernelBuilder &b) const {
  if (async)
    b.awaitCopies(b.copyGroup({}), 0);
  WarpgroupUnit::publish(b);
  b.barrier();
}

/// Begins the products of the queries by a stage's keys.
Value WarpgroupAttention::score(KernelBuilder &b, Value stage) const {
  StagedPanels left = panels(queries, b.index(0)), right = panels(keys, stage);
  WarpgroupUnit::begin(b);
  Values sums{Value()};
  for (int64_t i = 0; i < dim / left.width; ++i)
    sums = scores.add(b, left.panel(b, i), right.panel(b, i), sums);
  WarpgroupUnit::commit(b);
  return sums.front();
}

/// Begins to add the products of the state's weights by a stage's values.
Value WarpgroupAttention::addBlock(KernelBuilder &b, const State &state, Value stage) const {
  WarpgroupUnit::begin(b);
  Value sums = results.addHeld(b, state.weights, panels(values, stage), state.products);
  WarpgroupUnit::commit(b);
  return sums;
}

/// Weights become what the next products take, in registers that none of those on their way reads.
void WarpgroupAttention::weigh(KernelBuilder &b, ArrayRef<Value> weights, State &state) const {
  Values pairs;
  for (; !weights.empty(); weights = weights.drop_front(2))
    llvm::append_range(pairs, fragments.operandOf(b, weights.take_front(2)));
  state.weights = WarpgroupUnit::hold(b, pairs);
}

/// The first block, whose keys are staged. Its values come, and the next keys.
WarpgroupAttention::State WarpgroupAttention::firstStep(KernelBuilder &b, Value base, Value end, Stages stages, State state) const {
  Value sums = score(b, stages.here);
  bring(b, cache.values, values, stages.here, base, end);
  bring(b, cache.keys, keys, stages.there, b.add(base, kKeyBlock), end);
  WarpgroupUnit::await(b, 0);
  Values weights = scores.fragments(b, sums);
  softmax(b, base, weights, state);
  weigh(b, weights, state);
  state.products = results.zeros(b);
  arrive(b);
  return state;
}

/// A block whose keys are staged, with the values of the block before. Its own values come to their stage, and the next keys to
/// that of the keys before.
WarpgroupAttention::State WarpgroupAttention::step(KernelBuilder &b, Value base, Value end, Stages stages, State state) const {
  Value sums = score(b, stages.here);
  Value products = addBlock(b, state, stages.there);
  bring(b, cache.values, values, stages.here, base, end);
  bring(b, cache.keys, keys, stages.there, b.add(base, kKeyBlock), end);
  WarpgroupUnit::await(b, 1);
  Values weights = scores.fragments(b, sums);
  Values shrink = softmax(b, base, weights, state);
  WarpgroupUnit::await(b, 0);
  Values fragments = results.fragments(b, products);
  for (Value &fragment : fragments)
    fragment = scaleRows(b, fragment, shrink);
  state.products = results.sumsOf(b, fragments);
  weigh(b, weights, state);
  arrive(b);
  return state;
}

void WarpgroupAttention::emitRun(KernelBuilder &b) {
  b.barrier(); // the run before has read what is staged
  auto [begin, end] = keysOfRun(b);
  bring(b, cache.keys, keys, b.index(0), begin, end);
  StagedPanels staged = panels(queries, b.index(0));
  stageQueries(b, queries, [&](Value vector, Value element) { return staged.place(b, vector, element); });
  arrive(b);
  State state = firstStep(b, begin, end, {b.index(0), b.index(kKeyBlock * dim)}, {beginRows(b), {}, {}});
  const size_t rows = fragments.rowsOfLane();
  auto pack = [](const State &state, Stages stages) {
    Values all{stages.here, stages.there, state.products};
    for (const Values *part : {&state.maxima, &state.sums, &state.weights})
      llvm::append_range(all, *part);
    return all;
  };
  auto unpack = [rows](ValueRange all) {
    ValueRange rest = all.drop_front(3);
    return State{{llvm::to_vector(rest.take_front(rows)), llvm::to_vector(rest.slice(rows, rows))},
                 all[2],
                 llvm::to_vector(rest.drop_front(2 * rows))};
  };
  Values packed = pack(state, {b.index(kKeyBlock * dim), b.index(0)});
  packed = b.loop(b.add(begin, kKeyBlock), end, kKeyBlock, packed, [&, end = end](Value base, ValueRange before) {
    Stages stages{before[0], before[1]};
    return pack(step(b, base, end, stages, unpack(before)), {stages.there, stages.here});
  });
  state = unpack(packed);
  Value products = addBlock(b, state, packed[1]);
  WarpgroupUnit::await(b, 0);
  finish(b, results.fragments(b, products), state.sums, keys);
}

} // namespace

std::string warpgroupAttentionRefusal(AttentionOp op) {
  int64_t dim = op.getCache().getType().getDim();
  return panelWidth(dim) ? "" : "expected a head_dim that is a multiple of 32, found " + std::to_string(dim);
}

void emitWarpgroupAttention(KernelBuilder &b, AttentionOp op) {
  WarpgroupAttention attention(b, op);
  attention.forRuns(b, op, [&] { attention.emitRun(b); });
}

} // namespace qwench::gpu
