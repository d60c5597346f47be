#include "dialects/evaluator/Math.h"

#include "runtime/abi/token_weight.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace qwench::evaluator {

double dot(const float *a, const float *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i)
    sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

Tensor rmsNorm(const Tensor &x, const Tensor &weight, double eps) {
  Tensor y(x.shape);
  for (int64_t r = 0; r < x.rows(); ++r) {
    double scale = 1 / std::sqrt(dot(x.row(r), x.row(r), x.columns()) / x.columns() + eps);
    for (int64_t i = 0; i < x.columns(); ++i)
      y.row(r)[i] = static_cast<float>(x.row(r)[i] * scale * weight.data[i]);
  }
  return y;
}

Tensor linear(const Tensor &x, const Tensor &weight, const Tensor *bias) {
  Tensor y({x.rows(), weight.rows()});
  for (int64_t t = 0; t < x.rows(); ++t)
    for (int64_t n = 0; n < weight.rows(); ++n)
      y.row(t)[n] =
          static_cast<float>(dot(x.row(t), weight.row(n), x.columns()) + (bias ? bias->data[n] : 0.0f));
  return y;
}

Tensor rope(const Tensor &x, const Tensor &table) {
  Tensor y(x.shape);
  int64_t heads = x.shape[1], half = x.columns() / 2;
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t i = 0; i < half; ++i) {
      double cos = table.row(r / heads)[i], sin = table.row(r / heads)[half + i];
      double a = x.row(r)[i], b = x.row(r)[half + i];
      y.row(r)[i] = static_cast<float>(a * cos - b * sin);
      y.row(r)[half + i] = static_cast<float>(b * cos + a * sin);
    }
  return y;
}

float swiglu(float gate, float up) {
  return static_cast<float>(gate / (1 + std::exp(-static_cast<double>(gate))) * up);
}

Tensor swiglu(const Tensor &gate, const Tensor &up) {
  Tensor y(gate.shape);
  std::transform(gate.data.begin(), gate.data.end(), up.data.begin(), y.data.begin(),
                 [](float g, float u) { return swiglu(g, u); });
  return y;
}

Tensor swigluOfHalves(const Tensor &gateUp) {
  int64_t half = gateUp.columns() / 2;
  return swiglu(columns(gateUp, 0, half), columns(gateUp, half, half));
}

Tensor quantized(const Tensor &x, int64_t group) {
  Tensor result(x.shape);
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t first = 0; first < x.columns(); first += group) {
      int64_t end = std::min(first + group, x.columns());
      float most = 0;
      for (int64_t i = first; i < end; ++i)
        most = std::max(most, std::abs(x.row(r)[i]));
      float scale = most / 127;
      for (int64_t i = first; i < end; ++i)
        result.row(r)[i] = scale > 0 ? std::nearbyint(x.row(r)[i] / scale) * scale : 0;
    }
  return result;
}

Tensor add(const Tensor &lhs, const Tensor &rhs) {
  Tensor y(lhs.shape);
  std::transform(lhs.data.begin(), lhs.data.end(), rhs.data.begin(), y.data.begin(), std::plus<float>());
  return y;
}

std::pair<Tensor, Integers> router(const Tensor &logits, int64_t topK, bool normalize) {
  Tensor weights({logits.rows(), topK});
  Integers experts({logits.rows(), topK});
  for (int64_t t = 0; t < logits.rows(); ++t) {
    const float *row = logits.row(t);
    std::vector<bool> taken(logits.columns());
    for (int64_t j = 0; j < topK; ++j) {
      int64_t best = -1;
      for (int64_t e = 0; e < logits.columns(); ++e)
        if (!taken[e] && (best < 0 || row[e] > row[best]))
          best = e;
      taken[best] = true;
      experts.row(t)[j] = static_cast<int32_t>(best);
    }
    double highest = row[experts.row(t)[0]], sum = 0;
    for (int64_t e = 0; e < logits.columns(); ++e)
      if (taken[e] || !normalize)
        sum += std::exp(row[e] - highest);
    for (int64_t j = 0; j < topK; ++j)
      weights.row(t)[j] = static_cast<float>(std::exp(row[experts.row(t)[j]] - highest) / sum);
  }
  return {std::move(weights), std::move(experts)};
}

int32_t sample(const float *logits, const QwenchDraw &draw) {
  std::vector<int32_t> ids; // of what is left, by likelihood
  for (int32_t id = 0; id < static_cast<int32_t>(draw.candidates); ++id)
    if (logits[id] > -INFINITY)
      ids.push_back(id);
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  if (ids.empty() || draw.temperature == 0 || std::isinf(logits[ids[0]]))
    return ids.empty() ? -1 : ids[0];
  const float top = logits[ids[0]], scale = tokenScale(static_cast<float>(draw.temperature));
  auto weight = [&](int32_t id) { return tokenWeight(logits[id], top, scale); };
  auto total = [&] {
    int64_t sum = 0;
    for (int32_t id : ids)
      sum += weight(id);
    return sum;
  };
  if (draw.top_k > 0 && draw.top_k < static_cast<double>(ids.size()))
    ids.resize(static_cast<size_t>(draw.top_k));
  if (draw.top_p < 1) {
    const int64_t wanted = shareOf(draw.top_p, total());
    size_t kept = 0;
    for (int64_t sum = 0; kept == 0 || sum < wanted; ++kept)
      sum += weight(ids[kept]);
    ids.resize(kept);
  }
  const int64_t least = shareOf(draw.min_p, kTopWeight);
  std::erase_if(ids, [&](int32_t id) { return weight(id) < least; });
  std::sort(ids.begin(), ids.end());
  const int64_t place = placeOf(draw.uniform, total());
  size_t i = 0;
  for (int64_t sum = weight(ids[0]); sum <= place; sum += weight(ids[i]))
    ++i;
  return ids[i];
}

std::pair<Integers, Integers> dispatch(const Integers &experts, int64_t expertCount) {
  Integers offsets({expertCount + 1}), pairs({experts.count()});
  for (int32_t expert : experts.data)
    ++offsets.data[expert + 1];
  std::partial_sum(offsets.data.begin(), offsets.data.end(), offsets.data.begin());
  std::vector<int32_t> next = offsets.data;
  for (int64_t pair = 0; pair < experts.count(); ++pair)
    pairs.data[next[experts.data[pair]]++] = static_cast<int32_t>(pair);
  return {std::move(offsets), std::move(pairs)};
}

Tensor groupedLinear(const Tensor &x, const Tensor &weight, const Integers &offsets, const Integers &pairs,
                     int64_t topK) {
  int64_t outputs = weight.shape[1];
  Tensor y({pairs.count(), outputs});
  for (int64_t e = 0; e < weight.shape[0]; ++e)
    for (int64_t i = offsets.data[e]; i < offsets.data[e + 1]; ++i)
      for (int64_t n = 0; n < outputs; ++n)
        y.row(i)[n] = static_cast<float>(
            dot(x.row(topK > 0 ? pairs.data[i] / topK : i), weight.row(e * outputs + n), weight.columns()));
  return y;
}

Tensor combine(const Tensor &x, const Tensor &weights, const Integers &pairs) {
  Tensor y({weights.rows(), x.columns()});
  std::vector<double> sums(y.count());
  for (int64_t i = 0; i < pairs.count(); ++i)
    for (int64_t h = 0; h < x.columns(); ++h)
      sums[pairs.data[i] / weights.columns() * x.columns() + h] +=
          static_cast<double>(weights.data[pairs.data[i]]) * x.row(i)[h];
  std::transform(sums.begin(), sums.end(), y.data.begin(),
                 [](double sum) { return static_cast<float>(sum); });
  return y;
}

Tensor columns(const Tensor &x, int64_t first, int64_t count) {
  Tensor y({x.rows(), count});
  for (int64_t r = 0; r < x.rows(); ++r)
    std::copy_n(x.row(r) + first, count, y.row(r));
  return y;
}

Tensor matrix(const Tensor &stack, int64_t index) {
  int64_t elements = stack.shape[1] * stack.shape[2];
  auto begin = stack.data.begin() + index * elements;
  return Tensor({stack.shape[1], stack.shape[2]}, std::vector<float>(begin, begin + elements));
}

} // namespace qwench::evaluator
