#include "benchmarks/kernels/lab.h"

#include "compiler/driver/pipeline.h"

#include "llvm/Support/MathExtras.h"

#include <algorithm>
#include <chrono>

namespace qwench::kernels {

namespace {

/// Weights that a prefill step goes through: more than second-level caches hold. Its rows, not its weights, take the time.
constexpr int64_t kPrefillWorkingSet = 32 << 20;
constexpr int64_t kMostLayers = 1024;

/// Experts of each row, [rows, topK]: those that follow on `first`.
std::vector<int32_t> chooseExperts(const Spec &spec, const PlannedOp &op, int64_t first) {
  std::vector<int32_t> experts;
  for (int64_t row = 0; row < spec.rows.count; ++row)
    for (int64_t j = 0; j < op.topK; ++j)
      experts.push_back(static_cast<int32_t>(
          (spec.routing == Spec::Routing::SameExperts ? j : first + row * op.topK + j) % op.experts));
  return experts;
}

/// Bytes and operations of one call.
Load loadOf(const Spec &spec, const PlannedOp &op) {
  const double rows = static_cast<double>(spec.rows.count), depth = static_cast<double>(spec.rows.depth);
  double weights = static_cast<double>(op.weightBytes);
  if (spec.routing == Spec::Routing::Uniform)
    weights *= static_cast<double>(std::min(op.experts, spec.rows.count * op.topK)) / static_cast<double>(op.topK);
  Load load;
  load.unit = op.unit;
  load.operations = static_cast<double>(op.flops) * rows;
  switch (spec.kind) {
  case Spec::Kind::Linear:
    load.bytes = weights;
    break;
  case Spec::Kind::Attention:
    load.bytes = static_cast<double>(op.cacheBytes) * (depth + rows);
    load.operations = static_cast<double>(op.attentionFlops) * (rows * depth + rows * (rows + 1) / 2);
    break;
  case Spec::Kind::Rows:
    load.bytes = weights + static_cast<double>(op.rowBytes + op.cacheBytes) * rows;
    break;
  }
  return load;
}

} // namespace

Result<std::unique_ptr<Lab>> Lab::create(const LabOptions &options, const Roofline &roofline) {
  std::unique_ptr<Lab> lab(new Lab(options, roofline));
  lab->context = createContext();
  lab->context->disableMultithreading(); // its threads would stand in the team's way
  lab->context->loadAllAvailableDialects();
  Result<std::unique_ptr<Target>> target = createTarget("x86-64", {options.cpu, {}});
  if (!target)
    return target.takeError();
  lab->target = target.take();
  Result<std::unique_ptr<QwenchTeam>> team = QwenchTeam::create(options.threads);
  if (!team)
    return team.takeError();
  lab->team = team.take();
  return lab;
}

Result<PlannedOp> Lab::plan(const Spec &spec, int64_t layers) {
  OpChoice choice = spec.op;
  choice.layers = layers;
  choice.decode = spec.rows.count <= target->properties().decodeRows;
  return planOp(*context, *target, choice);
}

Status Lab::make(const Spec &spec) {
  kernel.reset(); // gives back memory first
  const bool decode = spec.rows.count <= target->properties().decodeRows;
  int64_t layers = 0;
  if (spec.kind != Spec::Kind::Rows) {
    Result<PlannedOp> one = plan(spec, 1);
    if (!one)
      return one.takeError();
    int64_t bytes = spec.kind == Spec::Kind::Attention ? one->cacheBytes * (spec.rows.depth + spec.rows.count) : one->heldBytes;
    int64_t wanted = decode ? options.workingSet : std::min(options.workingSet, kPrefillWorkingSet);
    layers = std::clamp<int64_t>(llvm::divideCeil(wanted, bytes), 1, kMostLayers);
  }
  Result<PlannedOp> planned = plan(spec, layers);
  if (!planned)
    return planned.takeError();
  Result<std::unique_ptr<Kernel>> created = Kernel::create(planned.take(), *target, *team, spec.rows, decode);
  if (!created)
    return created.takeError();
  kernel = created.take();
  if (spec.routing != Spec::Routing::None) {
    Spec sort = spec;
    sort.op.ops = {"dispatch"};
    sort.op.weight = "";
    Result<PlannedOp> dispatch = plan(sort, layers);
    if (!dispatch)
      return dispatch.takeError();
    if (Status set = kernel->setDispatch(dispatch.take(), *target); !set)
      return set;
    kernel->route(chooseExperts(spec, kernel->op(), 0));
  }
  kernel->run(); // touches what is not filled
  return ok();
}

Result<Kernel *> Lab::prepare(const Spec &spec) {
  if (made != spec.name) { // Google Benchmark asks several times in a row
    made = "";
    if (Status status = make(spec); !status)
      return status.takeError();
    made = spec.name;
  }
  return kernel.get();
}

void Lab::measure(benchmark::State &state, const Spec &spec) {
  using Clock = std::chrono::steady_clock;
  Result<Kernel *> prepared = prepare(spec);
  if (!prepared) {
    ++failures;
    return state.SkipWithError(prepared.error().message.c_str());
  }
  const bool rotates = spec.routing == Spec::Routing::Uniform && spec.rows.count * kernel->op().topK < kernel->op().experts;
  double total = 0;
  int64_t first = 0;
  for (auto _ : state) {
    if (rotates)
      kernel->route(chooseExperts(spec, kernel->op(), first += spec.rows.count * kernel->op().topK));
    const Clock::time_point start = Clock::now();
    kernel->run();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    state.SetIterationTime(seconds);
    total += seconds;
  }
  report(state, spec, total / static_cast<double>(state.iterations()));
}

void Lab::report(benchmark::State &state, const Spec &spec, double seconds) {
  const PlannedOp &op = kernel->op();
  const Load load = loadOf(spec, op);
  const double calls = static_cast<double>(op.calls), each = seconds / calls;
  state.counters["calls"] = calls;
  state.counters["GB/s"] = load.bytes / each / 1e9;
  if (load.operations > 0)
    state.counters["GFLOP/s"] = load.operations / each / 1e9;
  if (auto bound = roofline.bound(load)) {
    state.counters["of_limit"] = bound->seconds / each;
    state.SetLabel(bound->loop->title);
  } else {
    state.SetLabel("this CPU lacks the loop of its limit");
  }
}

} // namespace qwench::kernels
