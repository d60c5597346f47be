// Kernels whose tiles are rows: embedding, norm, elementwise.
#include "compiler/target/x86/kernels.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;
using namespace qwench::qwen;

Value x86::rowTiles(KernelBuilder &b, Operation *op) {
  Value rows = isa<CacheWriteOp>(op) ? b.rowCount() : b.rowsOf(dest(op));
  return b.ceilDiv(rows, tileSizes(op)[0]);
}

void x86::forTileRows(KernelBuilder &b, Operation *op, Value of, llvm::function_ref<void(Value)> body) {
  Value rows = of ? b.rowsOf(of) : b.rowCount();
  auto [begin, end] = b.tileRange(b.tile, rows, tileSizes(op)[0]);
  b.loop(begin, end, 1, body);
}

void x86::emitEmbedding(KernelBuilder &b, Operation *op) {
  auto embedding = cast<EmbeddingOp>(op);
  Weight table = b.weight(embedding.getTable());
  Rows out = b.rows(dest(op));
  int64_t width = table.layout.paddedInputs(table.inputs()), depth = table.layout.getDepth();
  Type element = table.type.getElementType();
  forTileRows(b, op, dest(op), [&](Value row) {
    Value token = b.item(StepField::Tokens, row), target = b.mul(row, out.stride);
    if (table.quant())
      return gatherQuantizedRow(b, table, token, out, target);
    if (!table.layout.isPanels()) {
      b.loop(width, kLanes, [&](Value k) {
        b.store(b.load(table.memory, b.add(b.mul(token, width), k)), out.memory, b.add(target, k));
      });
      return;
    }
    // A row of a panel is one element group per step, a whole step apart.
    Value source = b.add(b.mul(b.div(token, kPanel), table.panelStride()), b.mul(b.rem(token, kPanel), depth));
    b.loop(width / depth, 1, [&](Value step) {
      auto type = VectorType::get({depth}, element);
      Value raw = vector::LoadOp::create(b, type, table.memory, ValueRange{b.add(source, b.mul(step, kPanel * depth))});
      if (!element.isF32())
        raw = arith::ExtFOp::create(b, VectorType::get({depth}, b.getF32Type()), raw);
      vector::StoreOp::create(b, raw, out.memory, ValueRange{b.add(target, b.mul(step, depth))});
    });
  });
}

Value x86::inverseRms(KernelBuilder &b, Value memory, Value at, int64_t width, int64_t count, float eps) {
  auto squares = b.loop(b.index(0), b.index(width), kLanes, {b.splat(0.0f)}, [&](Value i, ValueRange sum) {
    Value x = b.load(memory, b.add(at, i));
    return KernelBuilder::Yield{b.fma(x, x, sum[0])};
  });
  Value mean = b.divf(b.sum(squares[0]), b.f32(static_cast<float>(count)));
  Value root = math::SqrtOp::create(b, b.addf(mean, b.f32(eps)));
  return b.divf(b.f32(1.0f), root);
}

void x86::emitRmsNorm(KernelBuilder &b, Operation *op) {
  auto norm = cast<RmsNormOp>(op);
  Rows in = b.rows(norm.getInput()), out = b.rows(dest(op));
  Weight w = b.weight(norm.getWeight());
  int64_t count = w.type.getDimSize(0), width = padded(count), vectors = in.width / count;
  forTileRows(b, op, dest(op), [&](Value row) {
    b.loop(vectors, 1, [&](Value v) { // heads of a row, or the row itself
      Value source = b.add(b.mul(row, in.stride), b.mul(v, count));
      Value target = b.add(b.mul(row, out.stride), b.mul(v, count));
      Value scale = b.splat(inverseRms(b, in.memory, source, width, count, norm.getEps().convertToFloat()));
      auto normed = [&](Value i) {
        return b.mulf(b.mulf(b.load(in.memory, b.add(source, i)), scale), b.load(w.memory, i));
      };
      if (isa<QuantType>(out.element)) // a row, not heads
        return quantizeRow(b, out, row, normed);
      b.loop(width, kLanes, [&](Value i) { b.store(normed(i), out.memory, b.add(target, i)); });
    });
  });
}

static void emitElementwise(KernelBuilder &b, Operation *op, Value lhs, Value rhs,
                            llvm::function_ref<Value(Value, Value)> combine) {
  Rows x = b.rows(lhs), y = b.rows(rhs), out = b.rows(dest(op));
  forTileRows(b, op, dest(op), [&](Value row) {
    b.loop(padded(out.width), kLanes, [&](Value i) {
      Value value = combine(b.load(x.memory, b.add(b.mul(row, x.stride), i)), b.load(y.memory, b.add(b.mul(row, y.stride), i)));
      b.store(value, out.memory, b.add(b.mul(row, out.stride), i));
    });
  });
}

void x86::emitSwiglu(KernelBuilder &b, Operation *op) {
  auto swiglu = cast<SwigluOp>(op);
  emitElementwise(b, op, swiglu.getGate(), swiglu.getUp(), [&](Value gate, Value up) { return b.swiglu(gate, up); });
}

void x86::emitAdd(KernelBuilder &b, Operation *op) {
  auto add = cast<AddOp>(op);
  emitElementwise(b, op, add.getLhs(), add.getRhs(), [&](Value x, Value y) { return b.addf(x, y); });
}

void x86::emitOutputRows(KernelBuilder &b, Operation *op) {
  auto select = cast<OutputRowsOp>(op);
  Rows in = b.rows(select.getInput()), out = b.rows(dest(op));
  forTileRows(b, op, dest(op), [&](Value row) {
    Value source = b.mul(b.item(StepField::OutputRows, row), in.stride), target = b.mul(row, out.stride);
    b.loop(padded(in.width), kLanes,
           [&](Value i) { b.store(b.load(in.memory, b.add(source, i)), out.memory, b.add(target, i)); });
  });
}
