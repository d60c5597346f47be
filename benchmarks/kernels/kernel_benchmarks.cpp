// qwench-kernel-benchmarks: every emitted kernel alone, on real shapes, beside what the machine can do at most.
#include "benchmarks/kernels/families.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <unistd.h>

using namespace qwench;
using namespace qwench::kernels;

namespace {

constexpr const char *kFooter = R"(
Google Benchmark's options follow or precede these:
  --benchmark_filter=REGEX  --benchmark_list_tests  --benchmark_min_time=SECONDS  --benchmark_repetitions=N
  --benchmark_format=console|json|csv  --benchmark_out=FILE

Examples:
  qwench-kernel-benchmarks --benchmark_list_tests
  qwench-kernel-benchmarks --benchmark_filter=linear/gate_up_proj/int4
  qwench-kernel-benchmarks --cpu x86-64-v4 --benchmark_filter=attention)";

struct Arguments {
  LabOptions lab;
  limits::Settings limits;
  std::string configs = QWENCH_SOURCE_DIR "/benchmarks/configs";
  std::vector<std::string> others; ///< Google Benchmark's
};

/// Twice the last-level cache, so that a decode step finds nothing there that the one before left.
int64_t defaultMebibytes() {
  return std::clamp<int64_t>(2 * sysconf(_SC_LEVEL3_CACHE_SIZE) >> 20, 256, 1024);
}

/// The exit code if the program ends here.
std::optional<int> parse(int argc, char **argv, Arguments &arguments) {
  CLI::App app("Times every kernel that the x86-64 target emits alone, in steps of real shapes.", "qwench-kernel-benchmarks");
  app.footer(kFooter);
  app.allow_extras();
  arguments.lab.threads = defaultThreads();
  int64_t mebibytes = defaultMebibytes();
  app.add_option("--cpu", arguments.lab.cpu, "native, x86-64-v4, znver4, ...: as qwench compile takes it")->capture_default_str();
  app.add_option("-t,--threads", arguments.lab.threads, "threads [default: one for each core]")
      ->check(CLI::Range(1, QwenchTeam::kMaxThreads));
  app.add_option("-m,--mebibytes", mebibytes,
                 "weights, or cache, that a decode step goes through at least, and the limit's reads [default: twice the "
                 "last-level cache, 256 to 1024]")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("-r,--rounds", arguments.limits.rounds, "rounds of the limits' loops")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_option("-s,--seconds", arguments.limits.seconds, "of one run of an arithmetic loop")
      ->check(CLI::Range(0.001, 60.0))
      ->capture_default_str();
  app.add_option("--configs", arguments.configs, "directory of the shapes' configurations")->check(CLI::ExistingDirectory);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    return app.exit(error) ? 1 : 0;
  }
  arguments.limits.threads = arguments.lab.threads;
  arguments.limits.bytes = static_cast<size_t>(mebibytes) << 20;
  arguments.lab.workingSet = mebibytes << 20;
  arguments.others = app.remaining();
  return {};
}

/// Hands Google Benchmark its options; false if there are others.
bool initialize(Arguments &arguments) {
  static char program[] = "qwench-kernel-benchmarks"; // Google Benchmark keeps it
  std::vector<char *> words = {program};
  for (std::string &word : arguments.others)
    words.push_back(word.data());
  int count = static_cast<int>(words.size());
  words.push_back(nullptr);
  benchmark::Initialize(&count, words.data());
  return !benchmark::ReportUnrecognizedArguments(count, words.data());
}

int fail(const Error &error) {
  fprintf(stderr, "qwench-kernel-benchmarks: %s\n", error.message.c_str());
  return error.fault == Error::Fault::User ? 1 : 2;
}

} // namespace

int main(int argc, char **argv) {
  Arguments arguments;
  if (std::optional<int> code = parse(argc, argv, arguments))
    return *code;
  const bool lists = std::any_of(arguments.others.begin(), arguments.others.end(),
                                 [](const std::string &word) { return word.starts_with("--benchmark_list_tests"); });
  if (!initialize(arguments))
    return 1;
  Roofline roofline;
  if (!lists) {
    Result<Roofline> measured = Roofline::measure(arguments.limits);
    if (!measured)
      return fail(measured.error());
    roofline = measured.take();
    roofline.addToContext();
  }
  Result<std::unique_ptr<Lab>> lab = Lab::create(arguments.lab, roofline);
  if (!lab)
    return fail(lab.error());
  benchmark::AddCustomContext("cpu", arguments.lab.cpu);
  benchmark::AddCustomContext("threads", std::to_string(arguments.lab.threads));
  for (const Spec &spec : specs(arguments.configs))
    benchmark::RegisterBenchmark(spec.name.c_str(), [&lab, spec](benchmark::State &state) { (*lab)->measure(state, spec); })
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
  const size_t found = benchmark::RunSpecifiedBenchmarks();
  return found == 0 || (*lab)->failed() ? 1 : 0;
}
