// Attention on matrix units by products of a subgroup: keys of a block are staged in workgroup memory with their values. Of 128
// elements a head, keys and values take 35 KiB. Where the device copies asynchronously, values come while keys are
// multiplied, and the next keys while values are. Where it has no loads of matrices, values are staged transposed, and the
// weights of a block become an operand in the place of its keys.
#include "compiler/target/gpu/attention_tile.h"
#include "compiler/target/gpu/kernels.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::gpu {

namespace {

class SubgroupAttention : public AttentionTile {
public:
  SubgroupAttention(KernelBuilder &b, AttentionOp op);
  void emitRun(KernelBuilder &b);

private:
  static constexpr int64_t kKeyStride = kKeyBlock + kPiece; ///< of rows whose elements are keys
  struct State : Maxima {
    Values products; ///< of the lane's fragments [queries, dim]
  };
  Values loadQueries(KernelBuilder &b, int64_t k) const {
    return fragments.loadA(b, StagedRows{queryRows, b.index(0), stride}.from(b, b.mul(b.subgroup, Fragments::kRows)), 0, k);
  }
  void stageBlock(KernelBuilder &b, Value base, Value end) const;
  Value copyBlock(KernelBuilder &b, const CachePlane &plane, Value memory, Value base, Value end) const;
  void arrive(KernelBuilder &b, Value copies) const {
    b.awaitCopies(copies, 0);
    b.barrier();
  }
  Values score(KernelBuilder &b) const;
  State step(KernelBuilder &b, Value base, Value end, const State &before) const;
  Values operandOf(KernelBuilder &b, ArrayRef<Value> weights, int64_t key) const;

  bool async;         ///< whether keys and values are copied asynchronously
  Value keys, values; ///< [keys, dim] (also weights, and results); [keys, dim], or transposed [dim, keys]
  Value queryRows;    ///< [queries, dim]: the place of the keys, if queries are in registers when keys come
  SmallVector<Values> queries; ///< fragments of the subgroup's query vectors; none if they stay in workgroup memory
};

SubgroupAttention::SubgroupAttention(KernelBuilder &b, AttentionOp op)
    : AttentionTile(b, op), async(b.device.asyncCopies && fragments.hasMatrixLoads() && !type.getQuant()) {
  keys = b.shared(kKeyBlock * std::max(stride, kKeyStride), b.getBF16Type());
  values = b.shared(fragments.hasMatrixLoads() ? kKeyBlock * stride : dim * kKeyStride, b.getBF16Type());
  queryRows = fragments.repeatsOperands() ? b.shared(kQueries * stride, b.getBF16Type()) : keys;
}

/// Keys and values from `base` on, through registers.
void SubgroupAttention::stageBlock(KernelBuilder &b, Value base, Value end) const {
  forPieces(b, [&](Value row, Value element) {
    Value position = b.min(b.add(base, row), b.sub(end, b.index(1))), place = b.add(b.mul(row, stride), element);
    b.storeRaw(cache.keys.loadBF16(b, position, element), keys, place);
    Value piece = cache.values.loadBF16(b, position, element);
    if (fragments.hasMatrixLoads())
      return b.storeRaw(piece, values, place);
    for (int64_t i = 0; i < kPiece; ++i)
      b.storeScalar(b.extract(piece, i), values, b.add(b.mul(b.add(element, i), kKeyStride), row));
  });
}

/// The group that copies keys, or values, from `base` on; zeros behind `end`.
Value SubgroupAttention::copyBlock(KernelBuilder &b, const CachePlane &plane, Value memory, Value base, Value end) const {
  forPieces(b, [&](Value row, Value element) {
    Value position = b.add(base, row), place = b.add(b.mul(row, stride), element);
    b.copyPiece(plane.memory, b.add(plane.place(b, position), element), memory, place, b.less(position, end));
  });
  return b.copyGroup({});
}

/// Fragments of the subgroup's queries by the block's keys.
SmallVector<Value> SubgroupAttention::score(KernelBuilder &b) const {
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(fragments.sumType(b)));
  Values scores(kKeyBlock / fragments.columns(), zero);
  for (int64_t k = 0; k < dim; k += Fragments::kInputs) {
    Values left = queries.empty() ? loadQueries(b, k) : queries[k / Fragments::kInputs];
    SmallVector<Values> right;
    for (int64_t key = 0; key < kKeyBlock; key += Fragments::kRows)
      llvm::append_range(right, fragments.loadB(b, {keys, b.index(0), stride}, key, k));
    for (auto [score, block] : llvm::zip(scores, right))
      score = fragments.multiply(b, left, block, score);
  }
  return scores;
}

/// The weights of kInputs keys from `key` on. Where they do not come from registers, all are staged.
SmallVector<Value> SubgroupAttention::operandOf(KernelBuilder &b, ArrayRef<Value> weights, int64_t key) const {
  if (fragments.hasMatrixLoads())
    return fragments.operandOf(b, weights.slice(key / fragments.columns(), Fragments::kInputs / fragments.columns()));
  auto ours = StagedRows{keys, b.index(0), kKeyStride}.from(b, b.mul(b.subgroup, Fragments::kRows));
  return fragments.loadA(b, ours, 0, key);
}

/// One block of keys, which are staged; its values are, or come meanwhile, and so do the next block's keys.
SubgroupAttention::State SubgroupAttention::step(KernelBuilder &b, Value base, Value end, const State &before) const {
  Value copies = async ? copyBlock(b, cache.values, values, base, end) : Value();
  State state = before;
  Values weights = score(b);
  Values shrink = softmax(b, base, weights, state);
  for (Value &product : state.products)
    product = scaleRows(b, product, shrink);
  if (!fragments.hasMatrixLoads()) {
    b.barrier(); // the keys are read
    stageFragments(b, weights, keys, kKeyStride);
    b.barrier();
  }
  if (async) {
    arrive(b, copies);
    copies = copyBlock(b, cache.keys, keys, b.add(base, kKeyBlock), end);
  }
  for (int64_t k = 0; k < kKeyBlock; k += Fragments::kInputs) {
    Values left = operandOf(b, weights, k);
    SmallVector<Values> right;
    for (int64_t column = 0; column < dim; column += Fragments::kRows)
      llvm::append_range(right, fragments.hasMatrixLoads()
                                    ? fragments.loadTransposed(b, {values, b.index(0), stride}, k, column)
                                    : fragments.loadB(b, {values, b.index(0), kKeyStride}, column, k));
    for (auto [product, block] : llvm::zip(state.products, right))
      product = fragments.multiply(b, left, block, product);
  }
  if (async)
    arrive(b, copies);
  return state;
}

void SubgroupAttention::emitRun(KernelBuilder &b) {
  b.barrier(); // the run before has read what is staged
  stageQueries(b, queryRows, [&](Value vector, Value element) { return b.add(b.mul(vector, stride), element); });
  b.barrier();
  queries.clear();
  for (int64_t k = 0; k < dim && queryRows == keys; k += Fragments::kInputs)
    queries.push_back(loadQueries(b, k));
  State state{beginRows(b), {}};
  state.products.append(dim / fragments.columns(), arith::ConstantOp::create(b, b.getZeroAttr(fragments.sumType(b))));
  auto [begin, end] = keysOfRun(b);
  Values packed(state.maxima);
  llvm::append_range(packed, state.sums);
  llvm::append_range(packed, state.products);
  size_t rows = fragments.rowsOfLane();
  auto unpack = [rows](ValueRange all) {
    return State{{llvm::to_vector(all.take_front(rows)), llvm::to_vector(all.slice(rows, rows))},
                 llvm::to_vector(all.drop_front(2 * rows))};
  };
  if (async) {
    b.barrier(); // queries are read
    arrive(b, copyBlock(b, cache.keys, keys, begin, end));
  }
  auto result = b.loop(begin, end, kKeyBlock, packed, [&, end = end](Value base, ValueRange before) {
    if (!async) {
      b.barrier(); // queries, or the block before, are read
      stageBlock(b, base, end);
      b.barrier();
    }
    State after = step(b, base, end, unpack(before));
    KernelBuilder::Yield all(after.maxima);
    llvm::append_range(all, after.sums);
    llvm::append_range(all, after.products);
    return all;
  });
  State last = unpack(result);
  finish(b, last.products, last.sums, keys);
}

} // namespace

std::string matrixAttentionRefusal(KernelBuilder &b, AttentionOp op) {
  CacheType cache = op.getCache().getType();
  Buffer query = b.buffer(op.getQuery()), out = b.buffer(dest(op));
  int64_t rows = tileSizes(op)[0], dim = cache.getDim(), vectors = rows * (query.width / dim / cache.getHeads());
  auto expected = [](const char *what, int64_t found) { return std::string(what) + ", found " + std::to_string(found); };
  if (b.device.matrix == MatrixUnit::None || b.subgroups != 4)
    return "expected matrix units and 4 subgroups";
  if (op.getSplits() || rows <= 1)
    return expected("expected tiles of several rows", rows);
  if (vectors > AttentionTile::kQueries)
    return expected("expected tiles of at most 64 query vectors", vectors);
  if (!cache.getQuant() && !cache.getElementType().isBF16())
    return "expected a cache of bf16 or of codes";
  if (query.vector != kPiece || !out.element.isBF16() || out.vector != kPiece)
    return "expected queries in whole pieces of 16 bytes, and results of bf16";
  if (dim % Fragments::kInputs || dim > AttentionTile::kMaxDim)
    return expected("expected a head_dim that is a multiple of 16 up to 128", dim);
  return "";
}

void emitMatrixAttention(KernelBuilder &b, AttentionOp op) {
  SubgroupAttention attention(b, op);
  attention.forRuns(b, op, [&] { attention.emitRun(b); });
}

} // namespace qwench::gpu
