// qwench-bench-steps MODEL.so [Google Benchmark's options]: times single steps of a model made by
// `qwench compile --emit shared`: prefills of different lengths, and decodes of different depths and batches.
// On a configuration with one layer these are the kernels of that layer and the head.
#include "runtime/abi/qwench.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <dlfcn.h>
#include <string>
#include <vector>

namespace {

constexpr int64_t kSequences = 16;
constexpr int64_t kLongest = 2048; ///< tokens of a prefill or before a decode
constexpr int64_t kMargin = 64;

/// The functions of a loaded model.
struct Model {
  decltype(&qwench_open) open;
  decltype(&qwench_close) close;
  decltype(&qwench_info) info;
  decltype(&qwench_prefill) prefill;
  decltype(&qwench_decode_batch) decodeBatch;
  decltype(&qwench_truncate) truncate;
  decltype(&qwench_last_error) lastError;
  QwenchSession *session = nullptr;
  QwenchModelInfo facts = {};
};

template <typename Function> bool resolve(void *library, const char *name, Function &function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (!function)
    fprintf(stderr, "qwench-bench-steps: expected function %s, found none: %s\n", name, dlerror());
  return function;
}

bool load(const char *path, Model &model) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "qwench-bench-steps: %s\n", dlerror());
    return false;
  }
  if (!resolve(library, "qwench_open", model.open) || !resolve(library, "qwench_close", model.close) ||
      !resolve(library, "qwench_info", model.info) || !resolve(library, "qwench_prefill", model.prefill) ||
      !resolve(library, "qwench_decode_batch", model.decodeBatch) ||
      !resolve(library, "qwench_truncate", model.truncate) ||
      !resolve(library, "qwench_last_error", model.lastError))
    return false;
  QwenchOptions options = QWENCH_OPTIONS_INIT;
  options.context = 64; // only to ask how long it may be
  if (!model.open(&options, &model.session) && !model.info(model.session, &model.facts)) {
    model.close(model.session);
    options.context = std::min(kLongest + kMargin, model.facts.max_context);
    options.sequences = kSequences;
    if (!model.open(&options, &model.session))
      return true;
  }
  fprintf(stderr, "qwench-bench-steps: %s\n", model.lastError());
  return false;
}

std::vector<int32_t> tokens(const Model &model, int64_t count) {
  std::vector<int32_t> ids(count);
  uint64_t state = 1;
  for (int32_t &id : ids)
    id = static_cast<int32_t>((state = state * 6364136223846793005u + 1442695040888963407u) >> 33) %
         static_cast<int32_t>(model.facts.vocab_size);
  return ids;
}

void prefill(benchmark::State &state, const Model &model) {
  const std::vector<int32_t> ids = tokens(model, state.range(0));
  for (auto _ : state) {
    if (model.truncate(model.session, 0, 0) || model.prefill(model.session, 0, ids.data(), state.range(0)))
      return state.SkipWithError(model.lastError());
  }
  state.counters["tokens"] = benchmark::Counter(static_cast<double>(state.iterations() * state.range(0)),
                                                benchmark::Counter::kIsRate);
}

/// One step with a token for each of range(1) sequences, all of them range(0) tokens long before it.
void decode(benchmark::State &state, const Model &model) {
  const int64_t depth = state.range(0), batch = state.range(1);
  const std::vector<int32_t> ids = tokens(model, depth);
  std::vector<int32_t> sequences(batch), next(ids.begin(), ids.begin() + batch);
  for (int32_t i = 0; i < batch; ++i) {
    sequences[i] = i;
    if (model.truncate(model.session, i, 0) || model.prefill(model.session, i, ids.data(), depth))
      return state.SkipWithError(model.lastError());
  }
  for (auto _ : state) {
    if (model.decodeBatch(model.session, sequences.data(), next.data(), batch))
      return state.SkipWithError(model.lastError());
    for (int32_t sequence : sequences)
      model.truncate(model.session, sequence, depth);
  }
  state.counters["tokens"] =
      benchmark::Counter(static_cast<double>(state.iterations() * batch), benchmark::Counter::kIsRate);
}

void add(const Model &model) {
  const int64_t longest = std::min(kLongest, model.facts.max_context - kMargin);
  auto *prefills =
      benchmark::RegisterBenchmark("prefill", [&model](benchmark::State &s) { prefill(s, model); });
  for (int64_t rows : {1, 2, 8, 17, 32, 128, 512, 2048})
    if (rows <= longest)
      prefills->Arg(rows);
  auto *decodes = benchmark::RegisterBenchmark("decode", [&model](benchmark::State &s) { decode(s, model); });
  for (int64_t depth : {64, 512, 2048})
    for (int64_t batch : {int64_t(1), int64_t(4), kSequences})
      if (depth <= longest)
        decodes->Args({depth, batch});
  for (auto *family : {prefills, decodes})
    family->UseRealTime()->Unit(benchmark::kMillisecond);
  decodes->ArgNames({"depth", "batch"});
  prefills->ArgName("rows");
}

} // namespace

int main(int argc, char **argv) {
  benchmark::Initialize(&argc, argv);
  if (argc != 2) {
    fprintf(stderr, "usage: qwench-bench-steps MODEL.so [--benchmark_filter=REGEX ...]\n");
    return 1;
  }
  Model model;
  if (!load(argv[1], model))
    return 1;
  add(model);
  benchmark::RunSpecifiedBenchmarks();
  model.close(model.session);
  return 0;
}
