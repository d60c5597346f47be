#include "compiler/target/gpu/attention_tile.h"

#include "compiler/target/gpu/kernels.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::gpu {

AttentionTile::AttentionTile(KernelBuilder &b, AttentionOp op)
    : type(op.getCache().getType()), fragments(b), dim(type.getDim()), stride(dim + kPiece), window(op.getWindow()),
      scale(op.getScale().convertToFloat() * 1.4426950408889634), query(b.buffer(op.getQuery())), out(b.buffer(dest(op))),
      group(query.width / dim / type.getHeads()) {}

//===-- Rows and keys ---------------------------------------------------------------------------------------------===//

/// The end of the run of rows from `row` on that share its slot, at most `end`.
static Value endOfRun(KernelBuilder &b, Value row, Value end) {
  Value slot = b.item(StepField::Slots, row);
  Value found = b.loop(b.add(row, 1), end, 1, {end}, [&](Value candidate, ValueRange before) {
    Value differs = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, b.item(StepField::Slots, candidate), slot);
    return KernelBuilder::Yield{b.select(differs, b.min(before[0], candidate), before[0])};
  })[0];
  return found;
}

void AttentionTile::forRuns(KernelBuilder &b, AttentionOp op, llvm::function_ref<void()> emit) {
  int64_t heads = type.getHeads();
  head = b.rem(b.tile, heads);
  auto [begin, end] = b.tileRange(b.div(b.tile, heads), b.rowsOf(dest(op)), tileSizes(op)[0]);
  Value stop = end;
  scf::WhileOp::create(
      b, TypeRange{b.getIndexType()}, ValueRange{begin},
      [&](OpBuilder &, Location, ValueRange row) { scf::ConditionOp::create(b, b.less(row[0], stop), row); },
      [&](OpBuilder &, Location, ValueRange row) {
        first = row[0], last = endOfRun(b, row[0], stop);
        cache = cacheHead(b, type, b.item(StepField::Slots, first), head);
        emit();
        scf::YieldOp::create(b, last);
      });
}

/// Query vector of the lane's row `i` of a fragment, of the tile.
Value AttentionTile::rowOfLane(KernelBuilder &b, int64_t i) const {
  int64_t element = 0;
  while (fragments.rowOfElement(element) != i)
    ++element;
  return b.add(b.add(b.mul(b.subgroup, Fragments::kRows), fragments.laneRow(b)), fragments.rowOffset(element));
}

AttentionTile::Maxima AttentionTile::beginRows(KernelBuilder &b) {
  limits.clear();
  Maxima state;
  for (int64_t i = 0; i < fragments.rowsOfLane(); ++i) {
    Value position = b.item(StepField::Positions, queryRow(b, rowOfLane(b, i)));
    limits.push_back(b.toI32(b.sub(position, fragments.laneColumn(b))));
    state.maxima.push_back(b.f32(kMasked));
    state.sums.push_back(b.f32(0));
  }
  return state;
}

std::pair<Value, Value> AttentionTile::keysOfRun(KernelBuilder &b) const {
  Value lowest = b.item(StepField::Positions, first), end = b.add(b.item(StepField::Positions, b.sub(last, b.index(1))), 1);
  Value begin = b.index(0);
  if (window)
    begin = b.mul(b.div(b.max(b.index(0), b.sub(lowest, b.index(*window - 1))), kKeyBlock), kKeyBlock);
  return {begin, end};
}

//===-- Staging ---------------------------------------------------------------------------------------------------===//

void AttentionTile::forPieces(KernelBuilder &b, llvm::function_ref<void(Value, Value)> body) const {
  int64_t pieces = dim / kPiece;
  b.forThreads(kKeyBlock * pieces, [&](Value i) { body(b.div(i, pieces), b.mul(b.rem(i, pieces), kPiece)); });
}

void AttentionTile::stageQueries(KernelBuilder &b, Value memory, llvm::function_ref<Value(Value, Value)> place) const {
  forPieces(b, [&](Value vector, Value element) {
    Value from = b.add(b.mul(queryRow(b, vector), query.stride), column(b, vector, element));
    b.storeVector(b.load(query.memory, from, kPiece), memory, place(vector, element));
  });
}

void AttentionTile::stageFragments(KernelBuilder &b, ArrayRef<Value> sums, Value memory, int64_t rowStride) const {
  Value row = b.add(b.mul(b.subgroup, Fragments::kRows), fragments.laneRow(b));
  Value first = b.add(b.mul(row, rowStride), fragments.laneColumn(b));
  for (auto [j, fragment] : llvm::enumerate(sums))
    for (int64_t e = 0; e < fragments.sums(); ++e) {
      int64_t offset = fragments.rowOffset(e) * rowStride + fragments.columnOffset(e) + j * fragments.columns();
      b.store(b.extract(fragment, e), memory, b.add(first, offset));
    }
}

//===-- Softmax ---------------------------------------------------------------------------------------------------===//

Value AttentionTile::scaleRows(KernelBuilder &b, Value fragment, ArrayRef<Value> factors) const {
  Values elements;
  for (int64_t e = 0; e < fragments.sums(); ++e)
    elements.push_back(factors[fragments.rowOfElement(e)]);
  return b.mulf(fragment, vector::FromElementsOp::create(b, fragments.sumType(b), elements));
}

SmallVector<Value> AttentionTile::softmax(KernelBuilder &b, Value base, Values &scores, Maxima &state) const {
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
  return shrink;
}

void AttentionTile::finish(KernelBuilder &b, ArrayRef<Value> products, ArrayRef<Value> sums, Value memory) const {
  Values inverse, whole;
  for (Value sum : sums)
    inverse.push_back(b.divf(b.f32(1), b.reduce(KernelBuilder::Reduction::ADD, sum, fragments.lanesOfRow())));
  for (Value product : products)
    whole.push_back(scaleRows(b, product, inverse));
  b.barrier();
  stageFragments(b, whole, memory, stride);
  b.barrier();
  Value count = b.mul(b.sub(last, first), group);
  forPieces(b, [&](Value vector, Value element) {
    b.when(b.less(vector, count), [&] {
      Value piece = b.loadRaw(memory, b.add(b.mul(vector, stride), element));
      b.storeRaw(piece, out.memory, b.add(b.mul(queryRow(b, vector), out.stride), column(b, vector, element)));
    });
  });
}

} // namespace qwench::gpu
