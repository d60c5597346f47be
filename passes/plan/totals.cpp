// Bytes and operations of a planned program, counted from its weights and layers.
#include "passes/plan/totals.h"

using namespace mlir;
using namespace qwench;
using namespace qwench::qwen;

namespace {

/// The part of a stack of experts that one token uses: k of E.
std::pair<int64_t, int64_t> activePart(ParamOp param) {
  auto type = cast<RankedTensorType>(param.getType());
  if (type.getRank() < 3)
    return {1, 1};
  for (Operation *user : param->getUsers()) {
    if (auto grouped = dyn_cast<GroupedLinearOp>(user))
      return {grouped.getTopK(), type.getDimSize(0)};
    if (auto combine = dyn_cast<GroupedLinearCombineOp>(user))
      return {cast<ShapedType>(combine.getWeights().getType()).getDimSize(1), type.getDimSize(0)};
  }
  return {1, 1};
}

} // namespace

int64_t qwench::bytesOf(RankedTensorType type) {
  auto quant = dyn_cast<QuantType>(type.getElementType());
  if (!quant)
    return type.getNumElements() * type.getElementTypeBitWidth() / 8;
  int64_t columns = type.getShape().back(), rows = type.getNumElements() / columns;
  int64_t perGroup = quant.scaleBytes() + (quant.getZeroPoints() ? 1 : 0);
  return type.getNumElements() * quant.codeBits() / 8 + rows * (quant.getRowScales() ? 4 : 0) +
         rows * llvm::divideCeil(columns, quant.groupColumns(columns)) * perGroup;
}

Work qwench::workOf(func::FuncOp function) {
  Work work;
  function.walk([&](Operation *op) {
    if (auto param = dyn_cast<ParamOp>(op)) {
      bool onlyEmbedding = llvm::all_of(param->getUsers(), llvm::IsaPred<EmbeddingOp>);
      auto type = cast<RankedTensorType>(param.getType());
      auto [active, all] = activePart(param);
      if (onlyEmbedding)
        return;
      work.bytes += bytesOf(type) / all * active;
      if (type.getRank() > 1) {
        work.flops += 2 * (type.getNumElements() / all * active);
        work.matrix = type.getElementType();
      }
    } else if (auto attention = dyn_cast<AttentionOp>(op)) {
      auto query = cast<ShapedType>(attention.getQuery().getType());
      work.attentionFlops += 4 * query.getDimSize(1) * query.getDimSize(2);
    }
  });
  return work;
}

void qwench::setTotals(ModuleOp module, func::FuncOp forward, const TargetProperties &properties,
                       const ProgramOptions &program, int64_t arenaBytes) {
  SymbolTable symbols(module);
  LayersOp layers;
  forward.walk([&](LayersOp op) { layers = op; });
  Work head = workOf(forward), sum;
  for (auto callee : layers.getCallees().getAsRange<FlatSymbolRefAttr>()) {
    Work layer = workOf(symbols.lookup<func::FuncOp>(callee.getValue()));
    sum.bytes += layer.bytes;
    sum.flops += layer.flops;
    sum.attentionFlops += layer.attentionFlops;
    sum.matrix = layer.matrix;
  }
  CacheType cache = layers.getCache().getType();
  int64_t cacheBytes = 2 * cache.getLayers() * cache.getHeads() * cache.vectorBytes();
  auto logits = cast<RankedTensorType>(forward.getResultTypes()[0]);
  auto weightBytes = module->getAttrOfType<IntegerAttr>("qwen.weight_bytes").getInt();
  module->removeAttr("qwen.weight_bytes");

  Builder b(module.getContext());
  module->setAttr("qwen.plan",
                  PlanAttr::get(module.getContext(), arenaBytes, properties.threadScratchBytes, weightBytes, cacheBytes,
                                properties.cacheGranule, properties.prefillRows, properties.decodeRows));
  auto number = [&](StringRef name, int64_t value) { return b.getNamedAttr(name, b.getI64IntegerAttr(value)); };
  module->setAttr("qwen.program",
                  b.getDictionaryAttr({b.getNamedAttr("name", b.getStringAttr(program.name)),
                                       number("max_context", program.maxContext),
                                       number("vocab_size", logits.getDimSize(1)),
                                       number("logits_stride", properties.rowStride(logits.getDimSize(1), 4)),
                                       number("layers", cache.getLayers()),
                                       number("weight_bytes_per_token", sum.bytes + head.bytes),
                                       number("flops_per_token", sum.flops), number("flops_per_output", head.flops),
                                       number("attention_flops_per_pair", sum.attentionFlops),
                                       b.getNamedAttr("dtype", TypeAttr::get(sum.matrix)),
                                       b.getNamedAttr("kv_dtype", b.getStringAttr(cache.formatName()))}));
}
