// A panel stays in the second-level cache while all rows pass: K = 1024 in bf16 is a panel of 64 KiB, read at 5 bytes a
// cycle by 12-row blocks. Panels of groups go by in pieces that fit the first level beside the rows of a block.
#include "compiler/target/x86/panel_product.h"

#include "compiler/target/x86/e4m3_kernel.h"
#include "compiler/target/x86/group_tile_kernel.h"
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
// Offsets of a block of rows in one piece, and rows gathered for tiles: a tile's rows in different sets of the cache.
constexpr int64_t kPieceOffsetsAt = kUnpackedAt + PanelProduct::kMaxPieceBytes;
// Scales of a panel's rows in units, and what units are divided by: of panels that are unpacked in pairs of groups.
constexpr int64_t kRowScalesAt = kPieceOffsetsAt + 512;
constexpr int64_t kUnitInversesAt = kRowScalesAt + 4 * kPanel;
constexpr int64_t kGroupSumsAt = kPieceOffsetsAt + 1024;
constexpr int64_t kGatheredAt = kGroupSumsAt + 4 * kGroupTileSums;
static_assert(kPieceOffsetsAt + 8 * kMaxRowBlock <= kRowScalesAt && kUnitInversesAt + 4 * kPanel <= kGroupSumsAt);
static_assert(kGroupSumsAt % 64 == 0 && kGatheredAt < kScratchBytes);

/// Adds the products of rows of quantized activations with groups of a panel to C.
struct GroupSum {
  GroupTileProduct tiles; ///< of all groups: `product` with row offsets, and where rows are consecutive or gathered
  Value count;
  qwen::QuantType rows;   ///< of A
  int64_t columns;        ///< K'
  bool consecutive, gathered;

  void emit(KernelBuilder &b, const PanelFormat &format, Value panel, Value at, Value firstGroup, Value groups, bool stream) const {
    GroupTileProduct tile = tiles;
    GroupProduct &product = tile.product;
    product.format = format, product.b = panel, product.bStart = at, product.groups = groups, product.stream = stream;
    product.codesAt = b.mul(firstGroup, format.group);
    product.scalesAt = b.add(b.mul(b.div(firstGroup, product.groupsPerScale), 4), rows.rowScalesAt(columns));
    product.sumsAt = b.add(b.mul(firstGroup, 4), rows.rowSumsAt(columns));
    // The first block asks for the panel's codes from memory; the others find them in a cache.
    auto micro = [&](Value row, int64_t rows) {
      auto multiply = [&](bool streams) {
        product.stream = streams;
        emitGroupProduct(b, product, row, rows, b.mul(row, kPanel));
      };
      if (!stream)
        return multiply(false);
      Value first = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, row, b.index(0));
      b.choose(first, [&] { multiply(true); }, [&] { multiply(false); });
    };
    auto microBlocks = groupRowBlocks(b.machine, format);
    if (!groupTilesFit(b.machine, format.group) || format.bits != 8 || !(consecutive || gathered))
      return forRowBlocks(b, b.index(0), count, microBlocks, micro);
    if (gathered) {
      tile.aStart = b.index(0);
      return forWholeTiles(b, count, kMostTileRows,
                           [&](int64_t rows) { emitGroupTileProduct(b, tile, rows, b.index(1), b.index(0)); });
    }
    forTileBlocks(
        b, count, microBlocks,
        [&](Value row, int64_t rows, Value times) {
          firstBlockApart(b, row, rows, times, [&](Value row, Value times, bool first) {
            tile.product.stream = stream && first;
            tile.aStart = b.toIndex(b.loadScalar(product.rowOffsets, row));
            emitGroupTileProduct(b, tile, rows, times, b.mul(row, kPanel));
          });
          tile.product.stream = stream;
        },
        micro);
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
    return emitGroups(b, start, count, /*gathered=*/false, finish);
  if (!weight.quant() && !(b.machine.tiles && in.element.isBF16() && weight.type.getElementType().isBF16()))
    return emitFloats(b, start, count, finish);
  if (weight.quant() && in.element.isF32() && !weight.quant().isInteger())
    return b.choose(
        b.less(count, b.index(kMostE4M3Rows + 1)), [&] { emitCodes(b, start, count, finish); },
        [&] { emitPieces(b, start, count, finish); });
  if (!weight.quant() || !gatheredRows(b))
    return emitPieces(b, start, count, finish);
  // Few rows are no block of tiles as they lie.
  b.choose(
      b.less(count, b.index(kMinTileBlock + 1)),
      [&] {
        gather(b, count);
        emitGathered(b, start, count, finish);
      },
      [&] { emitPieces(b, start, count, finish); });
}

void PanelProduct::emitFloats(KernelBuilder &b, Value start, Value count, Finish finish) const {
  Value offsets = b.scratchAt(kOffsetsAt, b.getI64Type()), products = b.scratchAt(kProductsAt, b.getF32Type());
  int64_t depth = weight.layout.getDepth();
  Product product{in.memory, offsets, weight.memory, start, kPanel * depth, kLanes * depth, depth,
                  weight.columns() / depth, products, kPanel, false, true};
  // The first block waits for the panel, the second one has the next panel come meanwhile.
  const int64_t most = rowBlocks(b.machine).front(), bytes = weight.panelStride() * weight.type.getElementTypeBitWidth() / 8;
  auto multiply = [&](Value row, int64_t rows, int64_t nextPanel) {
    product.nextPanel = nextPanel;
    emitProduct(b, product, row, rows, b.index(0));
  };
  forRowBlocks(b, b.index(0), count, [&](Value row, int64_t rows) {
    if (rows < most)
      multiply(row, rows, 0);
    else
      b.choose(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, row, b.index(most)), [&] { multiply(row, rows, bytes); },
               [&] { multiply(row, rows, 0); });
    b.loop(rows, 1, [&](Value r) {
      Value at = b.mul(r, kPanel);
      finish(b.add(row, r), b.load(products, at), b.load(products, b.add(at, kLanes)));
    });
  });
}

void PanelProduct::emitGroups(KernelBuilder &b, Value start, Value count, bool gathered, Finish finish) const {
  auto rows = cast<qwen::QuantType>(in.element);
  auto format = PanelFormat::of(weight.quant(), rows.sumColumns());
  int64_t columns = weight.layout.paddedInputs(weight.inputs()), groups = columns / format.group;
  Value products = b.scratchAt(kProductsAt, b.getF32Type());
  GroupProduct product{format, rows.getGroup() / format.group, in.memory, b.scratchAt(kOffsetsAt, b.getI64Type()),
                       {}, {}, {}, {}, {}, {}, products};
  GroupTileProduct tiles{product, {}, in.stride, b.scratchAt(kGroupSumsAt, b.getI32Type())};
  if (gathered)
    tiles.product.a = b.scratchAt(kGatheredAt, b.getI8Type()), tiles.aStride = gatheredStride();
  GroupSum sum{tiles, count, rows, columns, consecutive, gathered};
  b.loop(b.index(0), b.mul(count, kPanel), kLanes, [&](Value i) { b.store(b.splat(0.0f), products, i); });
  Value first = b.add(start, format.headerBytes());
  auto direct = [&](Value group, Value some) {
    sum.emit(b, format, weight.memory, b.add(first, b.mul(group, format.groupBytes())), group, some, true);
  };
  bool paired = format.pairsFit(b.machine, groups, product.groupsPerScale);
  PanelFormat wide = format.bits == 8 ? format : paired ? format.unpackedPairs(b.getContext()) : format.unpacked(b.getContext());
  Value rowScales = b.scratchAt(kRowScalesAt, b.getF32Type());
  int64_t piece = inputs / format.group;
  auto byPieces = [&] {
    if (paired)
      emitPairUnits(b, format, weight.memory, first, b.index(groups), rowScales);
    b.loop(b.index(0), b.index(groups), piece, [&](Value group) {
      Value some = b.min(b.index(piece), b.sub(b.index(groups), group));
      if (format.bits == 8)
        return direct(group, some);
      Value unpacked = b.scratchAt(kUnpackedAt, b.getI8Type());
      Value from = b.add(first, b.mul(group, format.groupBytes()));
      if (paired)
        emitUnpackPairs(b, format, weight.memory, from, some, b.scratchAt(kUnitInversesAt, b.getF32Type()), unpacked);
      else
        emitUnpack(b, format, weight.memory, from, some, unpacked);
      sum.emit(b, wide, unpacked, b.index(0), group, some, false);
    });
  };
  // Few rows read the panel as it lies in memory, one sequential stream; many unpack it once.
  auto asItLies = [&] {
    if (paired)
      for (auto [j, scales] : llvm::enumerate(readRowScales(b, weight.memory, start)))
        b.store(scales, rowScales, b.index(j * kLanes));
    direct(b.index(0), b.index(groups));
  };
  if (gathered)
    byPieces();
  else
    b.choose(b.less(count, b.index(groupRowBlocks(b.machine, format).front() + 1)), asItLies, byPieces);

  Halves scales = paired ? Halves{b.load(rowScales, b.index(0)), b.load(rowScales, b.index(kLanes))} : rowScalesAt(b, start);
  finishRows(b, count, scales, format.sumFactor(), finish);
}

void PanelProduct::emitCodes(KernelBuilder &b, Value start, Value count, Finish finish) const {
  int64_t group = weight.quant().groupColumns(weight.layout.paddedInputs(weight.inputs()));
  auto format = PanelFormat::of(weight.quant(), group);
  E4M3Product product{format, in.memory, b.scratchAt(kOffsetsAt, b.getI64Type()), weight.memory,
                      b.add(start, format.headerBytes()), weight.columns(), b.scratchAt(kProductsAt, b.getF32Type())};
  emitE4M3Product(b, product, count);
  finishRows(b, count, rowScalesAt(b, start), 1, finish);
}

Halves PanelProduct::rowScalesAt(KernelBuilder &b, Value start) const {
  return weight.quant() && hasRowScales(weight.quant()) ? readRowScales(b, weight.memory, start) : Halves{};
}

void PanelProduct::finishRows(KernelBuilder &b, Value count, const Halves &scales, float factor, Finish finish) const {
  Value products = b.scratchAt(kProductsAt, b.getF32Type());
  b.loop(b.index(0), count, 1, [&](Value row) {
    Value at = b.mul(row, kPanel);
    Halves y = {b.load(products, at), b.load(products, b.add(at, kLanes))};
    if (scales[0])
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
  finishRows(b, count, rowScalesAt(b, start), 1, finish);
}

/// The product of `columns` columns of a panel of floats, or of what is widened from it into scratch, with rows of floats.
/// Its sums are those of the thread's scratch.
Product PanelProduct::floatProduct(KernelBuilder &b, Value panel, Value panelAt, int64_t columns) const {
  int64_t depth = in.element.isF32() ? 1 : 2;
  Value products = b.scratchAt(kProductsAt, b.getF32Type());
  return {in.memory, {}, panel, panelAt, kPanel * depth, kLanes * depth, depth, columns / depth, products, kPanel, true,
          !weight.quant()};
}

/// Adds the products of columns [first, first + columns).
void PanelProduct::emitPiece(KernelBuilder &b, Value start, Value first, int64_t columns, Value count) const {
  Value offsets = b.scratchAt(kOffsetsAt, b.getI64Type());
  Value panel = weight.memory, panelAt = b.add(start, b.mul(first, kPanel));
  if (weight.quant())
    panel = b.scratchAt(kUnpackedAt, in.element), panelAt = b.index(0);
  Product product = floatProduct(b, panel, panelAt, columns);
  auto rowAt = [&](Value row) { return b.add(b.toIndex(b.loadScalar(offsets, row)), first); };
  auto micro = [&](Value row, int64_t rows) {
    // The micro-kernels take a list of rows; this one starts at the piece.
    product.rowOffsets = b.scratchAt(kPieceOffsetsAt, b.getI64Type());
    b.loop(rows, 1, [&](Value r) {
      b.storeScalar(arith::IndexCastOp::create(b, b.getI64Type(), rowAt(b.add(row, r))), product.rowOffsets, r);
    });
    emitProduct(b, product, b.index(0), rows, b.mul(row, kPanel));
  };
  auto widenAll = [&] {
    if (weight.quant())
      PanelWidener(weight, in.element).call(b, weight.memory, start, first, b.index(columns), panel);
  };
  if (!consecutive || !tilesFit(b, product)) {
    widenAll();
    return forRowBlocks(b, b.index(0), count, micro);
  }
  // Rows that are too few for a block come here where they cannot be gathered.
  if (!gatheredRows(b))
    b.when(b.less(count, b.index(kMinTileBlock + 1)), widenAll);
  // The first block widens the piece, or reads it from memory; the others find it in a cache.
  std::optional<WidenAhead> widen;
  if (weight.quant())
    widen = {PanelWidener(weight, in.element), weight.memory, start, first, b.index(columns)};
  TileProduct tile{product, {}, in.stride};
  auto tiles = [&](Value row, int64_t rows, Value times) {
    firstBlockApart(b, row, rows, times, [&](Value row, Value times, bool first) {
      tile.product.stream = first && !weight.quant();
      tile.widen = first && widen ? &*widen : nullptr;
      tile.aStart = rowAt(row);
      emitTileProduct(b, tile, rows, times, b.mul(row, kPanel));
    });
  };
  forTileBlocks(b, count, rowBlocks(b.machine), tiles, micro);
}

int64_t PanelProduct::gatheredStride() const {
  if (auto quant = dyn_cast<qwen::QuantType>(in.element)) {
    int64_t columns = weight.layout.paddedInputs(weight.inputs());
    return llvm::alignTo(quant.rowBytes(columns), 64) + 64;
  }
  return 2 * (weight.columns() + kTileColumns);
}

int64_t PanelProduct::gatheredRows(const KernelBuilder &b) const {
  auto quant = dyn_cast<qwen::QuantType>(in.element);
  bool floats = in.element.isBF16() && (weight.quant() || weight.type.getElementType().isBF16());
  if (quant ? !groupTilesFit(b.machine, quant.sumColumns()) : !b.machine.tiles || !floats || weight.columns() % kTileColumns)
    return 0;
  int64_t most = (kScratchBytes - kGatheredAt) / gatheredStride();
  return std::min(most / kTileRows * kTileRows, kMostTileRows);
}

int64_t PanelProduct::fewRows(const KernelBuilder &b) const {
  if (auto quant = dyn_cast<qwen::QuantType>(in.element))
    return groupRowBlocks(b.machine, PanelFormat::of(weight.quant(), quant.sumColumns())).front();
  return weight.quant() ? 0 : kMinTileBlock; // quantized ones are widened for tiles only
}

void PanelProduct::gather(KernelBuilder &b, Value count) const {
  // Rows come from the second-level cache or beyond, a page each: so many of them are asked for ahead.
  constexpr int64_t ahead = 2, line = 64;
  bool codes = isa<qwen::QuantType>(in.element);
  Type element = codes ? Type(b.getI8Type()) : Type(b.getBF16Type());
  int64_t size = codes ? 1 : 2, bytes = codes ? gatheredStride() - line : 2 * weight.columns();
  Value offsets = b.scratchAt(kOffsetsAt, b.getI64Type()), gathered = b.scratchAt(kGatheredAt, element);
  auto type = VectorType::get({line / size}, element);
  b.loop(b.index(0), count, 1, [&](Value row) {
    Value from = b.toIndex(b.loadScalar(offsets, row)), to = b.mul(row, gatheredStride() / size);
    Value later = b.toIndex(b.loadScalar(offsets, b.min(b.add(row, ahead), b.sub(count, b.index(1)))));
    b.loop(bytes / size, line / size, [&](Value c) {
      Value some = vector::LoadOp::create(b, type, in.memory, ValueRange{b.add(from, c)});
      vector::StoreOp::create(b, some, gathered, ValueRange{b.add(to, c)});
      memref::PrefetchOp::create(b, in.memory, ValueRange{b.add(later, c)}, /*isWrite=*/false, /*localityHint=*/3,
                                 /*isDataCache=*/true);
    });
  });
}

void PanelProduct::emitGathered(KernelBuilder &b, Value start, Value count, Finish finish) const {
  if (isa<qwen::QuantType>(in.element))
    return emitGroups(b, start, count, /*gathered=*/true, finish);
  Value panel = weight.memory, panelAt = start;
  std::optional<WidenAhead> widen;
  if (weight.quant()) {
    panel = b.scratchAt(kUnpackedAt, in.element), panelAt = b.index(0);
    widen = {PanelWidener(weight, in.element), weight.memory, start, b.index(0), b.index(inputs)};
  }
  TileProduct tile{floatProduct(b, panel, panelAt, weight.columns()), b.index(0), gatheredStride() / 2};
  tile.product.a = b.scratchAt(kGatheredAt, b.getBF16Type());
  tile.product.accumulate = false;
  tile.widen = widen ? &*widen : nullptr;
  forWholeTiles(b, count, gatheredRows(b), [&](int64_t rows) { emitTileProduct(b, tile, rows, b.index(1), b.index(0)); });
  finishRows(b, count, rowScalesAt(b, start), 1, finish);
}
