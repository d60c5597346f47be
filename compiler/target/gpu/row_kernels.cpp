// Kernels whose tiles are rows: embedding, norm, elementwise.
#include "compiler/target/gpu/kernels.h"
#include "compiler/target/gpu/weight_rows.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::gpu {

Value rowTiles(StepBuilder &host, Operation *op) { return isa<CacheWriteOp>(op) ? host.rowCount() : host.rowsOf(dest(op)); }

/// The row's token. A step that is enqueued before its tokens are known may be given -1, which was not to be drawn: its result
/// is nobody's, but it reads memory that there is.
static Value tokenOf(KernelBuilder &b) { return b.max(b.item(StepField::Tokens, b.tile), b.index(0)); }

/// A row of a quantized table: the lane of its panel, a piece of columns for each thread.
static void gatherQuantized(KernelBuilder &b, const PackedWeight &table, const Buffer &out) {
  WeightPanel panel(b, table);
  auto [number, lane] = panel.place(b, tokenOf(b));
  Value start = panel.start(b, b.index(0), number), target = b.mul(b.tile, out.stride);
  auto ofLane = [&, lane = lane](ValueRange rows) {
    Value mine = rows[0];
    for (size_t row = 1; row < rows.size(); ++row)
      mine = b.select(b.equal(lane, b.index(row)), rows[row], mine);
    return mine;
  };
  auto rowScales = panel.rowScales(b, start);
  b.forThreads(llvm::divideCeil(out.width, kPiece), [&](Value i) {
    Value column = b.mul(i, kPiece), value = ofLane(panel.values(b, panel.load(b, start, column)));
    if (!rowScales.empty())
      value = b.mulf(value, b.splat(ofLane(rowScales), kPiece));
    if (out.vector == kPiece)
      return b.storeVector(value, out.memory, b.add(target, column));
    for (int64_t j = 0; j < kPiece; ++j)
      b.when(b.less(b.add(column, j), b.index(out.width)),
             [&] { b.store(b.extract(value, j), out.memory, b.add(b.add(target, column), j)); });
  });
}

void emitEmbedding(KernelBuilder &b, Operation *op) {
  PackedWeight table = b.weight(cast<EmbeddingOp>(op).getTable());
  Buffer out = b.buffer(dest(op));
  if (table.quant())
    return gatherQuantized(b, table, out);
  WeightRows rows(table);
  Value source = rows.start(b, b.index(0), tokenOf(b));
  Value target = b.mul(b.tile, out.stride);
  b.forThreads(out.width / out.vector, [&](Value i) {
    Value column = b.mul(i, out.vector);
    b.storeVector(b.load(table.memory, rows.place(b, source, column), out.vector), out.memory, b.add(target, column));
  });
}

namespace {

/// Sum of squares of the elements from `start` on that the threads `first`, `first + step`, ... take.
Value squares(KernelBuilder &b, const Buffer &in, Value start, int64_t count, int64_t n, Value first, int64_t step) {
  Value zero = b.splat(b.f32(0), n);
  Value sums = b.loop(first, b.index(count / n), step, {zero}, [&](Value i, ValueRange sum) {
    Value x = b.load(in.memory, b.add(start, b.mul(i, n)), n);
    return KernelBuilder::Yield{b.fma(x, x, sum[0])};
  })[0];
  return b.sum(sums);
}

Value inverseRoot(KernelBuilder &b, Value sum, int64_t count, llvm::APFloat eps) {
  Value mean = b.divf(sum, b.f32(static_cast<double>(count)));
  return b.divf(b.f32(1), math::SqrtOp::create(b, b.addf(mean, b.f32(eps.convertToFloat()))));
}

} // namespace

void emitRmsNorm(KernelBuilder &b, Operation *op) {
  auto norm = cast<RmsNormOp>(op);
  Buffer in = b.buffer(norm.getInput()), out = b.buffer(dest(op));
  PackedWeight weight = b.weight(norm.getWeight());
  int64_t count = weight.type.getDimSize(0), vectors = in.width / count;
  int64_t n = in.aligned && out.aligned && count % kPiece == 0 ? kPiece : 1;
  Value source = b.mul(b.tile, in.stride), target = b.mul(b.tile, out.stride);
  auto scaleAll = [&](Value offset, Value scale, Value first, int64_t step) {
    b.loop(first, b.index(count / n), step, [&](Value i) {
      Value column = b.mul(i, n), at = b.add(offset, column);
      Value x = b.mulf(b.load(in.memory, b.add(source, at), n), b.splat(scale, n));
      b.storeVector(b.mulf(x, b.load(weight.memory, column, n)), out.memory, b.add(target, at));
    });
  };
  if (vectors == 1) {
    Value sum = b.blockSum(squares(b, in, source, count, n, b.thread, b.threads()));
    return scaleAll(b.index(0), inverseRoot(b, sum, count, norm.getEps()), b.thread, b.threads());
  }
  b.forSubgroups(vectors, [&](Value v) { // heads of a row
    Value offset = b.mul(v, count);
    Value sum = b.subgroupSum(squares(b, in, b.add(source, offset), count, n, b.lane, b.device.subgroupSize));
    scaleAll(offset, inverseRoot(b, sum, count, norm.getEps()), b.lane, b.device.subgroupSize);
  });
}

static void emitElementwise(KernelBuilder &b, Operation *op, Value lhs, Value rhs,
                            llvm::function_ref<Value(Value, Value)> combine) {
  Buffer x = b.buffer(lhs), y = b.buffer(rhs), out = b.buffer(dest(op));
  int64_t n = std::min({x.vector, y.vector, out.vector});
  b.forThreads(out.width / n, [&](Value i) {
    Value column = b.mul(i, n);
    auto at = [&](const Buffer &buffer) { return b.add(b.mul(b.tile, buffer.stride), column); };
    b.storeVector(combine(b.load(x.memory, at(x), n), b.load(y.memory, at(y), n)), out.memory, at(out));
  });
}

void emitSwiglu(KernelBuilder &b, Operation *op) {
  auto swiglu = cast<SwigluOp>(op);
  emitElementwise(b, op, swiglu.getGate(), swiglu.getUp(), [&](Value gate, Value up) { return b.swiglu(gate, up); });
}

void emitAdd(KernelBuilder &b, Operation *op) {
  auto add = cast<AddOp>(op);
  emitElementwise(b, op, add.getLhs(), add.getRhs(), [&](Value x, Value y) { return b.addf(x, y); });
}

void emitOutputRows(KernelBuilder &b, Operation *op) {
  Buffer in = b.buffer(cast<OutputRowsOp>(op).getInput()), out = b.buffer(dest(op));
  int64_t n = std::min(in.vector, out.vector);
  Value source = b.mul(b.item(StepField::OutputRows, b.tile), in.stride), target = b.mul(b.tile, out.stride);
  b.forThreads(out.width / n, [&](Value i) {
    Value column = b.mul(i, n);
    b.storeVector(b.load(in.memory, b.add(source, column), n), out.memory, b.add(target, column));
  });
}

} // namespace qwench::gpu
