// Attention over the cache, in one go or in runs of the keys.
#include "dialects/evaluator/Math.h"
#include "dialects/evaluator/Ops.h"

#include <algorithm>
#include <cmath>

using namespace mlir;
using namespace qwench::qwen;

namespace qwench::evaluator {
namespace {

/// Attention of one query vector over a run of positions, not yet divided by `sum`.
struct Partial {
  double maximum = 0, sum = 0;
  std::vector<double> values;
};

/// What a head of a row attends to.
struct Keys {
  const Cache &cache;
  int64_t layer, slot, head;

  Partial attend(const float *query, double scale, int64_t first, int64_t end) const {
    int64_t dim = cache.type().getDim();
    Partial result;
    result.values.resize(dim);
    std::vector<double> scores;
    for (int64_t p = first; p < end; ++p)
      scores.push_back(scale * dot(query, cache.key(layer, slot, p, head), dim));
    if (scores.empty())
      return result;
    result.maximum = *std::max_element(scores.begin(), scores.end());
    for (int64_t p = first; p < end; ++p) {
      double weight = std::exp(scores[p - first] - result.maximum);
      result.sum += weight;
      for (int64_t i = 0; i < dim; ++i)
        result.values[i] += weight * cache.value(layer, slot, p, head)[i];
    }
    return result;
  }
};

/// Where run s of S begins (and run s - 1 ends) for a row that attends to first .. last.
int64_t beginOfRun(AttentionOp op, int64_t s, int64_t first, int64_t last) {
  if (!op.getSplits())
    return s == 0 ? first : last + 1;
  int64_t block = *op.getSplitKeys(), firstBlock = first / block, blocks = last / block - firstBlock + 1;
  int64_t begin = (firstBlock + s * blocks / static_cast<int64_t>(*op.getSplits())) * block;
  return std::clamp(begin, first, last + 1);
}

} // namespace

Status evaluate(AttentionOp op, Frame &frame) {
  const Tensor &query = frame.tensor(op.getQuery());
  const BatchRows &batch = frame.state.batch;
  const Cache &cache = frame.state.cache;
  if (Status rows = expectCount(op, "rows", batch.rows(), query.shape[0]); !rows)
    return rows;
  int64_t layer = frame.index(op.getLayer()), heads = query.shape[1], dim = query.shape[2];
  int64_t runs = op.getSplits() ? *op.getSplits() : 1;
  Tensor values({batch.rows(), runs, heads, dim}), stats({batch.rows(), runs, heads, 2});
  for (int64_t t = 0; t < batch.rows(); ++t) {
    int64_t slot = batch.slots[t], last = batch.positions[t];
    int64_t first =
        op.getWindow() ? std::max<int64_t>(0, last - static_cast<int64_t>(*op.getWindow()) + 1) : 0;
    if (last >= cache.length(layer, slot))
      return userError("qwen.attention: expected position " + std::to_string(last) + " of slot " +
                       std::to_string(slot) + " in the cache, found " +
                       std::to_string(cache.length(layer, slot)) + " positions");
    for (int64_t run = 0; run < runs; ++run)
      for (int64_t head = 0; head < heads; ++head) {
        Keys keys{cache, layer, slot, head / op.groupSize()};
        Partial partial =
            keys.attend(query.row(t * heads + head), op.getScale().convertToFloat(),
                        beginOfRun(op, run, first, last), beginOfRun(op, run + 1, first, last));
        int64_t row = (t * runs + run) * heads + head;
        for (int64_t i = 0; i < dim; ++i)
          values.row(row)[i] = static_cast<float>(partial.values[i] / (op.getSplits() ? 1 : partial.sum));
        stats.row(row)[0] = static_cast<float>(partial.maximum);
        stats.row(row)[1] = static_cast<float>(partial.sum);
      }
  }
  if (!op.getSplits()) {
    values.shape = query.shape;
    return frame.set(op.getResults()[0], std::move(values));
  }
  Status first = frame.set(op.getResults()[0], std::move(values));
  return first ? frame.set(op.getResults()[1], std::move(stats)) : std::move(first);
}

Status evaluate(AttentionCombineOp op, Frame &frame) {
  const Tensor &values = frame.tensor(op.getValues()), &stats = frame.tensor(op.getStats());
  int64_t rows = values.shape[0], runs = values.shape[1], heads = values.shape[2], dim = values.shape[3];
  if (Status same = expectCount(op, "rows of the stats", rows, stats.shape[0]); !same)
    return same;
  Tensor result({rows, heads, dim});
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t head = 0; head < heads; ++head) {
      double highest = -HUGE_VAL, sum = 0;
      std::vector<double> mixed(dim);
      auto row = [&](int64_t run) { return (t * runs + run) * heads + head; };
      for (int64_t run = 0; run < runs; ++run)
        if (stats.row(row(run))[1] != 0)
          highest = std::max<double>(highest, stats.row(row(run))[0]);
      for (int64_t run = 0; run < runs; ++run) {
        if (stats.row(row(run))[1] == 0)
          continue;
        double factor = std::exp(stats.row(row(run))[0] - highest);
        sum += factor * stats.row(row(run))[1];
        for (int64_t i = 0; i < dim; ++i)
          mixed[i] += factor * values.row(row(run))[i];
      }
      for (int64_t i = 0; i < dim; ++i)
        result.row(t * heads + head)[i] = static_cast<float>(mixed[i] / sum);
    }
  return frame.set(op.getResults().front(), std::move(result));
}

} // namespace qwench::evaluator
