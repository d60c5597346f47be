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

/// Pieces of a vector that a thread holds from the first pass over them to the second.
constexpr int64_t kHeldPieces = 4;

void RmsNorm::emit(KernelBuilder &b, Value source, Value out, Value target, bool aligned, Value first, int64_t step,
                   llvm::function_ref<Value(Value)> total) const {
  int64_t n = in.aligned && aligned && count() % kPiece == 0 ? kPiece : 1, pieces = count() / n;
  auto load = [&](Value i) { return b.load(in.memory, b.add(source, b.mul(i, n)), n); };
  auto gain = [&](Value i) { return b.load(weight.memory, b.mul(i, n), n); };
  Value squares = b.splat(b.f32(0), n);
  SmallVector<std::pair<Value, Value>> held; // with their numbers: all are read before anything waits for one
  for (int64_t u = 0; pieces % step == 0 && pieces / step <= kHeldPieces && u < pieces / step; ++u) {
    Value i = b.add(first, u * step);
    held.emplace_back(i, load(i));
  }
  // Gains of several pieces beside them would be more registers than there are.
  Value gainOfOne = held.size() == 1 ? gain(held[0].first) : Value();
  for (auto &[i, x] : held)
    squares = b.fma(x, x, squares);
  if (held.empty())
    squares = b.loop(first, b.index(pieces), step, {squares}, [&](Value i, ValueRange sum) {
      Value x = load(i);
      return KernelBuilder::Yield{b.fma(x, x, sum[0])};
    })[0];
  Value mean = b.divf(total(b.sum(squares)), b.f32(static_cast<double>(count())));
  Value scale = b.divf(b.f32(1), math::SqrtOp::create(b, b.addf(mean, b.f32(eps.convertToFloat()))));
  auto finish = [&](Value i, Value x, Value g) {
    b.storeVector(b.mulf(b.mulf(x, b.splat(scale, n)), g), out, b.add(target, b.mul(i, n)));
  };
  for (auto &[i, x] : held)
    finish(i, x, gainOfOne ? gainOfOne : gain(i));
  if (held.empty())
    b.loop(first, b.index(pieces), step, [&](Value i) { finish(i, load(i), gain(i)); });
}

void emitRmsNorm(KernelBuilder &b, Operation *op) {
  auto norm = cast<RmsNormOp>(op);
  RmsNorm rms{b.buffer(norm.getInput()), b.weight(norm.getWeight()), norm.getEps()};
  Buffer out = b.buffer(dest(op));
  int64_t vectors = rms.in.width / rms.count();
  Value source = b.mul(b.tile, rms.in.stride), target = b.mul(b.tile, out.stride);
  if (vectors == 1)
    return rms.emit(b, source, out.memory, target, out.aligned, b.thread, b.threads(), [&](Value sum) { return b.blockSum(sum); });
  b.forSubgroups(vectors, [&](Value v) { // heads of a row
    Value offset = b.mul(v, rms.count());
    rms.emit(b, b.add(source, offset), out.memory, b.add(target, offset), out.aligned, b.lane, b.device.subgroupSize,
             [&](Value sum) { return b.subgroupSum(sum); });
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
