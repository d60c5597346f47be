#include "compiler/target/gpu/properties.h"

#include "compiler/target/gpu/kernels.h"

using namespace mlir;

namespace qwench::gpu {

namespace {

/// Most experts whose probabilities fit into workgroup memory beside nothing else.
constexpr int64_t kMaxExperts = 8192;
constexpr int64_t kMaxHeadDim = 256;

/// Rows of a step up to which maps run as products of subgroups of few rows.
bool isDecode(int64_t rowBound) { return rowBound <= 16; }

SmallVector<int64_t> tileSizes(Operation *op, int64_t rowBound) {
  bool decode = isDecode(rowBound);
  if (isa<qwen::LinearOp, qwen::FusedLinearOp>(op))
    return {16, decode ? 8 : 32};
  if (isa<qwen::GroupedLinearOp>(op)) // outputs, then sorted rows
    return decode ? SmallVector<int64_t>{8, 1} : SmallVector<int64_t>{32, 16};
  if (isa<qwen::GroupedLinearCombineOp>(op))
    return {decode ? 8 : 64};
  return {1};
}

} // namespace

TargetProperties properties() {
  TargetProperties p;
  // A row of weights is read by a whole subgroup, 16 bytes a lane: rows one after another are the best order there is.
  auto rows = [](MLIRContext *context) { return qwen::LayoutAttr::get(context, "rows", 1, 1, kPiece, false); };
  p.matrixLayout = [rows](Type element, bool) { return rows(element.getContext()); };
  p.rowsLayout = rows;
  p.matrixInput = [](Type element, int64_t) { return element; };
  p.rowStride = [](int64_t width, int64_t) { return llvm::alignTo(width, 2 * kPiece); };
  p.tile = tileSizes;
  p.weightAlignment = 256;
  return p;
}

Status supports(ModuleOp fused, StringRef target) {
  Status status = ok();
  auto refuse = [&](std::string what) { status = userError(what + " for " + target.str()); };
  fused.walk([&](Operation *op) {
    int64_t experts = 0;
    if (auto router = dyn_cast<qwen::FusedRouterOp>(op))
      experts = cast<ShapedType>(router.getWeight().getType()).getDimSize(0);
    else if (auto router = dyn_cast<qwen::RouterOp>(op))
      experts = cast<ShapedType>(router.getLogits().getType()).getDimSize(1);
    if (experts > kMaxExperts)
      refuse("expected at most " + std::to_string(kMaxExperts) + " experts, found " + std::to_string(experts));
    if (auto attention = dyn_cast<qwen::AttentionOp>(op)) {
      int64_t dim = cast<ShapedType>(attention.getQuery().getType()).getDimSize(2);
      if (dim % kPiece || dim > kMaxHeadDim)
        refuse("expected a head_dim that is a multiple of 8 up to 256, found " + std::to_string(dim));
    }
    if (auto weight = dyn_cast<qwen::WeightOp>(op)) {
      Type element = cast<ShapedType>(weight.getType()).getElementType();
      if (!element.isF32() && !element.isBF16()) {
        std::string name;
        llvm::raw_string_ostream(name) << element;
        refuse("expected f32 or bf16 weights, found " + name);
      }
    }
  });
  return status;
}

} // namespace qwench::gpu
