// Rotary embedding, per-head norms, and the ops that write to the cache.
#include "compiler/target/x86/kernels.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;
using namespace qwench::qwen;

//===-- The table of cosines and sines ----------------------------------------------------------------------------===//

namespace {

/// The frequency of pair `i` at this context length.
class Frequencies {
public:
  Frequencies(KernelBuilder &b, RotaryOp rotary) : b(b), rotary(rotary) {
    base = b.constantTable(b.module, (rotary.getSymName() + ".inv_freq").str(), rotary.getInvFreq());
    if (rotary.getLongInvFreq())
      extended = b.constantTable(b.module, (rotary.getSymName() + ".long_inv_freq").str(), *rotary.getLongInvFreq());
  }

  /// Emits what depends on the context length (index) alone.
  void prepare(Value length) {
    if (rotary.getKind() == RotaryKind::Fixed)
      return;
    int64_t original = *rotary.getOriginalContext();
    beyond = b.less(b.index(original), length);
    if (rotary.getKind() != RotaryKind::Dynamic)
      return;
    // theta * (factor * L / original - (factor - 1)) ^ (D / (D - 2))
    double dim = 2.0 * rotary.getInvFreq().size(), factor = rotary.getFactor()->convertToDouble();
    Value count = arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(length));
    Value ratio = b.subf(b.divf(b.mulf(b.f32(factor), count), b.f32(original)), b.f32(factor - 1));
    Value power = math::PowFOp::create(b, ratio, b.f32(dim / (dim - 2)));
    theta = b.mulf(b.f32(rotary.getTheta()->convertToDouble()), power);
  }

  Value at(Value i) {
    Value normal = b.loadScalar(base, i);
    if (rotary.getKind() == RotaryKind::Fixed)
      return normal;
    Value other = extended ? b.loadScalar(extended, i) : scaled(i);
    return arith::SelectOp::create(b, beyond, other, normal);
  }

private:
  Value scaled(Value i) {
    float dim = 2.0f * rotary.getInvFreq().size();
    Value exponent = b.divf(arith::UIToFPOp::create(b, b.getF32Type(), b.toI32(b.mul(i, 2))), b.f32(dim));
    return b.divf(b.f32(1.0f), math::PowFOp::create(b, theta, exponent));
  }

  KernelBuilder &b;
  RotaryOp rotary;
  Value base, extended, beyond, theta;
};

} // namespace

void x86::emitRopeTable(KernelBuilder &b, Operation *op) {
  auto table = cast<RopeTableOp>(op);
  auto rotary = SymbolTable::lookupNearestSymbolFrom<RotaryOp>(op, table.getRotaryAttr());
  Rows out = b.rows(dest(op));
  int64_t half = rotary.getInvFreq().size();
  Frequencies frequencies(b, rotary);
  forTileRows(b, op, dest(op), [&](Value row) {
    frequencies.prepare(b.item(StepField::ContextLengths, row));
    Value position = arith::SIToFPOp::create(b, b.getF32Type(), b.toI32(b.item(StepField::Positions, row)));
    Value scaling = b.f32(rotary.getScaling().convertToFloat());
    b.loop(half, 1, [&](Value i) {
      Value angle = b.mulf(position, frequencies.at(i)), at = b.add(b.mul(row, out.stride), i);
      b.storeScalar(b.mulf(math::CosOp::create(b, angle), scaling), out.memory, at);
      b.storeScalar(b.mulf(math::SinOp::create(b, angle), scaling), out.memory, b.add(at, half));
    });
  });
}

//===-- Rotation --------------------------------------------------------------------------------------------------===//

namespace {

/// One head, `dim` f32 at `source`: normalised if there is a weight, rotated, stored at `target`.
void rotateHead(KernelBuilder &b, Value in, Value source, const Rows &table, Value tableRow, int64_t dim, Value out,
                Value target, const Weight *norm = nullptr, float eps = 0) {
  int64_t half = dim / 2;
  Value scale = norm ? b.splat(inverseRms(b, in, source, dim, dim, eps)) : Value();
  auto element = [&](Value i) {
    Value x = b.load(in, b.add(source, i));
    return norm ? b.mulf(b.mulf(x, scale), b.load(norm->memory, i)) : x;
  };
  b.loop(half, kLanes, [&](Value i) {
    Value first = element(i), second = element(b.add(i, half));
    Value cosine = b.load(table.memory, b.add(tableRow, i)), sine = b.load(table.memory, b.add(tableRow, b.add(i, half)));
    b.store(b.subf(b.mulf(first, cosine), b.mulf(second, sine)), out, b.add(target, i));
    b.store(b.addf(b.mulf(second, cosine), b.mulf(first, sine)), out, b.add(target, b.add(i, half)));
  });
}

} // namespace

void x86::emitRope(KernelBuilder &b, Operation *op) {
  auto rope = cast<RopeOp>(op);
  Rows in = b.rows(rope.getInput()), table = b.rows(rope.getTable()), out = b.rows(dest(op));
  int64_t dim = cast<MemRefType>(rope.getInput().getType()).getDimSize(2);
  forTileRows(b, op, dest(op), [&](Value row) {
    b.loop(in.width / dim, 1, [&](Value head) {
      Value at = b.mul(head, dim);
      rotateHead(b, in.memory, b.add(b.mul(row, in.stride), at), table, b.mul(row, table.stride), dim, out.memory,
                 b.add(b.mul(row, out.stride), at));
    });
  });
}

void x86::emitCacheWrite(KernelBuilder &b, Operation *op) {
  auto write = cast<CacheWriteOp>(op);
  CacheType cache = write.getCache().getType();
  Rows key = b.rows(write.getKey()), value = b.rows(write.getValue());
  CacheWriter writer(b, cache, 0);
  forTileRows(b, op, {}, [&](Value row) {
    Value slot = b.item(StepField::Slots, row), position = b.item(StepField::Positions, row);
    b.loop(cache.getHeads(), 1, [&](Value head) {
      CacheHead place = cacheHead(b, cache, slot, head);
      Value column = b.mul(head, cache.getDim());
      writer.writeKey(b, place, key.memory, b.add(b.mul(row, key.stride), column), position);
      writer.writeValue(b, place, value.memory, b.add(b.mul(row, value.stride), column), position);
    });
  });
}

Value x86::qkNormRopeCacheTiles(KernelBuilder &b, Operation *op) {
  int64_t heads = cast<QkNormRopeCacheOp>(op).getCache().getType().getHeads();
  return b.mul(b.ceilDiv(b.rowsOf(dest(op)), tileSizes(op)[0]), llvm::divideCeil(heads, tileSizes(op)[1]));
}

void x86::emitQkNormRopeCache(KernelBuilder &b, Operation *op) {
  auto fused = cast<QkNormRopeCacheOp>(op);
  CacheType cache = fused.getCache().getType();
  int64_t dim = cache.getDim(), groups = cache.getHeads();
  Rows qkv = b.rows(fused.getQkv()), table = b.rows(fused.getTable()), out = b.rows(dest(op));
  int64_t heads = out.width / dim, group = heads / groups, headTiles = llvm::divideCeil(groups, tileSizes(op)[1]);
  Weight qNorm = b.weight(fused.getQNorm()), kNorm = b.weight(fused.getKNorm());
  float eps = fused.getEps().convertToFloat();
  Value rotated = b.scratchAt(0, b.getF32Type());
  CacheWriter writer(b, cache, dim * 4);
  auto [begin, end] = b.tileRange(b.div(b.tile, headTiles), b.rowsOf(dest(op)), tileSizes(op)[0]);
  auto [firstHead, lastHead] = b.tileRange(b.rem(b.tile, headTiles), b.index(groups), tileSizes(op)[1]);
  Value from = firstHead, to = lastHead;
  b.loop(begin, end, 1, [&](Value row) {
    Value slot = b.item(StepField::Slots, row), position = b.item(StepField::Positions, row);
    Value source = b.mul(row, qkv.stride), tableRow = b.mul(row, table.stride);
    b.loop(b.mul(from, group), b.mul(to, group), 1, [&](Value head) {
      Value at = b.mul(head, dim);
      rotateHead(b, qkv.memory, b.add(source, at), table, tableRow, dim, out.memory, b.add(b.mul(row, out.stride), at),
                 &qNorm, eps);
    });
    b.loop(from, to, 1, [&](Value head) {
      CacheHead place = cacheHead(b, cache, slot, head);
      Value key = b.add(b.add(source, heads * dim), b.mul(head, dim));
      rotateHead(b, qkv.memory, key, table, tableRow, dim, rotated, b.index(0), &kNorm, eps);
      writer.writeKey(b, place, rotated, b.index(0), position);
      writer.writeValue(b, place, qkv.memory, b.add(key, groups * dim), position);
    });
  });
}
