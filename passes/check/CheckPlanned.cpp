// check-planned: what the planned stage promises.
//
// Does: fails unless the module carries a plan, every op that computes is a tile program on buffers, every
//   buffer lies in the plan's arena for the most rows a step has, and every weight read has a layout and a
//   place in the weight section.
// Assumes: the module verifies; `rows` of a buffer is made of qwen.batch_size, arith.constant, arith.muli and
//   arith.addi.
// Guarantees: what passes may be given to a target; it changes nothing.
#include "passes/check/Check.h"

#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench {
#define GEN_PASS_DEF_CHECKPLANNED
#include "passes/Passes.h.inc"

namespace {

/// The largest value an extent takes when a step has at most `maxRows` rows; nullopt if that is not known.
std::optional<int64_t> upperBound(Value value, int64_t maxRows) {
  Operation *op = value.getDefiningOp();
  if (isa_and_nonnull<BatchSizeOp>(op))
    return maxRows;
  if (auto constant = dyn_cast_or_null<arith::ConstantIndexOp>(op))
    return constant.value();
  if (!isa_and_nonnull<arith::MulIOp, arith::AddIOp>(op))
    return std::nullopt;
  std::optional<int64_t> lhs = upperBound(op->getOperand(0), maxRows),
                         rhs = upperBound(op->getOperand(1), maxRows);
  int64_t bound;
  if (!lhs || !rhs ||
      (isa<arith::MulIOp>(op) ? llvm::MulOverflow(*lhs, *rhs, bound) : llvm::AddOverflow(*lhs, *rhs, bound)))
    return std::nullopt;
  return bound;
}

/// Bytes from a buffer's first element to behind its last; nullopt if its strides or extents are not known.
std::optional<int64_t> bytesOf(BufferOp buffer, int64_t maxRows) {
  auto type = cast<MemRefType>(buffer.getType());
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(type.getStridesAndOffset(strides, offset)) || !type.getElementType().isIntOrFloat())
    return std::nullopt;
  int64_t last = 0;
  for (auto [dim, stride] : llvm::enumerate(strides)) {
    int64_t extent = type.getDimSize(dim);
    if (ShapedType::isDynamic(extent)) {
      std::optional<int64_t> bound = buffer.getRows() ? upperBound(buffer.getRows(), maxRows) : std::nullopt;
      if (!bound)
        return std::nullopt;
      extent = *bound;
    }
    int64_t span;
    if (ShapedType::isDynamic(stride) || llvm::MulOverflow(extent - 1, stride, span) ||
        llvm::AddOverflow(last, span, last))
      return std::nullopt;
  }
  int64_t bytes;
  if (llvm::MulOverflow(last + 1, int64_t(llvm::divideCeil(type.getElementTypeBitWidth(), 8)), bytes))
    return std::nullopt;
  return bytes;
}

/// Every op that computes: calls `check(op, tile, hasBufferSemantics)`.
template <typename Check> void visitTileOp(Operation *op, Check check) {
  llvm::TypeSwitch<Operation *>(op)
      .Case<EmbeddingOp, RopeTableOp, RmsNormOp, LinearOp, RopeOp, AttentionOp, SwigluOp, AddOp, RouterOp,
            OutputRowsOp, FusedLinearOp, QkNormRopeCacheOp, FusedRouterOp, DispatchOp, GroupedLinearOp,
            CombineOp, GroupedLinearCombineOp>(
          [&](auto tileOp) { check(tileOp.getTile(), tileOp.hasBufferSemantics()); })
      .template Case<CacheWriteOp>(
          [&](CacheWriteOp write) { check(write.getTile(), isa<BaseMemRefType>(write.getKey().getType())); });
}

struct CheckPlanned : impl::CheckPlannedBase<CheckPlanned> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto plan = module->getAttrOfType<PlanAttr>("qwen.plan");
    if (!plan) {
      emitError(module.getLoc(), "expected a qwen.plan attribute on the module of the planned stage");
      return signalPassFailure();
    }
    bool failed = false;
    auto error = [&](Operation *op) {
      failed = true;
      return op->emitError();
    };
    module.walk([&](Operation *op) {
      if (auto buffer = dyn_cast<BufferOp>(op))
        checkBuffer(buffer, plan, error);
      else if (auto param = dyn_cast<ParamOp>(op))
        checkWeight(lookupWeight(param), plan, error);
      else
        checkCompute(op, error);
    });
    if (failed)
      signalPassFailure();
  }

  template <typename Error> void checkBuffer(BufferOp buffer, PlanAttr plan, Error error) {
    if (buffer.getLogits())
      return;
    std::optional<int64_t> bytes = bytesOf(buffer, std::max(plan.getPrefillRows(), plan.getDecodeRows()));
    int64_t offset = buffer.getOffset(), end;
    if (!bytes)
      error(buffer) << "expected static strides and rows bounded by qwen.batch_size, found "
                    << buffer.getType();
    else if (offset < 0 || llvm::AddOverflow(offset, *bytes, end) || end > plan.getArenaBytes())
      error(buffer) << "expected the buffer inside the arena of " << plan.getArenaBytes() << " bytes, found "
                    << *bytes << " bytes at " << offset;
  }

  template <typename Error> void checkWeight(WeightOp weight, PlanAttr plan, Error error) {
    if (!weight)
      return;
    if (!weight.getLayout() || !weight.getOffset() || !weight.getStride()) {
      error(weight) << "expected a layout, an offset and a stride on a weight that is read";
      return;
    }
    auto type = cast<RankedTensorType>(weight.getType());
    int64_t bytes =
        weight.getLayout()->elements(type) * int64_t(llvm::divideCeil(type.getElementTypeBitWidth(), 8));
    int64_t offset = *weight.getOffset(), stride = *weight.getStride(), last, end;
    if (weight.getInstances() > 1 && stride < bytes)
      error(weight) << "expected a stride of at least the " << bytes << " bytes of an instance, found "
                    << stride;
    else if (offset < 0 || llvm::MulOverflow(int64_t(weight.getInstances()) - 1, stride, last) ||
             llvm::AddOverflow(offset, last, end) || llvm::AddOverflow(end, bytes, end) ||
             end > plan.getWeightBytes())
      error(weight) << "expected the weight inside the section of " << plan.getWeightBytes()
                    << " bytes, found " << weight.getInstances() << " instances of " << bytes << " bytes at "
                    << offset << " stride " << stride;
  }

  template <typename Error> void checkCompute(Operation *op, Error error) {
    visitTileOp(op, [&](auto tile, bool onBuffers) {
      if (!onBuffers)
        error(op) << "expected buffer semantics in the planned stage";
      else if (!tile)
        error(op) << "expected tile sizes in the planned stage";
    });
    if (isa<ExpertsOp>(op))
      error(op) << "expected no qwen.experts in the planned stage";
    for (Value result : op->getResults())
      if (isa<TensorType>(result.getType()))
        error(op) << "expected no tensors but weights in the planned stage, found " << result.getType();
  }
};

} // namespace
} // namespace qwench
