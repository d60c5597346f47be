// Rotary embedding, per-head norms and the cache's write side.
#include "compiler/target/x86/kernels.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;
using namespace qwench::qwen;

//===-- The table of cosines and sines ----------------------------------------------------------------------------===//

namespace {

/// A constant table of the module, as memref<?xf32>.
Value constantTable(KernelBuilder &b, StringRef name, ArrayRef<float> values) {
  auto type = MemRefType::get({static_cast<int64_t>(values.size())}, b.getF32Type());
  if (!b.module.lookupSymbol(name)) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(b.module.getBody());
    memref::GlobalOp::create(b, name, b.getStringAttr("private"), type,
                             DenseElementsAttr::get(RankedTensorType::get(type.getShape(), b.getF32Type()), values),
                             /*constant=*/true, IntegerAttr());
  }
  Value table = memref::GetGlobalOp::create(b, type, name);
  return memref::CastOp::create(b, b.flat(b.getF32Type()), table);
}

/// The frequency of pair `i` at this context length.
class Frequencies {
public:
  Frequencies(KernelBuilder &b, RotaryOp rotary) : b(b), rotary(rotary) {
    base = constantTable(b, (rotary.getSymName() + ".inv_freq").str(), rotary.getInvFreq());
    if (rotary.getLongInvFreq())
      extended = constantTable(b, (rotary.getSymName() + ".long_inv_freq").str(), *rotary.getLongInvFreq());
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

//===-- The cache -------------------------------------------------------------------------------------------------===//

/// One head's key, contiguous in the cache's element type at `source`, into its lane of a panel.
void writeKey(KernelBuilder &b, const CacheHead &head, Value source, Value at, Value position) {
  Value lane = b.mul(b.rem(position, kPanel), head.depth);
  Value target = b.add(b.add(head.keys, b.mul(b.div(position, kPanel), kPanel * head.dim)), lane);
  auto type = VectorType::get({head.depth}, cast<MemRefType>(head.memory.getType()).getElementType());
  b.loop(head.dim / head.depth, 1, [&](Value step) {
    Value group = vector::LoadOp::create(b, type, source, ValueRange{b.add(at, b.mul(step, head.depth))});
    vector::StoreOp::create(b, group, head.memory, ValueRange{b.add(target, b.mul(step, kPanel * head.depth))});
  });
}

/// One head's value, `dim` f32 at `source`. Rows of one step of two positions belong to different tiles: only the row's
/// own lanes are stored, so that no tile writes what another one owns.
void writeValue(KernelBuilder &b, const CacheHead &head, Value source, Value at, Value position) {
  Value target = b.add(head.values, b.mul(b.div(position, head.depth), head.dim * head.depth));
  if (head.depth == 1) {
    b.loop(head.dim, kLanes, [&](Value i) { b.store(b.load(source, b.add(at, i)), head.memory, b.add(target, i)); });
    return;
  }
  auto words = VectorType::get({kLanes}, b.getI32Type());
  // As integers: a CPU without bf16 would convert each lane of a masked store to f32 and back.
  auto pairs = VectorType::get({2 * kLanes}, b.getI16Type());
  Value halves = b.view(b.field(StepField::Cache, b.flat(b.getI8Type())), b.index(0), b.getI16Type());
  Value odd = b.rem(position, 2);
  SmallVector<bool> evenLanes(2 * kLanes), oddLanes(2 * kLanes);
  for (int64_t i = 0; i < 2 * kLanes; ++i)
    (i % 2 ? oddLanes : evenLanes)[i] = true;
  auto maskType = VectorType::get({2 * kLanes}, b.getI1Type());
  auto mask = [&](ArrayRef<bool> lanes) -> Value { return arith::ConstantOp::create(b, DenseElementsAttr::get(maskType, lanes)); };
  Value isOdd = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, odd, b.index(1));
  Value lanes = arith::SelectOp::create(b, isOdd, mask(oddLanes), mask(evenLanes));
  b.loop(head.dim, kLanes, [&](Value i) {
    Value rounded = b.round(b.load(source, b.add(at, i)), b.getBF16Type());
    Value bits = vector::BitCastOp::create(b, VectorType::get({kLanes}, b.getI16Type()), rounded);
    Value low = arith::ExtUIOp::create(b, words, bits);
    Value high = arith::ShLIOp::create(b, low, arith::ConstantOp::create(b, DenseElementsAttr::get(words, APInt(32, 16))));
    Value both = arith::OrIOp::create(b, low, high);
    Value spread = vector::BitCastOp::create(b, pairs, both);
    vector::MaskedStoreOp::create(b, halves, ValueRange{b.add(target, b.mul(i, 2))}, lanes, spread);
  });
}

} // namespace

CacheHead x86::cacheHead(KernelBuilder &b, CacheType type, Value slot, Value head) {
  CacheHead result;
  result.dim = type.getDim();
  result.depth = type.getElementType().isF32() ? 1 : 2;
  result.memory = b.view(b.field(StepField::Cache, b.flat(b.getI8Type())), b.index(0), type.getElementType());
  Value plane = b.mul(b.field(StepField::CacheCapacity, b.getIndexType()), type.getDim());
  Value layer = b.add(b.mul(slot, type.getLayers()), b.layer);
  Value which = b.add(b.mul(layer, type.getHeads()), head);
  result.keys = b.mul(b.mul(which, 2), plane);
  result.values = b.add(result.keys, plane);
  return result;
}

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
  Value rounded = b.scratchAt(0, cache.getElementType());
  forTileRows(b, op, {}, [&](Value row) {
    Value slot = b.item(StepField::Slots, row), position = b.item(StepField::Positions, row);
    b.loop(cache.getHeads(), 1, [&](Value head) {
      CacheHead place = cacheHead(b, cache, slot, head);
      Value keyAt = b.add(b.mul(row, key.stride), b.mul(head, cache.getDim()));
      b.loop(cache.getDim(), kLanes, [&](Value i) { b.store(b.load(key.memory, b.add(keyAt, i)), rounded, i); });
      writeKey(b, place, rounded, b.index(0), position);
      writeValue(b, place, value.memory, b.add(b.mul(row, value.stride), b.mul(head, cache.getDim())), position);
    });
  });
}

void x86::emitQkNormRopeCache(KernelBuilder &b, Operation *op) {
  auto fused = cast<QkNormRopeCacheOp>(op);
  CacheType cache = fused.getCache().getType();
  int64_t dim = cache.getDim(), groups = cache.getHeads();
  Rows qkv = b.rows(fused.getQkv()), table = b.rows(fused.getTable()), out = b.rows(dest(op));
  int64_t heads = out.width / dim;
  Weight qNorm = b.weight(fused.getQNorm()), kNorm = b.weight(fused.getKNorm());
  float eps = fused.getEps().convertToFloat();
  Value rounded = b.scratchAt(0, cache.getElementType());
  forTileRows(b, op, dest(op), [&](Value row) {
    Value slot = b.item(StepField::Slots, row), position = b.item(StepField::Positions, row);
    Value source = b.mul(row, qkv.stride), tableRow = b.mul(row, table.stride);
    b.loop(heads, 1, [&](Value head) {
      Value at = b.mul(head, dim);
      rotateHead(b, qkv.memory, b.add(source, at), table, tableRow, dim, out.memory, b.add(b.mul(row, out.stride), at),
                 &qNorm, eps);
    });
    b.loop(groups, 1, [&](Value head) {
      CacheHead place = cacheHead(b, cache, slot, head);
      Value key = b.add(b.add(source, heads * dim), b.mul(head, dim));
      rotateHead(b, qkv.memory, key, table, tableRow, dim, rounded, b.index(0), &kNorm, eps);
      writeKey(b, place, rounded, b.index(0), position);
      writeValue(b, place, qkv.memory, b.add(key, groups * dim), position);
    });
  });
}
