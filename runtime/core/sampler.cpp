#include "runtime/core/sampler.h"

#include "runtime/abi/token_weight.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace qwench {

namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

/// The highest logit, NaN aside. Sixteen maxima side by side, since a single one would be a chain of
/// dependent compares.
float highest(const float *logits, int64_t count) {
  float lanes[16];
  std::fill(std::begin(lanes), std::end(lanes), kNever);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16)
    for (int lane = 0; lane < 16; ++lane)
      lanes[lane] = logits[i + lane] > lanes[lane] ? logits[i + lane] : lanes[lane];
  for (; i < count; ++i)
    lanes[0] = logits[i] > lanes[0] ? logits[i] : lanes[0];
  return *std::max_element(std::begin(lanes), std::end(lanes));
}

/// Likelier first; among equals the lower id.
bool likelier(const Candidate &a, const Candidate &b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}
bool lessLikely(const Candidate &a, const Candidate &b) { return likelier(b, a); }

/// The k likeliest tokens in no particular order (k = 0: all that are possible).
void collect(const float *logits, int64_t count, int32_t k, std::vector<Candidate> &out) {
  out.clear();
  if (k == 0 || k >= count) {
    for (int64_t i = 0; i < count; ++i)
      if (logits[i] > kNever)
        out.push_back({logits[i], static_cast<int32_t>(i), 0});
    return;
  }
  for (int64_t i = 0; i < count; ++i) { // a heap with the least likely candidate on top
    if (!(logits[i] > kNever))
      continue;
    bool full = out.size() == static_cast<size_t>(k);
    if (full && !(logits[i] > out.front().logit))
      continue;
    if (full) {
      std::pop_heap(out.begin(), out.end(), likelier);
      out.pop_back();
    }
    out.push_back({logits[i], static_cast<int32_t>(i), 0});
    std::push_heap(out.begin(), out.end(), likelier);
  }
}

int64_t totalWeight(const std::vector<Candidate> &candidates) {
  int64_t total = 0;
  for (const Candidate &candidate : candidates)
    total += candidate.weight;
  return total;
}

/// Keeps the likeliest tokens that reach a share p of the total together, at least one.
void keepTopP(double p, std::vector<Candidate> &candidates) {
  const int64_t wanted = shareOf(p, totalWeight(candidates));
  std::make_heap(candidates.begin(), candidates.end(), lessLikely);
  auto end = candidates.end();
  int64_t sum = 0;
  do {
    std::pop_heap(candidates.begin(), end, lessLikely);
    sum += (--end)->weight;
  } while (sum < wanted && end != candidates.begin());
  candidates.erase(candidates.begin(), end);
}

} // namespace

const char *checkSampling(const QwenchSampling &sampling) {
  if (!(sampling.temperature >= 0) || std::isinf(sampling.temperature))
    return "expected a temperature of at least 0";
  if (sampling.top_k < 0)
    return "expected top-k of at least 0";
  if (!(sampling.top_p >= 0 && sampling.top_p <= 1))
    return "expected top-p between 0 and 1";
  if (!(sampling.min_p >= 0 && sampling.min_p <= 1))
    return "expected min-p between 0 and 1";
  return nullptr;
}

int32_t likeliestToken(const float *logits, int64_t count) {
  float best = highest(logits, count);
  if (best == kNever)
    return -1;
  return static_cast<int32_t>(std::find(logits, logits + count, best) - logits);
}

int32_t drawToken(const float *logits, int64_t count, const QwenchSampling &sampling, double uniform,
                  std::vector<Candidate> &scratch) {
  const int32_t best = likeliestToken(logits, count);
  if (best < 0 || sampling.temperature == 0 || std::isinf(logits[best]))
    return best;
  collect(logits, count, sampling.top_k, scratch);
  const float scale = tokenScale(sampling.temperature);
  for (Candidate &candidate : scratch)
    candidate.weight = tokenWeight(candidate.logit, logits[best], scale);
  if (sampling.top_p < 1)
    keepTopP(sampling.top_p, scratch);
  const int64_t least = shareOf(sampling.min_p, kTopWeight);
  std::erase_if(scratch, [&](const Candidate &candidate) { return candidate.weight < least; });
  if (sampling.top_k > 0 || sampling.top_p < 1) // what was chosen by likelihood
    std::sort(scratch.begin(), scratch.end(),
              [](const Candidate &a, const Candidate &b) { return a.token < b.token; });
  int64_t left = placeOf(uniform, totalWeight(scratch));
  for (const Candidate &candidate : scratch)
    if ((left -= candidate.weight) < 0)
      return candidate.token;
  return best; // not reached: `left` is less than the total
}

double logSumExp(const float *logits, int64_t count) {
  const double top = highest(logits, count);
  if (std::isinf(top))
    return top;
  double sum = 0;
  for (int64_t i = 0; i < count; ++i)
    sum += std::exp(logits[i] - top);
  return top + std::log(sum);
}

} // namespace qwench
