// Rotary embedding, per-head norms and the cache's write side. A tile is a row, or some heads of one; a subgroup takes a head at a
// time.
#include "compiler/target/gpu/kernels.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::gpu {

//===-- The table of cosines and sines ----------------------------------------------------------------------------===//

namespace {

/// The frequency of pair `i` at this context length.
class Frequencies {
public:
  Frequencies(KernelBuilder &b, RotaryOp rotary, Value length) : b(b), rotary(rotary) {
    base = b.constantTable((rotary.getSymName() + "_inv_freq").str(), rotary.getInvFreq());
    if (rotary.getLongInvFreq())
      extended = b.constantTable((rotary.getSymName() + "_long_inv_freq").str(), *rotary.getLongInvFreq());
    if (rotary.getKind() == RotaryKind::Fixed)
      return;
    int64_t original = *rotary.getOriginalContext();
    beyond = b.less(b.index(original), length);
    if (rotary.getKind() != RotaryKind::Dynamic)
      return;
    // theta * (factor * L / original - (factor - 1)) ^ (D / (D - 2)); shorter contexts do not look at it.
    double dim = 2.0 * rotary.getInvFreq().size(), factor = rotary.getFactor()->convertToDouble();
    Value count = arith::UIToFPOp::create(b, b.getF64Type(), b.toI32(b.max(length, b.index(original))));
    Value ratio = b.subf(b.divf(b.mulf(f64(factor), count), f64(original)), f64(factor - 1));
    theta = b.mulf(f64(rotary.getTheta()->convertToDouble()), emitPower(b, ratio, f64(dim / (dim - 2))));
  }

  Value at(Value i) {
    Value normal = b.loadScalar(base, i);
    if (rotary.getKind() == RotaryKind::Fixed)
      return normal;
    Value other = extended ? b.loadScalar(extended, i) : scaled(i);
    return b.select(beyond, other, normal);
  }

private:
  Value f64(double value) { return arith::ConstantOp::create(b, b.getF64FloatAttr(value)); }

  Value scaled(Value i) {
    double dim = 2.0 * rotary.getInvFreq().size();
    Value pair = arith::UIToFPOp::create(b, b.getF64Type(), b.toI32(i));
    Value frequency = emitPower(b, theta, b.mulf(pair, f64(-2.0 / dim)));
    return arith::TruncFOp::create(b, b.getF32Type(), frequency);
  }

  KernelBuilder &b;
  RotaryOp rotary;
  Value base, extended, beyond, theta;
};

} // namespace

void emitRopeTable(KernelBuilder &b, Operation *op) {
  auto rotary = SymbolTable::lookupNearestSymbolFrom<RotaryOp>(op, cast<RopeTableOp>(op).getRotaryAttr());
  Buffer out = b.buffer(dest(op));
  int64_t half = rotary.getInvFreq().size();
  Frequencies frequencies(b, rotary, b.item(StepField::ContextLengths, b.tile));
  Value position = arith::SIToFPOp::create(b, b.getF32Type(), b.toI32(b.item(StepField::Positions, b.tile)));
  Value scaling = b.f32(rotary.getScaling().convertToFloat()), target = b.mul(b.tile, out.stride);
  b.forThreads(half, [&](Value i) {
    auto [sine, cosine] = emitSineCosine(b, b.mulf(position, frequencies.at(i)));
    Value at = b.add(target, i);
    b.store(b.mulf(cosine, scaling), out.memory, at);
    b.store(b.mulf(sine, scaling), out.memory, b.add(at, half));
  });
}

//===-- Rotation --------------------------------------------------------------------------------------------------===//

namespace {

/// One head of a row by one subgroup: `dim` f32 at `source`, normalised if there is a weight, rotated, stored at `target`. Lane l
/// takes the pairs l, l + subgroupSize, ...
void rotateHead(KernelBuilder &b, Value row, const Buffer &in, Value source, const Buffer &table, int64_t dim, Value out,
                Value target, const PackedWeight *norm = nullptr, float eps = 0) {
  int64_t half = dim / 2;
  Value tableRow = b.mul(row, table.stride), scale;
  auto raw = [&](Value i) { return b.load(in.memory, b.add(source, i)); };
  if (norm) {
    Value squares = b.loop(b.lane, b.index(half), b.device.subgroupSize, {b.f32(0)}, [&](Value i, ValueRange sum) {
      Value first = raw(i), second = raw(b.add(i, half));
      return KernelBuilder::Yield{b.fma(second, second, b.fma(first, first, sum[0]))};
    })[0];
    Value mean = b.divf(b.subgroupSum(squares), b.f32(static_cast<double>(dim)));
    scale = b.divf(b.f32(1), math::SqrtOp::create(b, b.addf(mean, b.f32(eps))));
  }
  auto element = [&](Value i) { return norm ? b.mulf(b.mulf(raw(i), scale), b.load(norm->memory, i)) : raw(i); };
  b.forLanes(half, [&](Value i) {
    Value j = b.add(i, half), first = element(i), second = element(j);
    Value cosine = b.load(table.memory, b.add(tableRow, i)), sine = b.load(table.memory, b.add(tableRow, j));
    b.store(b.subf(b.mulf(first, cosine), b.mulf(second, sine)), out, b.add(target, i));
    b.store(b.addf(b.mulf(second, cosine), b.mulf(first, sine)), out, b.add(target, j));
  });
}

/// A head's vector as it is to the cache.
void writeHead(KernelBuilder &b, const Buffer &in, Value source, const CacheType &type, const CachePlane &plane, Value position) {
  int64_t dim = type.getDim();
  if (type.getQuant())
    return plane.quantize(b, position, [&](Value column) { return b.inputPiece(in, source, column, dim); });
  Value target = plane.place(b, position);
  b.forLanes(dim, [&](Value i) { b.store(b.load(in.memory, b.add(source, i)), plane.memory, b.add(target, i)); });
}

} // namespace

void emitRope(KernelBuilder &b, Operation *op) {
  auto rope = cast<RopeOp>(op);
  Buffer in = b.buffer(rope.getInput()), table = b.buffer(rope.getTable()), out = b.buffer(dest(op));
  int64_t dim = cast<MemRefType>(rope.getInput().getType()).getDimSize(2);
  b.forSubgroups(in.width / dim, [&](Value head) {
    Value at = b.mul(head, dim);
    rotateHead(b, b.tile, in, b.add(b.mul(b.tile, in.stride), at), table, dim, out.memory, b.add(b.mul(b.tile, out.stride), at));
  });
}

void emitCacheWrite(KernelBuilder &b, Operation *op) {
  auto write = cast<CacheWriteOp>(op);
  CacheType cache = write.getCache().getType();
  Buffer key = b.buffer(write.getKey()), value = b.buffer(write.getValue());
  Value slot = b.item(StepField::Slots, b.tile), position = b.item(StepField::Positions, b.tile);
  b.forSubgroups(cache.getHeads(), [&](Value head) {
    CacheHead place = cacheHead(b, cache, slot, head);
    Value at = b.mul(head, cache.getDim());
    writeHead(b, key, b.add(b.mul(b.tile, key.stride), at), cache, place.keys, position);
    writeHead(b, value, b.add(b.mul(b.tile, value.stride), at), cache, place.values, position);
  });
}

Value qkNormRopeCacheTiles(StepBuilder &host, Operation *op) {
  int64_t heads = cast<QkNormRopeCacheOp>(op).getCache().getType().getHeads();
  return host.mul(host.rowsOf(dest(op)), llvm::divideCeil(heads, tileSizes(op)[1]));
}

/// A tile is tile[1] key/value heads of a row, with the query heads that share them.
void emitQkNormRopeCache(KernelBuilder &b, Operation *op) {
  auto fused = cast<QkNormRopeCacheOp>(op);
  CacheType cache = fused.getCache().getType();
  int64_t dim = cache.getDim(), groups = cache.getHeads();
  Buffer qkv = b.buffer(fused.getQkv()), table = b.buffer(fused.getTable()), out = b.buffer(dest(op));
  int64_t heads = out.width / dim, group = heads / groups, headTiles = llvm::divideCeil(groups, tileSizes(op)[1]);
  PackedWeight qNorm = b.weight(fused.getQNorm()), kNorm = b.weight(fused.getKNorm());
  float eps = fused.getEps().convertToFloat();
  Value row = b.div(b.tile, headTiles), slot = b.item(StepField::Slots, row), position = b.item(StepField::Positions, row);
  auto [firstHead, lastHead] = b.tileRange(b.rem(b.tile, headTiles), b.index(groups), tileSizes(op)[1]);
  Value begin = firstHead, end = lastHead, source = b.mul(row, qkv.stride), queries = b.mul(b.sub(end, begin), group);
  auto rotateQuery = [&](Value head) {
    Value at = b.mul(head, dim);
    rotateHead(b, row, qkv, b.add(source, at), table, dim, out.memory, b.add(b.mul(row, out.stride), at), &qNorm, eps);
  };
  auto keyOf = [&](Value head) { return b.add(b.add(source, heads * dim), b.mul(head, dim)); };
  if (!cache.getQuant()) { // queries, then keys with their values: one after another, where there are fewer than subgroups
    b.forSubgroups(b.add(queries, b.sub(end, begin)), [&](Value i) {
      Value isQuery = b.less(i, queries);
      b.when(isQuery, [&] { rotateQuery(b.add(b.mul(begin, group), i)); });
      b.when(b.less(queries, b.add(i, 1)), [&] {
        Value head = b.add(begin, b.sub(i, queries));
        CacheHead place = cacheHead(b, cache, slot, head);
        rotateHead(b, row, qkv, keyOf(head), table, dim, place.keys.memory, place.keys.place(b, position), &kNorm, eps);
        writeHead(b, qkv, b.add(keyOf(head), groups * dim), cache, place.values, position);
      });
    });
    return;
  }
  b.forSubgroups(queries, [&](Value i) { rotateQuery(b.add(b.mul(begin, group), i)); });
  // A group of a key is of lanes that rotated other pairs: keys pass through workgroup memory. All subgroups make as many rounds.
  Value rotated = b.shared(b.subgroups * dim, b.getF32Type()), mine = b.mul(b.subgroup, dim);
  b.loop(begin, end, b.subgroups, [&](Value first) {
    Value head = b.add(first, b.subgroup), inside = b.less(head, end);
    b.when(inside, [&] { rotateHead(b, row, qkv, keyOf(head), table, dim, rotated, mine, &kNorm, eps); });
    b.barrier();
    b.when(inside, [&] {
      CacheHead place = cacheHead(b, cache, slot, head);
      place.keys.quantize(b, position, [&](Value column) { return b.load(rotated, b.add(mine, column), kPiece); });
      writeHead(b, qkv, b.add(keyOf(head), groups * dim), cache, place.values, position);
    });
    b.barrier();
  });
}

} // namespace qwench::gpu
