#include "benchmarks/kernels/roofline.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>

namespace qwench::kernels {

namespace {
constexpr std::string_view kRead = "read-2m";
constexpr std::string_view kLoops[] = {kRead, "f32", "bf16", "int8"};
} // namespace

Result<Roofline> Roofline::measure(const limits::Settings &settings) {
  std::vector<const limits::Loop *> chosen;
  for (const limits::Loop &loop : limits::loops())
    if (std::find(std::begin(kLoops), std::end(kLoops), loop.name) != std::end(kLoops) && limits::supported(loop))
      chosen.push_back(&loop);
  Roofline roofline;
  if (std::string error = limits::measure(settings, chosen, roofline.measurements); !error.empty())
    return userError(error);
  return roofline;
}

const limits::Measurement *Roofline::find(std::string_view loop) const {
  for (const limits::Measurement &measurement : measurements)
    if (loop == measurement.loop->name)
      return &measurement;
  return nullptr;
}

std::optional<Roofline::Bound> Roofline::bound(const Load &load) const {
  std::optional<Bound> longest;
  for (auto [name, work] : {std::pair{kRead, load.bytes}, {load.unit, load.operations}}) {
    if (work == 0)
      continue;
    const limits::Measurement *found = find(name);
    if (!found)
      return {};
    const double seconds = work / (limits::quantile(found->rates, 0.5) * 1e9);
    if (!longest || seconds > longest->seconds)
      longest = Bound{seconds, found->loop};
  }
  return longest;
}

void Roofline::addToContext() const {
  for (const limits::Measurement &m : measurements) {
    char rate[64];
    snprintf(rate, sizeof rate, "%.1f %s", limits::quantile(m.rates, 0.5), m.loop->unit);
    benchmark::AddCustomContext(m.loop->title, rate);
  }
}

} // namespace qwench::kernels
