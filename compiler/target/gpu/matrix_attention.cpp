// Attention on matrix units: the form for many rows. A tile is up to 64 query vectors (rows by the heads of a key/value
// head's group), 16 to a subgroup; they pass over blocks of 64 keys, which are staged in workgroup memory with their values. Of
// 128 elements a head, keys and values take 35 KiB. Where the device copies asynchronously, values come while keys are
// multiplied, and the next keys while values are. Where it has no loads of matrices, values are staged transposed, and the
// weights of a block become an operand in the place of its keys.
#include "compiler/target/gpu/kernels.h"
#include "compiler/target/gpu/matrix_unit.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::gpu {

namespace {

constexpr int64_t kQueries = 64, kKeyBlock = 64, kMaxDim = 128;
constexpr int64_t kKeyStride = kKeyBlock + kPiece; ///< of rows whose elements are keys

class MatrixAttention {
public:
  MatrixAttention(KernelBuilder &b, AttentionOp op);
  /// Rows first .. last - 1, which share a slot.
  void emitRun(KernelBuilder &b, Value first, Value last);
  Value head; ///< key/value head of the tile

private:
  using Values = SmallVector<Value>;
  struct State {
    Values maxima, sums, products; ///< of the lane's rows; of the lane's fragments [queries, dim]
  };
  void forPieces(KernelBuilder &b, llvm::function_ref<void(Value row, Value element)> body) const;
  Value queryRow(KernelBuilder &b, Value vector) const { return b.min(b.add(first, b.div(vector, group)), b.sub(last, b.index(1))); }
  /// Element of the row of queries, or results, that element `element` of a vector is.
  Value column(KernelBuilder &b, Value vector, Value element) const {
    return b.add(b.mul(b.add(b.mul(head, group), b.rem(vector, group)), dim), element);
  }
  Value rowOfLane(KernelBuilder &b, int64_t i) const;
  void stageFragments(KernelBuilder &b, ArrayRef<Value> sums, int64_t rowStride) const;
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
  void softmax(KernelBuilder &b, Value base, Values &scores, State &state) const;
  Value scaleRows(KernelBuilder &b, Value fragment, ArrayRef<Value> factors) const;
  void finish(KernelBuilder &b, const State &state) const;

  CacheType type;
  std::optional<int64_t> window;
  double scale;
  Fragments fragments;
  Buffer query, out;
  int64_t dim, group, stride;
  bool async;         ///< whether keys and values are copied asynchronously
  Value keys, values; ///< [keys, dim] (also weights, and results); [keys, dim], or transposed [dim, keys]
  Value queryRows;    ///< [queries, dim]: the place of the keys, if queries are in registers when keys come
  CacheHead cache;
  Value first, last;
  SmallVector<Values> queries; ///< fragments of the subgroup's query vectors; none if they stay in workgroup memory
  Values limits;    ///< positions of the lane's rows less the lane's first column, i32
};

MatrixAttention::MatrixAttention(KernelBuilder &b, AttentionOp op)
    : type(op.getCache().getType()), window(op.getWindow()), scale(op.getScale().convertToFloat() * 1.4426950408889634),
      fragments(b), query(b.buffer(op.getQuery())), out(b.buffer(dest(op))), dim(type.getDim()),
      group(query.width / dim / type.getHeads()), stride(dim + kPiece),
      async(b.device.asyncCopies && fragments.hasMatrixLoads() && !type.getQuant()) {
  keys = b.shared(kKeyBlock * std::max(stride, kKeyStride), b.getBF16Type());
  values = b.shared(fragments.hasMatrixLoads() ? kKeyBlock * stride : dim * kKeyStride, b.getBF16Type());
  queryRows = fragments.repeatsOperands() ? b.shared(kQueries * stride, b.getBF16Type()) : keys;
}

/// The pieces of 64 rows of `dim` elements, shared out among the threads.
void MatrixAttention::forPieces(KernelBuilder &b, llvm::function_ref<void(Value, Value)> body) const {
  int64_t pieces = dim / kPiece;
  b.forThreads(kKeyBlock * pieces, [&](Value i) { body(b.div(i, pieces), b.mul(b.rem(i, pieces), kPiece)); });
}

/// Query vector of the lane's row `i` of a fragment, of the tile.
Value MatrixAttention::rowOfLane(KernelBuilder &b, int64_t i) const {
  int64_t element = 0;
  while (fragments.rowOfElement(element) != i)
    ++element;
  return b.add(b.add(b.mul(b.subgroup, Fragments::kRows), fragments.laneRow(b)), fragments.rowOffset(element));
}

/// Keys and values from `base` on, through registers.
void MatrixAttention::stageBlock(KernelBuilder &b, Value base, Value end) const {
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
Value MatrixAttention::copyBlock(KernelBuilder &b, const CachePlane &plane, Value memory, Value base, Value end) const {
  forPieces(b, [&](Value row, Value element) {
    Value position = b.add(base, row), place = b.add(b.mul(row, stride), element);
    b.copyPiece(plane.memory, b.add(plane.place(b, position), element), memory, place, b.less(position, end));
  });
  return b.copyGroup({});
}

/// To the place of the keys, as bf16: the subgroup's rows, fragments side by side.
void MatrixAttention::stageFragments(KernelBuilder &b, ArrayRef<Value> sums, int64_t rowStride) const {
  Value row = b.add(b.mul(b.subgroup, Fragments::kRows), fragments.laneRow(b));
  Value first = b.add(b.mul(row, rowStride), fragments.laneColumn(b));
  for (auto [j, fragment] : llvm::enumerate(sums))
    for (int64_t e = 0; e < fragments.sums(); ++e) {
      int64_t offset = fragments.rowOffset(e) * rowStride + fragments.columnOffset(e) + j * fragments.columns();
      b.store(b.extract(fragment, e), keys, b.add(first, offset));
    }
}

/// Fragments of the subgroup's queries by the block's keys.
SmallVector<Value> MatrixAttention::score(KernelBuilder &b) const {
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

Value MatrixAttention::scaleRows(KernelBuilder &b, Value fragment, ArrayRef<Value> factors) const {
  Values elements;
  for (int64_t e = 0; e < fragments.sums(); ++e)
    elements.push_back(factors[fragments.rowOfElement(e)]);
  return b.mulf(fragment, vector::FromElementsOp::create(b, fragments.sumType(b), elements));
}

/// Scores become weights, relative to the maxima so far, which the sums and products of `state` follow. A row that no key of
/// its first blocks is for has weights of 1 there, until the first key that is makes zeros of what they gave.
void MatrixAttention::softmax(KernelBuilder &b, Value base, Values &scores, State &state) const {
  Value factor = b.f32(scale); // to powers of 2
  int64_t rows = fragments.rowsOfLane();
  Values largest(rows, b.f32(kMasked)), shrink;
  Value firstKey = b.toI32(base);
  SmallVector<Values> masked(scores.size());
  for (auto [j, fragment] : llvm::enumerate(scores))
    for (int64_t e = 0; e < fragments.sums(); ++e) {
      int64_t row = fragments.rowOfElement(e);
      Value key = arith::AddIOp::create(b, firstKey, b.i32(j * fragments.columns() + fragments.columnOffset(e)));
      Value inside = arith::CmpIOp::create(b, arith::CmpIPredicate::sle, key, limits[row]);
      if (window) {
        Value before = arith::SubIOp::create(b, limits[row], b.i32(*window));
        inside = b.both(inside, arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, key, before));
      }
      Value score = b.select(inside, b.mulf(b.extract(fragment, e), factor), b.f32(kMasked));
      masked[j].push_back(score);
      largest[row] = b.maxf(largest[row], score);
    }
  for (int64_t row = 0; row < rows; ++row) {
    Value all = b.maxf(state.maxima[row], b.reduce(KernelBuilder::Reduction::MAXNUMF, largest[row], fragments.lanesOfRow()));
    shrink.push_back(b.exp2(b.subf(state.maxima[row], all)));
    state.maxima[row] = all;
    state.sums[row] = b.mulf(state.sums[row], shrink[row]);
  }
  for (auto [j, fragment] : llvm::enumerate(scores)) {
    Values elements;
    for (int64_t e = 0; e < fragments.sums(); ++e) {
      int64_t row = fragments.rowOfElement(e);
      elements.push_back(b.exp2(b.subf(masked[j][e], state.maxima[row])));
      state.sums[row] = b.addf(state.sums[row], elements.back()); // of the lane's columns, until the end
    }
    fragment = vector::FromElementsOp::create(b, fragments.sumType(b), elements);
  }
  for (Value &product : state.products)
    product = scaleRows(b, product, shrink);
}

/// The weights of kInputs keys from `key` on. Where they do not come from registers, all are staged.
SmallVector<Value> MatrixAttention::operandOf(KernelBuilder &b, ArrayRef<Value> weights, int64_t key) const {
  if (fragments.hasMatrixLoads())
    return fragments.operandOf(b, weights.slice(key / fragments.columns(), Fragments::kInputs / fragments.columns()));
  auto ours = StagedRows{keys, b.index(0), kKeyStride}.from(b, b.mul(b.subgroup, Fragments::kRows));
  return fragments.loadA(b, ours, 0, key);
}

/// One block of keys, which are staged; its values are, or come meanwhile, and so do the next block's keys.
MatrixAttention::State MatrixAttention::step(KernelBuilder &b, Value base, Value end, const State &before) const {
  Value copies = async ? copyBlock(b, cache.values, values, base, end) : Value();
  State state = before;
  Values weights = score(b);
  softmax(b, base, weights, state);
  if (!fragments.hasMatrixLoads()) {
    b.barrier(); // the keys are read
    stageFragments(b, weights, kKeyStride);
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

void MatrixAttention::finish(KernelBuilder &b, const State &state) const {
  Values inverse, whole;
  for (Value sum : state.sums)
    inverse.push_back(b.divf(b.f32(1), b.reduce(KernelBuilder::Reduction::ADD, sum, fragments.lanesOfRow())));
  for (Value product : state.products)
    whole.push_back(scaleRows(b, product, inverse));
  b.barrier(); // keys, or weights, are read
  stageFragments(b, whole, stride);
  b.barrier();
  Value count = b.mul(b.sub(last, first), group);
  forPieces(b, [&](Value vector, Value element) {
    b.when(b.less(vector, count), [&] {
      Value piece = b.loadRaw(keys, b.add(b.mul(vector, stride), element));
      b.storeRaw(piece, out.memory, b.add(b.mul(queryRow(b, vector), out.stride), column(b, vector, element)));
    });
  });
}

void MatrixAttention::emitRun(KernelBuilder &b, Value firstOfRun, Value lastOfRun) {
  first = firstOfRun, last = lastOfRun;
  cache = cacheHead(b, type, b.item(StepField::Slots, first), head);
  b.barrier(); // the run before has read what is staged
  forPieces(b, [&](Value vector, Value element) {
    Value place = b.add(b.mul(queryRow(b, vector), query.stride), column(b, vector, element));
    b.storeVector(b.load(query.memory, place, kPiece), queryRows, b.add(b.mul(vector, stride), element));
  });
  b.barrier();
  queries.clear(), limits.clear();
  for (int64_t k = 0; k < dim && queryRows == keys; k += Fragments::kInputs)
    queries.push_back(loadQueries(b, k));
  State state;
  for (int64_t i = 0; i < fragments.rowsOfLane(); ++i) {
    Value position = b.item(StepField::Positions, queryRow(b, rowOfLane(b, i)));
    limits.push_back(b.toI32(b.sub(position, fragments.laneColumn(b))));
    state.maxima.push_back(b.f32(kMasked));
    state.sums.push_back(b.f32(0));
  }
  state.products.append(dim / fragments.columns(), arith::ConstantOp::create(b, b.getZeroAttr(fragments.sumType(b))));
  Value lowest = b.item(StepField::Positions, first), end = b.add(b.item(StepField::Positions, b.sub(last, b.index(1))), 1);
  Value begin = b.index(0);
  if (window)
    begin = b.mul(b.div(b.max(b.index(0), b.sub(lowest, b.index(*window - 1))), kKeyBlock), kKeyBlock);
  Values packed(state.maxima);
  llvm::append_range(packed, state.sums);
  llvm::append_range(packed, state.products);
  size_t rows = fragments.rowsOfLane();
  auto unpack = [rows](ValueRange all) {
    return State{llvm::to_vector(all.take_front(rows)), llvm::to_vector(all.slice(rows, rows)),
                 llvm::to_vector(all.drop_front(2 * rows))};
  };
  if (async) {
    b.barrier(); // queries are read
    arrive(b, copyBlock(b, cache.keys, keys, begin, end));
  }
  auto result = b.loop(begin, end, kKeyBlock, packed, [&](Value base, ValueRange before) {
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
  finish(b, unpack(result));
}

/// The end of the run of rows from `row` on that share its slot, at most `end`.
Value endOfRun(KernelBuilder &b, Value row, Value end) {
  Value slot = b.item(StepField::Slots, row);
  Value found = b.loop(b.add(row, 1), end, 1, {end}, [&](Value candidate, ValueRange before) {
    Value differs = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, b.item(StepField::Slots, candidate), slot);
    return KernelBuilder::Yield{b.select(differs, b.min(before[0], candidate), before[0])};
  })[0];
  return found;
}

} // namespace

bool fitsMatrixAttention(KernelBuilder &b, AttentionOp op) {
  CacheType cache = op.getCache().getType();
  Buffer query = b.buffer(op.getQuery()), out = b.buffer(dest(op));
  int64_t rows = tileSizes(op)[0], group = query.width / cache.getDim() / cache.getHeads();
  return b.device.matrix != MatrixUnit::None && b.subgroups == 4 && !op.getSplits() && rows > 1 && rows * group <= kQueries &&
         (cache.getQuant() || cache.getElementType().isBF16()) && query.vector == kPiece && out.element.isBF16() && out.vector == kPiece &&
         cache.getDim() % Fragments::kInputs == 0 && cache.getDim() <= kMaxDim;
}

void emitMatrixAttention(KernelBuilder &b, AttentionOp op) {
  MatrixAttention attention(b, op);
  int64_t heads = op.getCache().getType().getHeads();
  attention.head = b.rem(b.tile, heads);
  auto [begin, end] = b.tileRange(b.div(b.tile, heads), b.rowsOf(dest(op)), tileSizes(op)[0]);
  Value stop = end;
  scf::WhileOp::create(
      b, TypeRange{b.getIndexType()}, ValueRange{begin},
      [&](OpBuilder &, Location, ValueRange row) { scf::ConditionOp::create(b, b.less(row[0], stop), row); },
      [&](OpBuilder &, Location, ValueRange row) {
        Value last = endOfRun(b, row[0], stop);
        attention.emitRun(b, row[0], last);
        scf::YieldOp::create(b, last);
      });
}

} // namespace qwench::gpu
