// A panel stays in the second-level cache while all rows pass: K = 1024 in bf16 is a panel of 64 KiB, read at 5 bytes a
// cycle by 12-row blocks. Panels of groups go by in pieces that fit the first level beside the rows of a block.
#include "compiler/target/x86/panel_product.h"

#include "compiler/target/x86/group_kernel.h"
#include "compiler/target/x86/kernels.h"
#include "compiler/target/x86/tile_kernel.h"
#include "compiler/target/x86/widen_kernel.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;

namespace {

// Scratch: offsets of the rows, their products, and a piece of an unpacked panel.
constexpr int64_t kOffsetsAt = 0;
constexpr int64_t kProductsAt = kOffsetsAt + 8 * kMaxListedRows;
constexpr int64_t kUnpackedAt = kProductsAt + 4 * kPanel * kMaxListedRows;
// Rows that do not follow one another are gathered beside the piece.
constexpr int64_t kGatheredAt = kUnpackedAt + PanelProduct::kMaxPieceBytes;
constexpr int64_t kGatheredStride = PanelProduct::kMaxInputs + 32;
constexpr int64_t kGatheredOffsetsAt = kGatheredAt + 2 * kMaxTileBlock * kGatheredStride;
static_assert(kGatheredOffsetsAt + 8 * kMaxRowBlock <= kScratchBytes);

/// Adds the products of rows of quantized activations with groups of a panel to C.
struct GroupSum {
  Value a, offsets, c, count;
  int64_t columns; ///< K'

  void emit(KernelBuilder &b, const PanelFormat &format, Value panel, Value at, Value firstGroup, Value groups, bool stream) const {
    GroupProduct product{format, a, offsets, b.mul(firstGroup, format.group),
                         b.add(b.mul(firstGroup, kGroupFacts), columns), panel, at, groups, c, stream};
    forRowBlocks(b, b.index(0), count, groupRowBlocks(b.machine, format),
                 [&](Value row, int64_t rows) { emitGroupProduct(b, product, row, rows, b.mul(row, kPanel)); });
  }
};

} // namespace

void PanelProduct::listRows(KernelBuilder &b, Value count, llvm::function_ref<Value(Value)> number) const {
  Value offsets = b.scratchAt(kOffsetsAt, b.getI64Type());
  b.loop(b.index(0), count, 1, [&](Value i) {
    Value start = b.mul(number(i), in.stride);
    b.storeScalar(arith::IndexCastOp::create(b, b.getI64Type(), start), offsets, i);
  });
}

void PanelProduct::emit(KernelBuilder &b, Value start, Value count, Finish finish) const {
  if (isa<qwen::QuantType>(in.element))
    return emitGroups(b, start, count, finish);
  if (weight.quant() || (b.machine.tiles && in.element.isBF16() && weight.type.getElementType().isBF16()))
    return emitPieces(b, start, count, finish);
  emitFloats(b, start, count, finish);
}

void PanelProduct::emitFloats(KernelBuilder &b, Value start, Value count, Finish finish) const {
  Value offsets = b.scratchAt(kOffsetsAt, b.getI64Type()), products = b.scratchAt(kProductsAt, b.getF32Type());
  int64_t depth = weight.layout.getDepth();
  Product product{in.memory, offsets, weight.memory, start, kPanel * depth, kLanes * depth, depth,
                  weight.columns() / depth, products, kPanel, false, true};
  forRowBlocks(b, b.index(0), count, [&](Value row, int64_t rows) {
    emitProduct(b, product, row, rows, b.index(0));
    b.loop(rows, 1, [&](Value r) {
      Value at = b.mul(r, kPanel);
      finish(b.add(row, r), b.load(products, at), b.load(products, b.add(at, kLanes)));
    });
  });
}

void PanelProduct::emitGroups(KernelBuilder &b, Value start, Value count, Finish finish) const {
  auto format = PanelFormat::of(weight.quant(), cast<qwen::QuantType>(in.element).getGroup());
  int64_t columns = weight.layout.paddedInputs(weight.inputs()), groups = columns / format.group;
  Value products = b.scratchAt(kProductsAt, b.getF32Type());
  GroupSum sum{in.memory, b.scratchAt(kOffsetsAt, b.getI64Type()), products, count, columns};
  b.loop(b.index(0), b.mul(count, kPanel), kLanes, [&](Value i) { b.store(b.splat(0.0f), products, i); });
  Value first = b.add(start, format.headerBytes());
  auto direct = [&](Value group, Value some) {
    sum.emit(b, format, weight.memory, b.add(first, b.mul(group, format.groupBytes())), group, some, true);
  };
  PanelFormat wide = format.bits == 4 ? format.unpacked(b.getContext()) : format;
  int64_t piece = inputs / format.group;
  auto byPieces = [&] {
    b.loop(b.index(0), b.index(groups), piece, [&](Value group) {
      Value some = b.min(b.index(piece), b.sub(b.index(groups), group));
      if (format.bits == 8)
        return direct(group, some);
      Value unpacked = b.scratchAt(kUnpackedAt, b.getI8Type());
      emitUnpack(b, format, weight.memory, b.add(first, b.mul(group, format.groupBytes())), some, unpacked, b.index(0));
      sum.emit(b, wide, unpacked, b.index(0), group, some, false);
    });
  };
  // Few rows read the panel as it lies in memory, one sequential stream; many unpack it once.
  Value few = arith::CmpIOp::create(b, arith::CmpIPredicate::ule, count, b.index(groupRowBlocks(b.machine, format).front()));
  b.choose(few, [&] { direct(b.index(0), b.index(groups)); }, byPieces);

  finishRows(b, start, count, format.rowScales, format.sumFactor(), finish);
}

void PanelProduct::finishRows(KernelBuilder &b, Value start, Value count, bool rowScales, float factor, Finish finish) const {
  Value products = b.scratchAt(kProductsAt, b.getF32Type());
  Halves scales;
  if (rowScales)
    scales = readRowScales(b, weight.memory, start);
  b.loop(b.index(0), count, 1, [&](Value row) {
    Value at = b.mul(row, kPanel);
    Halves y = {b.load(products, at), b.load(products, b.add(at, kLanes))};
    if (rowScales)
      y = {b.mulf(y[0], scales[0]), b.mulf(y[1], scales[1])};
    if (factor != 1)
      y = {b.mulf(y[0], b.splat(factor)), b.mulf(y[1], b.splat(factor))};
    finish(row, y[0], y[1]);
  });
}

void PanelProduct::emitPieces(KernelBuilder &b, Value start, Value count, Finish finish) const {
  Value products = b.scratchAt(kProductsAt, b.getF32Type());
  b.loop(b.index(0), b.mul(count, kPanel), kLanes, [&](Value i) { b.store(b.splat(0.0f), products, i); });
  int64_t columns = weight.columns();
  int64_t whole = columns / inputs * inputs;
  b.loop(whole, inputs, [&](Value first) { emitPiece(b, start, first, inputs, count); });
  if (whole < columns)
    emitPiece(b, start, b.index(whole), columns - whole, count);
  finishRows(b, start, count, weight.quant() && hasRowScales(weight.quant()), 1, finish);
}

/// Copies columns [first, first + columns) of `rows` listed rows from `row` on beside one another.
Value PanelProduct::gatherRows(KernelBuilder &b, Value row, int64_t rows, Value first, int64_t columns) const {
  Value offsets = b.scratchAt(kOffsetsAt, b.getI64Type()), gathered = b.scratchAt(kGatheredAt, b.getBF16Type());
  auto type = VectorType::get({kTileColumns}, b.getBF16Type());
  b.loop(rows, 1, [&](Value r) {
    Value from = b.add(b.toIndex(b.loadScalar(offsets, b.add(row, r))), first), to = b.mul(r, kGatheredStride);
    b.loop(columns, kTileColumns, [&](Value c) {
      Value some = vector::LoadOp::create(b, type, in.memory, ValueRange{b.add(from, c)});
      vector::StoreOp::create(b, some, gathered, ValueRange{b.add(to, c)});
    });
  });
  return gathered;
}

/// Adds the products of columns [first, first + columns).
void PanelProduct::emitPiece(KernelBuilder &b, Value start, Value first, int64_t columns, Value count) const {
  Value offsets = b.scratchAt(kOffsetsAt, b.getI64Type()), products = b.scratchAt(kProductsAt, b.getF32Type());
  Value panel = weight.memory, panelAt = b.add(start, b.mul(first, kPanel));
  if (weight.quant()) {
    panel = b.scratchAt(kUnpackedAt, in.element), panelAt = b.index(0);
    emitWiden(b, weight, start, first, b.index(columns), panel);
  }
  auto rowAt = [&](Value row) { return b.add(b.toIndex(b.loadScalar(offsets, row)), first); };
  int64_t depth = in.element.isF32() ? 1 : 2;
  Product product{in.memory, {}, panel, panelAt, kPanel * depth, kLanes * depth, depth, columns / depth, products, kPanel, true,
                  !weight.quant()};
  auto tiles = [&](Value row, int64_t rows) {
    TileProduct tile{product, {}, in.stride};
    if (consecutive)
      tile.aStart = rowAt(row);
    else
      tile.product.a = gatherRows(b, row, rows, first, columns), tile.aStart = b.index(0), tile.aStride = kGatheredStride;
    auto multiply = [&](bool stream) {
      tile.product.stream = stream;
      emitTileProduct(b, tile, rows, b.mul(row, kPanel));
    };
    if (weight.quant())
      return multiply(false);
    // The first block reads the piece from memory, the others from a cache.
    Value fromMemory = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, row, b.index(0));
    b.choose(fromMemory, [&] { multiply(true); }, [&] { multiply(false); });
  };
  auto micro = [&](Value row, int64_t rows) {
    // The micro-kernels take a list of rows; this one starts at the piece.
    product.rowOffsets = b.scratchAt(kGatheredOffsetsAt, b.getI64Type());
    b.loop(rows, 1, [&](Value r) {
      b.storeScalar(arith::IndexCastOp::create(b, b.getI64Type(), rowAt(b.add(row, r))), product.rowOffsets, r);
    });
    emitProduct(b, product, b.index(0), rows, b.mul(row, kPanel));
  };
  if (tilesFit(b, product))
    forTileBlocks(b, count, tiles, micro);
  else
    forRowBlocks(b, b.index(0), count, micro);
}
