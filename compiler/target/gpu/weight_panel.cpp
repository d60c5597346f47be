#include "compiler/target/gpu/weight_panel.h"

#include "compiler/target/gpu/code_values.h"
#include "dialects/quantization/type.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::gpu {

LayoutAttr WeightPanel::layout(QuantType type, bool pairHalves) {
  int64_t align = std::max<int64_t>(type.getGroup(), 16);
  return LayoutAttr::get(type.getContext(), "planes", rowsOf(type), kPiece, align, pairHalves);
}

WeightPanel::WeightPanel(KernelBuilder &b, const PackedWeight &weight)
    : type(weight.quant()), pairHalves(weight.layout.getPairHalves()), stride(weight.panelStride()),
      parts(quantization::panelParts(quantization::formatOf(type), rows(), weight.layout.paddedInputs(weight.inputs()), true)),
      memory(weight.memory), memoryWords(b.view(memory, b.index(0), b.getI32Type())) {
  outputs = pairHalves ? weight.outputs() / 2 : weight.outputs();
}

/// The bytes of group `group` of a part that begins `part` bytes behind the panel's start: read as words if they are whole ones.
Value WeightPanel::group(KernelBuilder &b, Value start, Value group, int64_t part, int64_t bytes) const {
  auto type = b.vectorOf(bytes, b.getI8Type());
  if (bytes % 4) {
    Value at = b.add(b.add(b.mul(start, 4), part), b.mul(group, bytes));
    return vector::LoadOp::create(b, type, memory, ValueRange{at}, false, llvm::MaybeAlign(bytes));
  }
  Value at = b.add(b.add(start, part / 4), b.mul(group, bytes / 4));
  Value raw = vector::LoadOp::create(b, b.vectorOf(bytes / 4, b.getI32Type()), memoryWords, ValueRange{at}, false,
                                     llvm::MaybeAlign(bytes));
  return vector::BitCastOp::create(b, type, raw);
}

SmallVector<Value> WeightPanel::load(KernelBuilder &b, Value start, Value column) const {
  Values loaded;
  Value at = b.add(start, b.div(column, kPiece / 4)); // 4 words are 8 columns
  loaded.push_back(vector::LoadOp::create(b, b.vectorOf(4, b.getI32Type()), memoryWords, ValueRange{at}, false, llvm::MaybeAlign(16)));
  if (type.getGroup() == 0)
    return loaded;
  Value which = b.div(column, type.getGroup());
  loaded.push_back(group(b, start, which, parts.scales, parts.scalesStride));
  if (type.getZeroPoints())
    loaded.push_back(group(b, start, which, parts.zeros, parts.zerosStride));
  return loaded;
}

double WeightPanel::codeFactor() const {
  return isa<Float4E2M1FNType>(type.getStorage()) ? kE2M1Factor : isa<Float8E4M3FNType>(type.getStorage()) ? kE4M3Factor : 1;
}

/// f32 of the rows' zero points.
SmallVector<Value> WeightPanel::zeroPoints(KernelBuilder &b, Value loaded) const {
  Value wide = arith::ExtUIOp::create(b, b.vectorOf(rows(), b.getI32Type()), loaded);
  return extractAll(b, arith::UIToFPOp::create(b, b.floats(rows()), wide));
}

/// The two words of a step that hold a row's codes, of 4 bits in the nibbles that nibbleOf() says: rows 0 and 1 in the low ones, 2 and
/// 3 in the high ones.
static Value wordsOfRow(KernelBuilder &b, Value step, int64_t row) {
  return vector::ShuffleOp::create(b, step, step, ArrayRef<int64_t>{2 * (row % 2), 2 * (row % 2) + 1});
}
static int64_t nibbleOf(int64_t row) { return row / 2; }

SmallVector<Value> WeightPanel::codes(KernelBuilder &b, ValueRange loaded) const {
  int64_t bits = type.codeBits();
  double bias = type.getZeroPoints() ? 0 : 1 << (bits - 1);
  Values result, zeros = type.getZeroPoints() ? zeroPoints(b, loaded[2]) : Values();
  for (int64_t row = 0; row < rows(); ++row) {
    Value pair = wordsOfRow(b, loaded[0], row);
    int64_t nibble = nibbleOf(row);
    Value code = isa<Float8E4M3FNType>(type.getStorage())   ? e4m3ToFloat(b, pair)
                 : isa<Float4E2M1FNType>(type.getStorage()) ? e2m1ToFloat(b, pair, nibble)
                                                            : integersToFloat(b, pair, bits, nibble, bias);
    result.push_back(zeros.empty() ? code : b.subf(code, b.splat(zeros[row], kPiece)));
  }
  return result;
}

bool WeightPanel::hasPairs(QuantType type, int64_t lanes) {
  if (type.getGroup() % (lanes * kPiece) == 0) // or no groups
    return true;
  // Two digits of a code, and four of a scale.
  return type.getGroup() % kPiece == 0 && isa<Float4E2M1FNType>(type.getStorage()) && isa<Float8E4M3FNType>(type.getScale()) &&
         type.getRowScales() && !type.getZeroPoints();
}

std::pair<SmallVector<Value>, SmallVector<Value>> WeightPanel::pairs(KernelBuilder &b, ValueRange loaded, int64_t lanes) const {
  const int64_t bits = type.codeBits();
  auto splat = [&](Value scalar) {
    return b.splat(arith::TruncFOp::create(b, b.getBF16Type(), scalar), kPiece);
  };
  Values result, zeros = type.getZeroPoints() ? zeroPoints(b, loaded[2]) : Values();
  const bool shared = type.getGroup() % (lanes * kPiece) == 0;
  for (int64_t row = 0; row < rows(); ++row) {
    Value words = wordsOfRow(b, loaded[0], row);
    Value codes = !shared                                    ? e2m1ToPairs(b, words, nibbleOf(row), loaded[1], row)
                  : isa<Float8E4M3FNType>(type.getStorage()) ? e4m3ToPairs(b, words)
                  : isa<Float4E2M1FNType>(type.getStorage()) ? e2m1ToPairs(b, words, nibbleOf(row))
                                                             : integersToPairs(b, words, bits, nibbleOf(row));
    result.push_back(zeros.empty() ? codes : b.subf(codes, splat(b.subf(zeros[row], b.f32(1 << (bits - 1))))));
  }
  return {result, shared ? scales(b, loaded) : Values()};
}

SmallVector<Value> WeightPanel::extractAll(KernelBuilder &b, Value vector) const {
  Values elements;
  for (int64_t i = 0; i < rows(); ++i)
    elements.push_back(b.extract(vector, i));
  return elements;
}

SmallVector<Value> WeightPanel::scales(KernelBuilder &b, ValueRange loaded) const {
  if (type.getGroup() == 0)
    return {};
  Value scales = scalesToFloat(b, loaded[1], type.getScale());
  if (codeFactor() != 1 && !hasRowScales(type))
    scales = b.mulf(scales, b.splat(b.f32(codeFactor()), rows()));
  return extractAll(b, scales);
}

SmallVector<Value> WeightPanel::values(KernelBuilder &b, ValueRange loaded) const {
  Values result = codes(b, loaded), factors = scales(b, loaded);
  for (auto [value, factor] : llvm::zip(result, factors))
    value = b.mulf(value, b.splat(factor, kPiece));
  return result;
}

SmallVector<Value> WeightPanel::rowScales(KernelBuilder &b, Value start) const {
  if (!hasRowScales(type))
    return {};
  Value scales = scalesToFloat(b, group(b, start, b.index(0), parts.rowScales, 4 * rows()), b.getF32Type());
  if (codeFactor() != 1)
    scales = b.mulf(scales, b.splat(b.f32(codeFactor()), rows()));
  return extractAll(b, scales);
}

Value WeightPanel::rowScale(KernelBuilder &b, Value matrix, Value row) const {
  auto [panel, lane] = place(b, row);
  Value at = b.add(b.add(start(b, matrix, panel), parts.rowScales / 4), lane);
  Value scale = b.loadScalar(b.view(memory, b.index(0), b.getF32Type()), at);
  return codeFactor() != 1 ? b.mulf(scale, b.f32(codeFactor())) : scale;
}

std::pair<Value, Value> WeightPanel::place(KernelBuilder &b, Value row) const {
  if (!pairHalves)
    return {b.div(row, rows()), b.rem(row, rows())};
  Value half = b.div(row, outputs), inHalf = b.rem(row, outputs), perHalf = b.index(rows() / 2);
  return {b.div(inHalf, rows() / 2), b.add(b.mul(half, perHalf), b.rem(inHalf, rows() / 2))};
}

} // namespace qwench::gpu
