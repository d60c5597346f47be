// Tokens of sessions: drawn from logits, where those are, and appended one after another.
#include "runtime/core/outcomes.h"
#include "runtime/core/session.h"

#include <algorithm>

namespace qwench {

double Session::uniformOf(int32_t sequence, const QwenchSampling &sampling) {
  Sequence &slot = slots[sequence];
  if (!slot.drawn)
    slot.random = Random(sampling.seed);
  slot.drawn = true;
  return sampling.temperature == 0 ? 0 : slot.random.uniform();
}

Outcome Session::enqueueDraws(std::span<const int32_t> sequences, const QwenchSampling &sampling) {
  draws.clear();
  for (int32_t sequence : sequences)
    draws.push_back({static_cast<double>(sequence), static_cast<double>(sampleable), uniformOf(sequence, sampling),
                     sampling.temperature, static_cast<double>(sampling.top_k), sampling.top_p, sampling.min_p});
  Status status = onDevice->draw(draws);
  return status ? Outcome{} : fromDevice(status.error());
}

Outcome Session::takeDrawn(std::span<int32_t> tokens) {
  Status status = onDevice->drawn(tokens);
  return status ? Outcome{} : fromDevice(status.error());
}

/// Where the logits are: -1 for what cannot be drawn.
Outcome Session::draw(std::span<const int32_t> sequences, const QwenchSampling &sampling, std::span<int32_t> tokens) {
  if (drawsThere()) {
    Outcome enqueued = enqueueDraws(sequences, sampling);
    return enqueued ? takeDrawn(tokens) : enqueued;
  }
  for (size_t i = 0; i < sequences.size(); ++i) {
    const float *from = nullptr;
    if (Outcome outcome = logits(sequences[i], &from); !outcome)
      return outcome;
    tokens[i] = drawToken(from, sampleable, sampling, uniformOf(sequences[i], sampling), scratch);
  }
  return {};
}

/// Of tokens drawn: -1 is none.
static Outcome checkDrawn(std::span<const int32_t> tokens) {
  if (std::find(tokens.begin(), tokens.end(), -1) != tokens.end())
    return {QWENCH_ERROR_MODEL, "the model's logits are not numbers"};
  return {};
}

Outcome Session::checkDraw(std::span<const int32_t> sequences, const QwenchSampling &sampling) const {
  for (int32_t sequence : sequences)
    if (Outcome outcome = checkLogits(sequence); !outcome)
      return outcome;
  const char *wrong = checkSampling(sampling);
  return wrong ? argument(wrong) : Outcome{};
}

Outcome Session::sample(std::span<const int32_t> sequences, const QwenchSampling &sampling, std::span<int32_t> tokens) {
  if (sequences.size() != tokens.size() || sequences.size() > slots.size())
    return argument(expectedFound("sequences", "at most " + std::to_string(slots.size()) + ", a token each",
                                  static_cast<int64_t>(sequences.size())));
  if (Outcome outcome = checkDraw(sequences, sampling); !outcome)
    return outcome;
  if (Outcome outcome = draw(sequences, sampling, tokens); !outcome)
    return outcome;
  return checkDrawn(tokens);
}

Outcome Session::sample(int32_t sequence, const QwenchSampling &sampling, int32_t *token) {
  int32_t drawn = -1; // of a token that cannot be drawn the caller sees nothing
  Outcome outcome = sample({&sequence, 1}, sampling, {&drawn, 1});
  if (outcome)
    *token = drawn;
  return outcome;
}

/// Tokens of the sequences, which the next step has as well: it is enqueued behind the draws, and runs while the tokens are read.
Outcome Session::drawAndStep(std::span<const int32_t> sequences, const QwenchSampling &sampling, std::span<int32_t> tokens) {
  if (Outcome outcome = enqueueDraws(sequences, sampling); !outcome)
    return outcome;
  std::fill(tokens.begin(), tokens.end(), 0);
  if (Outcome outcome = appendBatch(sequences, tokens, /*areDrawn=*/true); !outcome)
    return outcome;
  Outcome outcome = takeDrawn(tokens);
  if (outcome)
    outcome = checkDrawn(tokens);
  if (!outcome)
    takeBack(sequences);
  return outcome;
}

Outcome Session::generate(std::span<const int32_t> sequences, const QwenchSampling &sampling, int64_t most, const TokenSink &sink) {
  if (Outcome outcome = checkBatch(sequences); !outcome)
    return outcome;
  if (Outcome outcome = checkDraw(sequences, sampling); !outcome)
    return outcome;
  std::vector<int32_t> going(sequences.begin(), sequences.end()), tokens;
  for (int64_t count = 1; !going.empty(); ++count) {
    const bool last = count == most, steps = drawsThere() && !last && checkRoom(going);
    tokens.resize(going.size());
    if (Outcome drawn = steps ? drawAndStep(going, sampling, tokens) : sample(going, sampling, tokens); !drawn)
      return drawn;
    size_t kept = 0;
    for (size_t i = 0; i < going.size(); ++i) {
      const int32_t sequence = going[i];
      const bool room = steps || !isFull(sequence);
      if (sink(sequence, tokens[i]) && room && !last) {
        tokens[kept] = tokens[i];
        going[kept++] = sequence;
        continue;
      }
      if (steps)
        takeBack({&sequence, 1});
      slots[sequence].hasLogits = false;
    }
    going.resize(kept), tokens.resize(kept);
    if (!steps && kept)
      if (Outcome outcome = appendBatch(going, tokens, /*areDrawn=*/false); !outcome)
        return outcome;
  }
  return {};
}

} // namespace qwench
