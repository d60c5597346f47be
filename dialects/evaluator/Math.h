// The mathematics of the ops, on arrays. Values are f32, sums are taken in double. Names are those of the
// ops.
#pragma once

#include "dialects/evaluator/Values.h"

#include <utility>

namespace qwench::evaluator {

/// Sum of a[i] * b[i].
double dot(const float *a, const float *b, int64_t n);

/// `x / sqrt(mean(x^2) + eps) * weight` for each row.
Tensor rmsNorm(const Tensor &x, const Tensor &weight, double eps);

/// `x @ weight^T + bias`: x [T, K], weight [N, K], bias [N] or null.
Tensor linear(const Tensor &x, const Tensor &weight, const Tensor *bias);

/// Half rotation of each head: x [T, heads, D], table [T, D].
Tensor rope(const Tensor &x, const Tensor &table);

/// `silu(gate) * up`.
float swiglu(float gate, float up);
Tensor swiglu(const Tensor &gate, const Tensor &up);

/// swiglu of the two halves of each row: [T, 2 I] to [T, I].
Tensor swigluOfHalves(const Tensor &gateUp);

/// Each row in groups of columns, rounded to multiples of the group's scale: its largest magnitude / 127.
Tensor quantized(const Tensor &x, int64_t group);

Tensor add(const Tensor &lhs, const Tensor &rhs);

/// Softmax over all experts, the k likeliest in descending order (of equals the lower index first),
/// renormalised to sum 1 if asked: weights and experts [T, k].
std::pair<Tensor, Integers> router(const Tensor &logits, int64_t topK, bool normalize);

/// What qwen.sample draws from the logits of a vocabulary; `draw.row` is not looked at.
int32_t sample(const float *logits, const QwenchDraw &draw);

/// Counting sort of the pairs t * k + j by experts[t, j]: offsets [E + 1], pairs [T * k].
std::pair<Integers, Integers> dispatch(const Integers &experts, int64_t expertCount);

/// Row i of segment e times weight[e]^T; the row is pairs[i] / topK of x if topK > 0, else row i. weight [E,
/// N, K].
Tensor groupedLinear(const Tensor &x, const Tensor &weight, const Integers &offsets, const Integers &pairs,
                     int64_t topK);

/// Row t: sum of weights[t, j] * x[i] over pairs[i] = t * k + j, ascending in i. x [T * k, H], weights [T,
/// k].
Tensor combine(const Tensor &x, const Tensor &weights, const Integers &pairs);

/// Columns first .. first + count of a two-dimensional array.
Tensor columns(const Tensor &x, int64_t first, int64_t count);

/// Matrix `index` of a stack [E, N, K].
Tensor matrix(const Tensor &stack, int64_t index);

} // namespace qwench::evaluator
