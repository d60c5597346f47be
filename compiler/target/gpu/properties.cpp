#include "compiler/target/gpu/properties.h"

#include "compiler/target/gpu/kernels.h"
#include "compiler/target/gpu/weight_rows.h"
#include "compiler/target/routers.h"

using namespace mlir;

namespace qwench::gpu {

namespace {

/// Most experts whose probabilities fit into workgroup memory beside nothing else.
constexpr int64_t kMaxExperts = 8192;
constexpr int64_t kMaxHeadDim = 256;

/// Largest vocabulary whose runs of logits fit into workgroup memory, 16 bytes for each 256.
constexpr int64_t kMaxVocabulary = 1 << 19;

/// Query vectors of a tile of attention in prefill.
constexpr int64_t kQueries = 64;
/// Two on each of a large GPU's 132 multiprocessors.
constexpr int64_t kBlocks = 256;
/// Keys of a block that no run divides.
constexpr int64_t kSplitKeys = 64;

/// Rows of a step up to which maps run as products of subgroups of few rows.
bool isDecode(int64_t rowBound) { return rowBound <= 16; }

/// Outputs of a tile of few rows: those that 4 subgroups take at once.
int64_t decodeOutputs(Value weight) {
  auto quant = dyn_cast<qwen::QuantType>(cast<ShapedType>(weight.getType()).getElementType());
  return 4 * (quant ? WeightPanel::rowsOf(quant) : kOutputs);
}

/// Outputs of a tile of few rows: `tile`, or more where the map has a norm. A block reads the row and the norm's weights as well,
/// 8 bytes a column: a quarter of what it reads of weights, or less, as long as two blocks are left for each of a large GPU's
/// multiprocessors. `maps`: that a row is multiplied with.
template <typename Op> int64_t tileWithNorm(Op op, int64_t tile, int64_t maps) {
  if (!op.getNorm())
    return tile;
  auto weight = cast<ShapedType>(op.getWeight().getType());
  int64_t halves = op.getActivation() == qwen::Activation::Swiglu ? 2 : 1, rows = weight.getDimSize(weight.getRank() - 2);
  auto quant = dyn_cast<qwen::QuantType>(weight.getElementType());
  int64_t bits = quant ? quant.codeBits() : weight.getElementTypeBitWidth();
  while (tile * halves * bits < 4 * 64 && maps * rows / halves / (2 * tile) >= kBlocks)
    tile *= 2;
  return tile;
}

/// Outputs of a tile of few rows of a linear map whose weight has `rows` rows.
int64_t decodeTile(Operation *op, int64_t rows) {
  // What 4 subgroups take at once; several times that where there are blocks enough for all multiprocessors.
  int64_t tile = rows < 16384 ? decodeOutputs(op->getOperand(1)) : 32;
  auto fused = dyn_cast<qwen::FusedLinearOp>(op);
  return fused ? tileWithNorm(fused, tile, 1) : tile;
}

SmallVector<int64_t> tileSizes(Operation *op, int64_t rowBound) {
  bool decode = isDecode(rowBound);
  if (isa<qwen::LinearOp, qwen::FusedLinearOp>(op)) {
    int64_t outputs = cast<ShapedType>(op->getOperand(1).getType()).getDimSize(0);
    if (decode)
      return {16, decodeTile(op, outputs)};
    // Rows by outputs of 128 by 128 products, or of 64 by 64 where the former would be too few blocks.
    int64_t size = outputs < 4096 ? 64 : 128;
    auto fused = dyn_cast<qwen::FusedLinearOp>(op);
    return {size, fused && fused.getActivation() == qwen::Activation::Swiglu ? size / 2 : size};
  }
  if (auto grouped = dyn_cast<qwen::GroupedLinearOp>(op)) { // outputs, then sorted rows
    if (!decode)
      return {64, 64};
    return {tileWithNorm(grouped, decodeOutputs(grouped.getWeight()), grouped.getTopK()), 1};
  }
  if (isa<qwen::GroupedLinearCombineOp>(op))
    return {decode ? decodeOutputs(op->getOperand(1)) : 64};
  if (auto attention = dyn_cast<qwen::AttentionOp>(op); attention && !decode)
    return {std::max<int64_t>(1, kQueries / attention.groupSize())};
  if (auto fused = dyn_cast<qwen::QkNormRopeCacheOp>(op)) // rows, then key/value heads: one row alone has blocks for them
    return {1, decode ? 1 : fused.getCache().getType().getHeads()};
  if (isa<qwen::AttentionCombineOp>(op)) // rows, then heads
    return {1, 4};
  if (isa<qwen::RouterDispatchOp>(op)) // all rows
    return {rowBound};
  return {1};
}

/// Runs of keys so that a row has about kBlocks blocks.
AttentionSplit attentionSplit(qwen::AttentionOp op, int64_t rowBound, int64_t maxContext) {
  if (!isDecode(rowBound))
    return {};
  int64_t longest = op.getWindow() ? std::min<int64_t>(*op.getWindow() + kSplitKeys, maxContext) : maxContext;
  int64_t wanted = llvm::divideCeil(kBlocks, op.getCache().getType().getHeads());
  return {std::max<int64_t>(1, std::min(wanted, longest / kSplitKeys)), kSplitKeys};
}

} // namespace

TargetProperties properties(bool swizzledWeights) {
  TargetProperties p;
  // A row of weights is read by a whole subgroup, 16 bytes a lane: rows one after another are the best order there is.
  auto rows = [](MLIRContext *context) { return WeightRows::layout(context, /*swizzled=*/false); };
  p.matrixLayout = [swizzledWeights](Type element, bool pairHalves) {
    auto quant = dyn_cast<qwen::QuantType>(element);
    return quant ? WeightPanel::layout(quant, pairHalves)
                 : WeightRows::layout(element.getContext(), swizzledWeights && element.isBF16());
  };
  p.rowsLayout = rows;
  // Codes become floats in registers, so that activations need not be codes.
  p.matrixInput = [](Type element, int64_t) { return isa<qwen::QuantType>(element) ? BFloat16Type::get(element.getContext()) : element; };
  p.quantizedProducts = [](qwen::QuantType) { return true; };
  p.rowStride = [](int64_t width, int64_t) { return llvm::alignTo(width, 2 * kPiece); };
  p.tile = tileSizes;
  p.attentionSplit = attentionSplit;
  p.normInTiles = isDecode; // every block of a linear map needs the row anyway, and a launch costs more than its norm
  p.combineApart = [](int64_t rowBound) { return !isDecode(rowBound); };
  p.routerApart = true; // a block for a row would read all of the router's weights through one multiprocessor
  p.dispatchInRouter = [](int64_t rowBound, int64_t k) { return isDecode(rowBound) && rowBound * k <= kFewPairs; };
  p.drawsTokens = true;
  p.weightAlignment = 256;
  p.prefillRows = 2048; // tiles enough for maps of few outputs
  return p;
}

static std::string nameOf(Type type) {
  std::string name;
  llvm::raw_string_ostream(name) << type;
  return name;
}

Status supports(ModuleOp fused, StringRef target) {
  Status status = ok();
  auto refuse = [&](const std::string &what, const std::string &found) {
    status = userError(what + " for " + target.str() + ", found " + found);
  };
  fused.walk([&](Operation *op) {
    if (auto function = dyn_cast<func::FuncOp>(op); function && function.getSymName() == "forward") {
      int64_t vocabulary = cast<ShapedType>(function.getResultTypes()[0]).getDimSize(1);
      if (vocabulary > kMaxVocabulary)
        refuse("expected a vocabulary of at most " + std::to_string(kMaxVocabulary), std::to_string(vocabulary));
    }
    if (int64_t experts = expertsOf(op); experts > kMaxExperts)
      refuse("expected at most " + std::to_string(kMaxExperts) + " experts", std::to_string(experts));
    if (auto attention = dyn_cast<qwen::AttentionOp>(op)) {
      int64_t dim = cast<ShapedType>(attention.getQuery().getType()).getDimSize(2);
      Type cached = attention.getCache().getType().getElementType();
      auto quant = dyn_cast<qwen::QuantType>(cached);
      if (!cached.isF32() && !cached.isBF16() && !quant)
        refuse("expected a cache of f32, bf16 or a quantized type", nameOf(cached));
      if (quant && quant.groupColumns(dim) != dim && !llvm::isPowerOf2_64(quant.getGroup())) // whose lanes reduce together
        refuse("expected a cache whose groups are a power of two or all of a head", nameOf(cached));
      if (dim % kPiece || dim > kMaxHeadDim)
        refuse("expected a head_dim that is a multiple of 8 up to 256", std::to_string(dim));
    }
    if (auto weight = dyn_cast<qwen::WeightOp>(op)) {
      Type element = cast<ShapedType>(weight.getType()).getElementType();
      if (!element.isF32() && !element.isBF16() && !isa<qwen::QuantType>(element))
        refuse("expected weights of f32, bf16 or a quantized type", nameOf(element));
    }
  });
  return status;
}

} // namespace qwench::gpu
