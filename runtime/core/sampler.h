// Drawing the next token from logits: temperature, top-k, top-p, min-p, in this order (as transformers orders
// them). qwen.sample (dialects/QwenOps.td) says the same of devices that draw tokens themselves.
#pragma once

#include "runtime/abi/qwench.h"

#include <vector>

namespace qwench {

/// A token that may be drawn.
struct Candidate {
  float logit;
  int32_t token;
  int64_t weight; // see runtime/abi/token_weight.h
};

/// nullptr, or what is wrong with the parameters ("expected temperature >= 0").
const char *checkSampling(const QwenchSampling &sampling);

/// The likeliest of `count` tokens, the lowest id among equals; NaN is no candidate. -1 if all are NaN or
/// -infinity.
int32_t likeliestToken(const float *logits, int64_t count);

/// Draws one of `count` tokens with parameters that checkSampling accepts; -1 as above. `uniform` in [0, 1)
/// says which of those that may be drawn: their weights follow each other by token id. At temperature 0 it is
/// not looked at. `scratch` is working memory, which does not grow past count elements.
int32_t drawToken(const float *logits, int64_t count, const QwenchSampling &sampling, double uniform,
                  std::vector<Candidate> &scratch);

/// log(sum(exp(logits))) of `count` logits, in double precision.
double logSumExp(const float *logits, int64_t count);

} // namespace qwench
