#include "passes/fuse/Heads.h"
#include "passes/fuse/Fusion.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench {

HeadPath traceHeads(Value value) {
  HeadPath path;
  if ((path.rope = tensorProducer<RopeOp>(value)))
    value = path.rope.getInput();
  if ((path.norm = tensorProducer<RmsNormOp>(value)))
    value = path.norm.getInput();
  if ((path.split = value.getDefiningOp<SplitHeadsOp>()))
    path.projection = path.split.getInput();
  return path;
}

AttentionOp attentionBehind(CacheWriteOp write) {
  for (Operation *op = write->getNextNode(); op; op = op->getNextNode()) {
    auto attention = dyn_cast<AttentionOp>(op);
    if (attention && !attention.hasBufferSemantics() && attention.getCache() == write.getCache() &&
        attention.getLayer() == write.getLayer() && attention.getBatch() == write.getBatch())
      return attention;
  }
  return {};
}

bool isDefinedBefore(Value value, Operation *op) {
  Operation *definition = value.getDefiningOp();
  if (!definition)
    return value.getParentBlock() == op->getBlock();
  return definition->getBlock() == op->getBlock() && definition->isBeforeInBlock(op);
}

} // namespace qwench
