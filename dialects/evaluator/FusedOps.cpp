// Evaluation of the fused level's ops.
#include "dialects/evaluator/Math.h"
#include "dialects/evaluator/Ops.h"

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::evaluator {
namespace {

/// Adds `residual` if there is one.
Result<Tensor> withResidual(Operation *op, Tensor y, const Tensor *residual) {
  if (!residual)
    return y;
  if (Status same = expectCount(op, "elements of the residual", y.count(), residual->count()); !same)
    return same.takeError();
  return add(*residual, y);
}

Status setResult(Operation *op, Frame &frame, Result<Tensor> result) {
  return result ? frame.set(op->getResult(0), result.take()) : Status(result.takeError());
}

/// Fails unless offsets ascend from 0 to the number of pairs, and every pair is below `pairLimit`.
Status checkSegments(Operation *op, const Integers &offsets, const Integers &pairs, int64_t pairLimit) {
  bool ascending = offsets.data.front() == 0 && offsets.data.back() == pairs.count();
  for (size_t e = 1; e < offsets.data.size(); ++e)
    ascending &= offsets.data[e - 1] <= offsets.data[e];
  if (!ascending)
    return userError(op->getName().getStringRef().str() + ": expected offsets that ascend from 0 to " +
                     std::to_string(pairs.count()));
  for (int32_t pair : pairs.data)
    if (pair < 0 || pair >= pairLimit)
      return userError(op->getName().getStringRef().str() + ": expected pairs below " +
                       std::to_string(pairLimit) + ", found " + std::to_string(pair));
  return ok();
}

/// The input of a map, behind its norm if it has one.
template <typename Op> Tensor inputOf(Op op, Frame &frame) {
  const Tensor &x = frame.tensor(op.getInput());
  return op.getNorm() ? rmsNorm(x, frame.tensor(op.getNorm()), op.getEps()->convertToFloat()) : x;
}

} // namespace

Status evaluate(FusedLinearOp op, Frame &frame) {
  Tensor y = linear(inputOf(op, frame), frame.tensor(op.getWeight()), frame.optional(op.getBias()));
  if (op.getActivation() == Activation::Swiglu)
    y = swigluOfHalves(y);
  return setResult(op, frame, withResidual(op, std::move(y), frame.optional(op.getResidual())));
}

Status evaluate(QkNormRopeCacheOp op, Frame &frame) {
  const Tensor &qkv = frame.tensor(op.getQkv()), &table = frame.tensor(op.getTable());
  int64_t rows = qkv.rows(), dim = op.getCache().getType().getDim(),
          keyHeads = op.getCache().getType().getHeads();
  int64_t queryHeads = qkv.columns() / dim - 2 * keyHeads;
  if (Status same = expectCount(op, "rows of the table", rows, table.rows()); !same)
    return same;
  auto heads = [&](int64_t first, int64_t count) {
    Tensor part = columns(qkv, first * dim, count * dim);
    part.shape = {rows, count, dim};
    return part;
  };
  double eps = op.getEps().convertToFloat();
  Tensor query = rope(rmsNorm(heads(0, queryHeads), frame.tensor(op.getQNorm()), eps), table);
  Tensor key = rope(rmsNorm(heads(queryHeads, keyHeads), frame.tensor(op.getKNorm()), eps), table);
  Status written =
      writeCache(op, frame, frame.index(op.getLayer()), key, heads(queryHeads + keyHeads, keyHeads));
  return written ? frame.set(op.getResults().front(), std::move(query)) : std::move(written);
}

Status evaluate(FusedRouterOp op, Frame &frame) {
  Tensor logits = linear(frame.tensor(op.getInput()), frame.tensor(op.getWeight()), nullptr);
  auto [weights, experts] = router(logits, op.getTopK(), op.getNormalize());
  Status first = frame.set(op.getResults()[0], std::move(weights));
  return first ? frame.set(op.getResults()[1], std::move(experts)) : std::move(first);
}

Status evaluate(QuantizeOp op, Frame &frame) {
  auto type = cast<QuantType>(cast<RankedTensorType>(op.getResults().front().getType()).getElementType());
  return frame.set(op.getResults().front(), quantized(frame.tensor(op.getInput()), type.getGroup()));
}

Status evaluate(DispatchOp op, Frame &frame) {
  const Integers &experts = frame.integers(op.getExperts());
  int64_t count = cast<RankedTensorType>(op.getResults()[0].getType()).getDimSize(0) - 1;
  if (ShapedType::isDynamic(count + 1))
    return userError("qwen.dispatch: expected a static number of experts");
  for (int32_t expert : experts.data)
    if (expert < 0 || expert >= count)
      return userError("qwen.dispatch: expected experts below " + std::to_string(count) + ", found " +
                       std::to_string(expert));
  auto [offsets, pairs] = dispatch(experts, count);
  Status first = frame.set(op.getResults()[0], std::move(offsets));
  return first ? frame.set(op.getResults()[1], std::move(pairs)) : std::move(first);
}

Status evaluate(RouterDispatchOp op, Frame &frame) {
  const Tensor &logits = frame.tensor(op.getLogits());
  auto [weights, experts] = router(logits, op.getTopK(), op.getNormalize());
  auto [offsets, pairs] = dispatch(experts, logits.columns());
  Status status = frame.set(op.getResults()[0], std::move(weights));
  if (status)
    status = frame.set(op.getResults()[1], std::move(offsets));
  return status ? frame.set(op.getResults()[2], std::move(pairs)) : std::move(status);
}

Status evaluate(GroupedLinearOp op, Frame &frame) {
  const Tensor &x = frame.tensor(op.getInput());
  const Integers &offsets = frame.integers(op.getOffsets()), &pairs = frame.integers(op.getPairs());
  int64_t topK = op.getTopK();
  if (Status rows = expectCount(op, "pairs", op.getGather() ? x.rows() * topK : x.rows(), pairs.count());
      !rows)
    return rows;
  if (Status segments = checkSegments(op, offsets, pairs, pairs.count()); !segments)
    return segments;
  Tensor y = groupedLinear(inputOf(op, frame), frame.tensor(op.getWeight()), offsets, pairs, op.getGather() ? topK : 0);
  return frame.set(op.getResults().front(),
                   op.getActivation() == Activation::Swiglu ? swigluOfHalves(y) : std::move(y));
}

/// The sum of `x`'s rows into the rows of `weights`, plus residual.
static Status combineRows(Operation *op, Frame &frame, const Tensor &x, Value weightsValue, Value offsets,
                          Value pairsValue, Value residual) {
  const Tensor &weights = frame.tensor(weightsValue);
  const Integers &pairs = frame.integers(pairsValue);
  if (Status rows = expectCount(op, "rows", pairs.count(), x.rows()); !rows)
    return rows;
  if (Status segments = checkSegments(op, frame.integers(offsets), pairs, weights.count()); !segments)
    return segments;
  return setResult(op, frame, withResidual(op, combine(x, weights, pairs), frame.optional(residual)));
}

Status evaluate(CombineOp op, Frame &frame) {
  return combineRows(op, frame, frame.tensor(op.getInput()), op.getWeights(), op.getOffsets(), op.getPairs(),
                     op.getResidual());
}

Status evaluate(GroupedLinearCombineOp op, Frame &frame) {
  const Tensor &x = frame.tensor(op.getInput());
  const Integers &offsets = frame.integers(op.getOffsets()), &pairs = frame.integers(op.getPairs());
  if (Status rows = expectCount(op, "rows", pairs.count(), x.rows()); !rows)
    return rows;
  if (Status segments = checkSegments(op, offsets, pairs, pairs.count()); !segments)
    return segments;
  return combineRows(op, frame, groupedLinear(x, frame.tensor(op.getWeight()), offsets, pairs, 0),
                     op.getWeights(), op.getOffsets(), op.getPairs(), op.getResidual());
}

} // namespace qwench::evaluator
