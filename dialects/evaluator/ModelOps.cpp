// Evaluation of the model level's ops, and of what they stand on.
#include "dialects/evaluator/Math.h"
#include "dialects/evaluator/Ops.h"

#include <algorithm>
#include <cmath>

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::evaluator {

Status expectCount(Operation *op, const char *what, int64_t expected, int64_t found) {
  if (expected == found)
    return ok();
  return userError(op->getName().getStringRef().str() + ": expected " + std::to_string(expected) + " " +
                   what + ", found " + std::to_string(found));
}

Status evaluate(arith::ConstantOp op, Frame &frame) {
  auto integer = dyn_cast<IntegerAttr>(op.getValue());
  if (!integer || !op.getType().isIndex())
    return userError("arith.constant: expected an index");
  return frame.set(op.getResult(), integer.getInt());
}

Status evaluate(tensor::ExtractSliceOp op, Frame &frame) {
  const Tensor &source = frame.tensor(op.getSource());
  if (source.shape.size() != 2 || op.getType().getRank() != 2)
    return userError("tensor.extract_slice: expected two dimensions");
  auto numbers = [&](ArrayRef<OpFoldResult> mixed) {
    SmallVector<int64_t> result;
    for (OpFoldResult number : mixed)
      result.push_back(isa<Attribute>(number) ? cast<IntegerAttr>(cast<Attribute>(number)).getInt()
                                              : frame.index(cast<Value>(number)));
    return result;
  };
  SmallVector<int64_t> offsets = numbers(op.getMixedOffsets()), sizes = numbers(op.getMixedSizes()),
                       strides = numbers(op.getMixedStrides());
  for (unsigned dim : {0u, 1u})
    if (offsets[dim] < 0 || sizes[dim] < 0 ||
        (sizes[dim] &&
         (offsets[dim] >= source.shape[dim] || strides[dim] < 0 ||
          (strides[dim] && sizes[dim] - 1 > (source.shape[dim] - 1 - offsets[dim]) / strides[dim]))))
      return userError("tensor.extract_slice: expected a slice inside extent " +
                       std::to_string(source.shape[dim]) + ", found " + std::to_string(sizes[dim]) +
                       " from " + std::to_string(offsets[dim]));
  Tensor result({sizes[0], sizes[1]});
  for (int64_t r = 0; r < sizes[0]; ++r)
    for (int64_t c = 0; c < sizes[1]; ++c)
      result.row(r)[c] = source.row(offsets[0] + r * strides[0])[offsets[1] + c * strides[1]];
  return frame.set(op.getResult(), std::move(result));
}

Status evaluate(ParamOp op, Frame &frame) {
  Result<RuntimeValue> weight = frame.state.weight(lookupWeight(op), frame.index(op.getIndex()));
  return weight ? frame.set(op.getResult(), weight.take()) : Status(weight.takeError());
}

Status evaluate(LayersOp op, Frame &frame) {
  RuntimeValue hidden = frame.get(op.getHidden());
  std::map<StringAttr, int64_t,
           decltype([](StringAttr a, StringAttr b) { return a.getValue() < b.getValue(); })>
      instances;
  for (auto [layer, callee] : llvm::enumerate(op.getCallees().getAsRange<FlatSymbolRefAttr>())) {
    Result<std::vector<RuntimeValue>> results =
        frame.state.call(callee.getValue(),
                         {hidden, frame.get(op.getRope()), frame.get(op.getBatch()), frame.get(op.getCache()),
                          static_cast<int64_t>(layer), instances[callee.getAttr()]++});
    if (!results)
      return results.takeError();
    if (Status one = expectCount(op, "results of a layer", 1, results->size()); !one)
      return one;
    hidden = results->front();
  }
  return frame.set(op.getResult(), hidden);
}

Status evaluate(BatchSizeOp op, Frame &frame) {
  const BatchRows &batch = frame.state.batch;
  return frame.set(op.getResult(),
                   op.getOutputs() ? static_cast<int64_t>(batch.outputRows.size()) : batch.rows());
}

Status evaluate(EmbeddingOp op, Frame &frame) {
  const Tensor &table = frame.tensor(op.getTable());
  const std::vector<int32_t> &tokens = frame.state.batch.tokens;
  Tensor result({frame.state.batch.rows(), table.columns()});
  for (int64_t t = 0; t < result.rows(); ++t) {
    if (tokens[t] < 0 || tokens[t] >= table.rows())
      return userError("expected a token below " + std::to_string(table.rows()) + ", found " +
                       std::to_string(tokens[t]));
    std::copy_n(table.row(tokens[t]), table.columns(), result.row(t));
  }
  return frame.set(op.getResults().front(), std::move(result));
}

/// Frequencies for a sequence of `context` tokens.
static std::vector<float> frequencies(RotaryOp rotary, int64_t context) {
  bool beyond = rotary.getOriginalContext() && context > static_cast<int64_t>(*rotary.getOriginalContext());
  if (rotary.getKind() == RotaryKind::Longrope && beyond)
    return std::vector<float>(rotary.getLongInvFreq()->begin(), rotary.getLongInvFreq()->end());
  std::vector<float> inverse(rotary.getInvFreq().begin(), rotary.getInvFreq().end());
  if (rotary.getKind() != RotaryKind::Dynamic || !beyond)
    return inverse;
  double dim = 2.0 * static_cast<double>(inverse.size()), factor = rotary.getFactor()->convertToDouble();
  double stretch = factor * static_cast<double>(context) / static_cast<double>(*rotary.getOriginalContext()) -
                   (factor - 1);
  double base = rotary.getTheta()->convertToDouble() * std::pow(stretch, dim / (dim - 2));
  for (size_t i = 0; i < inverse.size(); ++i)
    inverse[i] = 1.0f / static_cast<float>(std::pow(base, 2.0 * static_cast<double>(i) / dim));
  return inverse;
}

Status evaluate(RopeTableOp op, Frame &frame) {
  auto rotary = SymbolTable::lookupNearestSymbolFrom<RotaryOp>(op, op.getRotaryAttr());
  const BatchRows &batch = frame.state.batch;
  int64_t half = static_cast<int64_t>(rotary.getInvFreq().size());
  float scaling = rotary.getScaling().convertToFloat();
  Tensor table({batch.rows(), 2 * half});
  for (int64_t t = 0; t < batch.rows(); ++t) {
    std::vector<float> inverse = frequencies(rotary, batch.contextLengths[t]);
    for (int64_t i = 0; i < half; ++i) {
      double angle = static_cast<float>(batch.positions[t]) * inverse[i];
      table.row(t)[i] = static_cast<float>(std::cos(angle)) * scaling;
      table.row(t)[half + i] = static_cast<float>(std::sin(angle)) * scaling;
    }
  }
  return frame.set(op.getResults().front(), std::move(table));
}

Status evaluate(RmsNormOp op, Frame &frame) {
  Tensor y = rmsNorm(frame.tensor(op.getInput()), frame.tensor(op.getWeight()), op.getEps().convertToFloat());
  auto quant = dyn_cast<QuantType>(cast<RankedTensorType>(op.getResults().front().getType()).getElementType());
  return frame.set(op.getResults().front(), quant ? quantized(y, quant.getGroup()) : std::move(y));
}

Status evaluate(LinearOp op, Frame &frame) {
  return frame.set(op.getResults().front(), linear(frame.tensor(op.getInput()), frame.tensor(op.getWeight()),
                                                   frame.optional(op.getBias())));
}

Status evaluate(SplitHeadsOp op, Frame &frame) {
  Tensor x = frame.tensor(op.getInput());
  auto type = cast<RankedTensorType>(op.getType());
  x.shape = {x.shape[0], type.getDimSize(1), type.getDimSize(2)};
  return frame.set(op.getResult(), std::move(x));
}

Status evaluate(MergeHeadsOp op, Frame &frame) {
  Tensor x = frame.tensor(op.getInput());
  x.shape = {x.shape[0], x.shape[1] * x.shape[2]};
  return frame.set(op.getResult(), std::move(x));
}

Status evaluate(RopeOp op, Frame &frame) {
  const Tensor &x = frame.tensor(op.getInput()), &table = frame.tensor(op.getTable());
  if (Status rows = expectCount(op, "rows of the table", x.shape[0], table.rows()); !rows)
    return rows;
  return frame.set(op.getResults().front(), rope(x, table));
}

Status writeCache(Operation *op, Frame &frame, int64_t layer, const Tensor &key, const Tensor &value) {
  const BatchRows &batch = frame.state.batch;
  for (const Tensor *rows : {&key, &value})
    if (Status same = expectCount(op, "rows", batch.rows(), rows->shape[0]); !same)
      return same;
  int64_t width = batch.rows() ? key.count() / batch.rows() : 0;
  for (int64_t t = 0; t < batch.rows(); ++t)
    if (Status written = frame.state.cache.write(layer, batch.slots[t], batch.positions[t],
                                                 key.data.data() + t * width, value.data.data() + t * width);
        !written)
      return written;
  return ok();
}

Status evaluate(CacheWriteOp op, Frame &frame) {
  return writeCache(op, frame, frame.index(op.getLayer()), frame.tensor(op.getKey()),
                    frame.tensor(op.getValue()));
}

Status evaluate(SwigluOp op, Frame &frame) {
  const Tensor &gate = frame.tensor(op.getGate()), &up = frame.tensor(op.getUp());
  if (Status same = expectCount(op, "elements of up", gate.count(), up.count()); !same)
    return same;
  return frame.set(op.getResults().front(), swiglu(gate, up));
}

Status evaluate(AddOp op, Frame &frame) {
  const Tensor &lhs = frame.tensor(op.getLhs()), &rhs = frame.tensor(op.getRhs());
  if (Status same = expectCount(op, "elements of the right side", lhs.count(), rhs.count()); !same)
    return same;
  return frame.set(op.getResults().front(), add(lhs, rhs));
}

Status evaluate(RouterOp op, Frame &frame) {
  auto [weights, experts] = router(frame.tensor(op.getLogits()), op.getTopK(), op.getNormalize());
  Status first = frame.set(op.getResults()[0], std::move(weights));
  return first ? frame.set(op.getResults()[1], std::move(experts)) : std::move(first);
}

Status evaluate(ExpertsOp op, Frame &frame) {
  const Tensor &x = frame.tensor(op.getInput()), &weights = frame.tensor(op.getWeights());
  const Tensor &gate = frame.tensor(op.getGate()), &up = frame.tensor(op.getUp()),
               &down = frame.tensor(op.getDown());
  const Integers &experts = frame.integers(op.getExperts());
  if (Status same = expectCount(op, "expert weights", experts.count(), weights.count()); !same)
    return same;
  if (Status same = expectCount(op, "rows of weights", x.rows(), weights.rows()); !same)
    return same;
  if (up.shape != gate.shape || down.shape[0] != gate.shape[0])
    return userError("qwen.experts: expected gate, up and down of as many experts");
  Tensor result({x.rows(), down.shape[1]});
  for (int64_t t = 0; t < x.rows(); ++t) {
    std::vector<double> sums(result.columns());
    for (int64_t e = 0; e < gate.shape[0]; ++e)
      for (int64_t j = 0; j < experts.columns(); ++j) {
        if (experts.row(t)[j] != e)
          continue;
        Tensor row({1, x.columns()}, std::vector<float>(x.row(t), x.row(t) + x.columns()));
        Tensor inner = swiglu(linear(row, matrix(gate, e), nullptr), linear(row, matrix(up, e), nullptr));
        Tensor outer = linear(inner, matrix(down, e), nullptr);
        for (int64_t h = 0; h < result.columns(); ++h)
          sums[h] += static_cast<double>(weights.row(t)[j]) * outer.data[h];
      }
    std::transform(sums.begin(), sums.end(), result.row(t),
                   [](double sum) { return static_cast<float>(sum); });
  }
  return frame.set(op.getResult(), std::move(result));
}

Status evaluate(SampleOp op, Frame &frame) {
  const Tensor &logits = frame.tensor(op.getLogits());
  Integers drawn({static_cast<int64_t>(frame.state.batch.draws.size())});
  for (auto [draw, token] : llvm::zip(frame.state.batch.draws, drawn.data)) {
    if (!(draw.row >= 0 && draw.row < static_cast<double>(logits.rows())))
      return userError("qwen.sample: expected a row below " + std::to_string(logits.rows()) + ", found " + std::to_string(draw.row));
    if (!(draw.candidates >= 0 && draw.candidates <= static_cast<double>(logits.columns())))
      return userError("qwen.sample: expected at most " + std::to_string(logits.columns()) + " candidates, found " +
                       std::to_string(draw.candidates));
    token = sample(logits.row(static_cast<int64_t>(draw.row)), draw);
  }
  return frame.set(op.getResults()[0], std::move(drawn));
}

Status evaluate(OutputRowsOp op, Frame &frame) {
  const Tensor &x = frame.tensor(op.getInput());
  const std::vector<int32_t> &rows = frame.state.batch.outputRows;
  if (Status same = expectCount(op, "rows", frame.state.batch.rows(), x.rows()); !same)
    return same;
  Tensor result({static_cast<int64_t>(rows.size()), x.columns()});
  for (size_t o = 0; o < rows.size(); ++o)
    std::copy_n(x.row(rows[o]), x.columns(), result.row(o));
  return frame.set(op.getResults().front(), std::move(result));
}

} // namespace qwench::evaluator
