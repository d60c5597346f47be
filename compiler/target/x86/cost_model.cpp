#include "compiler/target/x86/cost_model.h"

#include "compiler/target/x86/kernels.h"
#include "compiler/target/x86/panel_format.h"
#include "compiler/target/x86/panel_product.h"
#include "compiler/target/x86/tile_kernel.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::x86;

namespace {

/// Steps of more rows than this are prefill: enough rows to share, and weights that are read once for many.
constexpr int64_t kFewRows = 16;

Value weightOf(Operation *op) {
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case<qwen::LinearOp, qwen::FusedLinearOp, qwen::GroupedLinearOp, qwen::GroupedLinearCombineOp>(
          [](auto map) { return map.getWeight(); })
      .Default(Value());
}

int64_t groupSize(qwen::AttentionOp op) {
  return cast<ShapedType>(op.getQuery().getType()).getDimSize(1) / op.getCache().getType().getHeads();
}

/// Outputs of experts that a tile of many rows takes: an expert's rows come from far away once for all of its panels, eight at
/// most and fewer where a team would not find as many tiles.
int64_t groupedOutputs(int64_t outputs) {
  constexpr int64_t panels = 8, tiles = 8;
  return kPanel * std::clamp<int64_t>(llvm::divideCeil(outputs, kPanel) / tiles, 1, panels);
}

/// What a pass over a panel is a multiple of: groups of columns with scales, tiles and micro-kernels of floats.
int64_t unitOf(Type weight, Type input) {
  if (auto rows = dyn_cast<qwen::QuantType>(input))
    return rows.getGroup();
  auto quant = dyn_cast<qwen::QuantType>(weight);
  return quant && quant.getGroup() ? std::max(kTileColumns, quant.getGroup()) : kTileColumns;
}

/// Bytes of `inputs` columns of a panel as products read it: codes, of which 4-bit ones are unpacked, or floats.
int64_t pieceBytes(Type weight, Type input, int64_t inputs) {
  auto rows = dyn_cast<qwen::QuantType>(input);
  if (!rows)
    return kPanel * inputs * input.getIntOrFloatBitWidth() / 8;
  auto format = PanelFormat::of(cast<qwen::QuantType>(weight), rows.sumColumns());
  if (format.bits == 4)
    format = format.unpacked(weight.getContext());
  return inputs / format.group * format.groupBytes();
}

} // namespace

int64_t x86::firstLevelCache(StringRef cpu) {
  // 48 KiB since Sunny Cove and Zen 5, as the vendors' optimization manuals say.
  static constexpr StringLiteral larger[] = {"icelake-client", "icelake-server", "rocketlake",    "tigerlake",
                                             "alderlake",      "raptorlake",     "meteorlake",    "arrowlake",
                                             "sapphirerapids", "emeraldrapids",  "graniterapids", "graniterapids-d",
                                             "znver5"};
  return (llvm::is_contained(larger, cpu) ? 48 : 32) << 10;
}

int64_t x86::fetchAhead(StringRef cpu) {
  // Zen 4's own prefetchers keep up with a stream of codes (97 to 103 % of the plain read loop); fetched 2 to 8 KiB ahead by
  // instructions it came at 85 to 92 %. Xeons with AMX read 5 to 15 % faster with them.
  return cpu.starts_with("znver") ? 0 : Machine().fetchAhead;
}

int64_t x86::inputsPerPass(const Machine &machine, Type weight, Type input, int64_t inputs) {
  int64_t unit = unitOf(weight, input), all = llvm::alignTo(inputs, unit);
  bool codes = isa<qwen::QuantType>(input), tiles = machine.tiles && input.isBF16() && weight.isBF16();
  if (!isa<qwen::QuantType>(weight) && !tiles)
    return all;
  // Codes meet few rows at a time, so that three quarters of the cache are theirs. Floats leave a third to the rows, and go
  // by in powers of two: measured on 48 KiB, 512 columns of bf16 are 20 % faster than 256 and 15 % faster than 1024.
  int64_t budget = machine.firstLevel * (codes ? 9 : 8) / 12;
  int64_t most = std::min(budget / pieceBytes(weight, input, unit), PanelProduct::kMaxInputs / unit);
  most = std::max<int64_t>(1, most) * unit;
  if (!codes)
    most = std::max<int64_t>(unit, llvm::bit_floor(static_cast<uint64_t>(most)) / unit * unit);
  return std::min(most, all);
}

SmallVector<int64_t> x86::tileSizesOf(const Machine &machine, Operation *op, int64_t rowBound,
                                      llvm::function_ref<Type(Type)> input) {
  bool many = rowBound > kFewRows;
  if (Value weight = weightOf(op)) {
    auto type = cast<ShapedType>(weight.getType());
    Type element = type.getElementType();
    int64_t inputs = inputsPerPass(machine, element, input(element), type.getShape().back());
    // One panel of outputs: enough tiles to share, and a stream of weights long enough.
    if (isa<qwen::LinearOp, qwen::FusedLinearOp>(op))
      return {kMaxListedRows, kPanel, inputs};
    return {many ? groupedOutputs(type.getShape()[1]) : kPanel, inputs};
  }
  if (isa<qwen::FusedRouterOp>(op))
    return {many ? kMaxRowBlock : 1};
  if (auto attention = dyn_cast<qwen::AttentionOp>(op))
    return {many ? std::max<int64_t>(1, kQueryBlock / groupSize(attention)) : 1};
  if (auto fused = dyn_cast<qwen::QkNormRopeCacheOp>(op)) {
    int64_t heads = fused.getCache().getType().getHeads();
    return many ? SmallVector<int64_t>{8, heads} : SmallVector<int64_t>{1, 1};
  }
  if (isa<qwen::AttentionCombineOp>(op))
    return {1, 1};
  if (isa<qwen::DispatchOp>(op))
    return {1};
  return {many ? 8 : 1};
}

AttentionSplit x86::attentionSplit(qwen::AttentionOp op, int64_t rowBound, int64_t maxContext) {
  if (rowBound > kFewRows)
    return {};
  int64_t wanted = llvm::divideCeil(kAttentionTiles, op.getCache().getType().getHeads());
  int64_t longest = op.getWindow() ? std::min<int64_t>(*op.getWindow() + kKeyBlock, maxContext) : maxContext;
  return {std::max<int64_t>(1, std::min(wanted, longest / kKeyBlock)), kKeyBlock};
}

LogicalResult x86::verifyTile(const Machine &machine, Operation *op) {
  ArrayRef<int64_t> tile = tileSizes(op);
  Value weight = weightOf(op);
  bool byHeads = isa<qwen::AttentionCombineOp, qwen::QkNormRopeCacheOp>(op);
  size_t expected = !weight ? (byHeads ? 2 : 1) : isa<qwen::LinearOp, qwen::FusedLinearOp>(op) ? 3 : 2;
  if (tile.size() != expected || llvm::any_of(tile, [](int64_t size) { return size < 1; }))
    return op->emitOpError() << "expected " << expected << " positive tile sizes for x86-64, found " << tile;
  if (!weight)
    return success();
  if (expected == 3 && tile[0] > kMaxListedRows)
    return op->emitOpError() << "expected a tile of at most " << kMaxListedRows << " rows for x86-64, found " << tile[0];
  if (tile[expected - 2] % kPanel)
    return op->emitOpError() << "expected a tile of a multiple of " << kPanel << " outputs for x86-64, found "
                             << tile[expected - 2];
  Type element = cast<ShapedType>(weight.getType()).getElementType();
  Type input = cast<ShapedType>(op->getOperand(0).getType()).getElementType();
  int64_t unit = unitOf(element, input), inputs = tile.back();
  bool passes = isa<qwen::QuantType>(element) || (machine.tiles && input.isBF16() && element.isBF16());
  if (passes && inputs % unit)
    return op->emitOpError() << "expected a tile of a multiple of " << unit << " inputs for x86-64, found " << inputs;
  if (passes && (inputs > PanelProduct::kMaxInputs || pieceBytes(element, input, inputs) > PanelProduct::kMaxPieceBytes))
    return op->emitOpError() << "expected a tile whose inputs take at most " << PanelProduct::kMaxPieceBytes << " bytes of a panel"
                             << " for x86-64, found " << inputs << " inputs";
  return success();
}
