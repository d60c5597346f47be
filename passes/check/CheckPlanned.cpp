// check-planned: what the planned stage promises.
//
// Does: fails unless the module carries a plan, every op that computes is a tile program on buffers, every
//   buffer lies in the plan's arena for the most rows a step has, no result lies where its op still reads
//   (but a residual, in its own place), and every weight that is read has a layout and a place of its own in
//   the weight section.
// Assumes: the module verifies; `rows` of a buffer is made of qwen.batch_size, arith.constant, arith.muli and
//   arith.addi; @decode and what it calls run steps of at most decodeRows rows.
// Guarantees: what passes may be given to a target; it changes nothing.
#include "passes/check/Check.h"

#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/SetVector.h"
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
  std::optional<int64_t> lhs = upperBound(op->getOperand(0), maxRows);
  std::optional<int64_t> rhs = upperBound(op->getOperand(1), maxRows);
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
  auto quant = dyn_cast<QuantType>(type.getElementType());
  if (failed(type.getStridesAndOffset(strides, offset)) || (!quant && !type.getElementType().isIntOrFloat()) ||
      (quant && (type.getRank() != 2 || strides[0] < quant.rowBytes(type.getDimSize(1)))))
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
    if (quant && dim == 1)
      extent = quant.rowBytes(extent); // codes and what follows them
    int64_t span;
    if (ShapedType::isDynamic(stride) || llvm::MulOverflow(extent - 1, stride, span) ||
        llvm::AddOverflow(last, span, last))
      return std::nullopt;
  }
  int64_t bytes, width = quant ? 1 : llvm::divideCeil(type.getElementTypeBitWidth(), 8);
  if (llvm::MulOverflow(last + 1, width, bytes))
    return std::nullopt;
  return bytes;
}

/// The functions that only decode steps run: @decode and the layers it calls, unless @prefill calls them too.
llvm::DenseSet<Operation *> decodeFunctions(ModuleOp module) {
  static constexpr llvm::StringLiteral entries[2] = {"prefill", "decode"};
  llvm::DenseSet<Operation *> functions[2];
  for (auto [entry, called] : llvm::zip(entries, functions))
    if (auto function = module.lookupSymbol<func::FuncOp>(entry)) {
      called.insert(function);
      function.walk([&, &reached = called](LayersOp layers) {
        for (auto callee : layers.getCallees().getAsRange<FlatSymbolRefAttr>())
          reached.insert(module.lookupSymbol(callee.getAttr()));
      });
    }
  for (Operation *function : functions[0])
    functions[1].erase(function);
  return functions[1];
}

/// What the checks ask of an op that computes.
struct TileOp {
  std::optional<ArrayRef<int64_t>> tile;
  bool onBuffers;
  ValueRange dests;
  Value inPlace; ///< the operand that a dest may be: each element is read before it is written
};

template <typename Op> TileOp describe(Op op, Value inPlace = {}) {
  return {op.getTile(), op.hasBufferSemantics(), op.getDests(), inPlace};
}

/// Null for an op that does not compute.
std::optional<TileOp> describeTileOp(Operation *op) {
  return llvm::TypeSwitch<Operation *, std::optional<TileOp>>(op)
      .Case<EmbeddingOp, RopeTableOp, RmsNormOp, LinearOp, RopeOp, AttentionOp, AttentionCombineOp, SwigluOp, RouterOp,
            OutputRowsOp, SampleOp, QkNormRopeCacheOp, FusedRouterOp, QuantizeOp, DispatchOp, RouterDispatchOp,
            GroupedLinearOp>(
          [](auto tileOp) { return describe(tileOp); })
      .Case<FusedLinearOp, CombineOp, GroupedLinearCombineOp>(
          [](auto tileOp) { return describe(tileOp, tileOp.getResidual()); })
      .Case<AddOp>([](AddOp add) { return describe(add, add.getLhs()); })
      .Case<CacheWriteOp>([](CacheWriteOp write) {
        return TileOp{write.getTile(), isa<BaseMemRefType>(write.getKey().getType()), {}, {}};
      })
      .Default([](Operation *) { return std::nullopt; });
}

struct CheckPlanned : impl::CheckPlannedBase<CheckPlanned> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    plan = module->getAttrOfType<PlanAttr>("qwen.plan");
    if (!plan) {
      emitError(module.getLoc(), "expected a qwen.plan attribute on the module of the planned stage");
      return signalPassFailure();
    }
    llvm::DenseSet<Operation *> decode = decodeFunctions(module);
    llvm::SetVector<Operation *> weights;
    module.walk([&](func::FuncOp function) {
      rowBound = decode.contains(function) ? plan.getDecodeRows()
                                           : std::max(plan.getPrefillRows(), plan.getDecodeRows());
      function.walk([&](Operation *op) {
        if (auto buffer = dyn_cast<BufferOp>(op))
          checkBuffer(buffer);
        else if (auto param = dyn_cast<ParamOp>(op))
          weights.insert(lookupWeight(param));
        else if (op != function)
          checkCompute(op);
      });
    });
    checkWeights(weights.getArrayRef());
  }

private:
  InFlightDiagnostic error(Operation *op) {
    signalPassFailure();
    return op->emitError();
  }

  void checkBuffer(BufferOp buffer) {
    if (!buffer.isInArena())
      return;
    std::optional<int64_t> bytes = bytesOf(buffer, rowBound);
    int64_t offset = buffer.getOffset(), end;
    if (!bytes)
      error(buffer) << "expected static strides and rows bounded by qwen.batch_size, found "
                    << buffer.getType();
    else if (offset < 0 || llvm::AddOverflow(offset, *bytes, end) || end > plan.getArenaBytes())
      error(buffer) << "expected the buffer inside the arena of " << plan.getArenaBytes() << " bytes, found "
                    << *bytes << " bytes at " << offset;
  }

  /// Whether two buffers of the arena share bytes.
  bool overlap(Value a, Value b) {
    auto first = a.getDefiningOp<BufferOp>(), second = b.getDefiningOp<BufferOp>();
    if (!first || !second || !first.isInArena() || !second.isInArena())
      return false;
    int64_t firstBytes = bytesOf(first, rowBound).value_or(0),
            secondBytes = bytesOf(second, rowBound).value_or(0);
    int64_t firstOffset = first.getOffset(), secondOffset = second.getOffset();
    return firstOffset < secondOffset + secondBytes && secondOffset < firstOffset + firstBytes;
  }

  /// Whether `dest` is the very elements of `source`.
  bool isInPlace(Value dest, Value source) {
    auto first = dest.getDefiningOp<BufferOp>(), second = source.getDefiningOp<BufferOp>();
    return first && second && first.getType() == second.getType() && first.getOffset() == second.getOffset();
  }

  void checkCompute(Operation *op) {
    if (isa<ExpertsOp>(op))
      error(op) << "expected no qwen.experts in the planned stage";
    for (Value result : op->getResults())
      if (isa<TensorType>(result.getType()))
        error(op) << "expected no tensors but weights in the planned stage, found " << result.getType();
    std::optional<TileOp> tileOp = describeTileOp(op);
    if (!tileOp)
      return;
    if (!tileOp->onBuffers)
      error(op) << "expected buffer semantics in the planned stage";
    else if (!tileOp->tile)
      error(op) << "expected tile sizes in the planned stage";
    else if (isa<RouterDispatchOp>(op) && (tileOp->tile->size() != 1 || tileOp->tile->front() < rowBound))
      error(op) << "expected a tile of all " << rowBound << " rows of a step, found [" << *tileOp->tile << "]";
    for (Value dest : tileOp->dests)
      for (Value operand : op->getOperands().drop_back(tileOp->dests.size()))
        if (overlap(dest, operand) && !(operand == tileOp->inPlace && isInPlace(dest, operand)))
          error(op) << "expected the result apart from what is read, found both at "
                    << dest.getDefiningOp<BufferOp>().getOffset();
  }

  void checkWeights(ArrayRef<Operation *> weights) {
    std::vector<std::pair<int64_t, int64_t>> places; // first byte, behind the last byte
    for (Operation *op : weights)
      if (auto weight = dyn_cast_or_null<WeightOp>(op))
        checkWeight(weight, places);
    llvm::sort(places);
    for (size_t i = 1; i < places.size(); ++i)
      if (places[i].first < places[i - 1].second) {
        emitError(getOperation().getLoc())
            << "expected weights apart from one another, found two at byte " << places[i].first;
        return signalPassFailure();
      }
  }

  void checkWeight(WeightOp weight, std::vector<std::pair<int64_t, int64_t>> &places) {
    if (!weight.getLayout() || !weight.getOffset() || !weight.getStride()) {
      error(weight) << "expected a layout, an offset and a stride on a weight that is read";
      return;
    }
    auto type = cast<RankedTensorType>(weight.getType());
    int64_t bytes = weight.getLayout()->bytes(type);
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
    else
      for (int64_t instance = 0; instance < int64_t(weight.getInstances()); ++instance)
        places.emplace_back(offset + instance * stride, offset + instance * stride + bytes);
  }

  PlanAttr plan;
  int64_t rowBound = 0; ///< most rows of a step that runs the function being checked
};

} // namespace
} // namespace qwench
