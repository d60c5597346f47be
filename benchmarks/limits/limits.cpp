// qwench-limits: what this machine can do at most, beside which the speed of compiled models is quoted.
#include "benchmarks/limits/measure.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <thread>

using namespace qwench::limits;

namespace {

void printText(const Settings &settings, const std::vector<Measurement> &measurements,
               const std::vector<const Loop *> &lacking) {
  printf("threads %d, rounds %d, read buffer %zu MiB: median (5 %%, 95 %%)\n", settings.threads,
         settings.rounds, settings.bytes >> 20);
  for (const Measurement &m : measurements) {
    printf("%-20s %8.1f %-8s (%.1f, %.1f)", m.loop->title, quantile(m.rates, 0.5), m.loop->unit,
           quantile(m.rates, 0.05), quantile(m.rates, 0.95));
    if (m.loop->hugePages)
      printf("  %zu MiB on huge pages", m.hugeBytes >> 20);
    printf("\n");
  }
  for (const Loop *loop : lacking)
    printf("%-20s not measured: this CPU lacks %s\n", loop->title, loop->feature);
}

void printJson(const Settings &settings, const std::vector<Measurement> &measurements,
               const std::vector<const Loop *> &lacking) {
  nlohmann::ordered_json loops = nlohmann::ordered_json::object();
  for (const Measurement &m : measurements) {
    loops[m.loop->name] = {{"unit", m.loop->unit},
                           {"median", quantile(m.rates, 0.5)},
                           {"p5", quantile(m.rates, 0.05)},
                           {"p95", quantile(m.rates, 0.95)}};
    if (m.loop->hugePages)
      loops[m.loop->name]["huge_page_bytes"] = m.hugeBytes;
  }
  for (const Loop *loop : lacking)
    loops[loop->name] = {{"lacks", loop->feature}};
  nlohmann::ordered_json result = {{"threads", settings.threads},
                                   {"rounds", settings.rounds},
                                   {"read_bytes", settings.bytes},
                                   {"loops", loops}};
  printf("%s\n", result.dump(2).c_str());
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app("Measures loops of arithmetic and of reading memory: the limits of this machine.",
               "qwench-limits");
  Settings settings;
  settings.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  size_t mebibytes = settings.bytes >> 20;
  bool json = false;
  std::vector<std::string> names;
  for (const Loop &loop : loops())
    names.push_back(loop.name);
  std::vector<std::string> wanted = names;
  app.add_option("-t,--threads", settings.threads, "threads [default: one for each CPU]")
      ->check(CLI::Range(1, 1024));
  app.add_option("-r,--rounds", settings.rounds, "rounds; in each, every loop runs once")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_option("-m,--mebibytes", mebibytes, "memory that the reads go through, all threads together")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("-s,--seconds", settings.seconds, "of one run of an arithmetic loop")
      ->check(CLI::Range(0.001, 60.0))
      ->capture_default_str();
  app.add_option("-l,--loop", wanted, "loops to run [default: all]")
      ->delimiter(',')
      ->check(CLI::IsMember(names));
  app.add_flag("--json", json, "print JSON");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    return app.exit(error) ? 1 : 0;
  }
  settings.bytes = mebibytes << 20;

  std::vector<const Loop *> chosen, lacking;
  for (const Loop &loop : loops())
    if (std::find(wanted.begin(), wanted.end(), loop.name) != wanted.end())
      (supported(loop) ? chosen : lacking).push_back(&loop);
  std::vector<Measurement> measurements;
  if (std::string error = measure(settings, chosen, measurements); !error.empty()) {
    fprintf(stderr, "qwench-limits: %s\n", error.c_str());
    return 1;
  }
  (json ? printJson : printText)(settings, measurements, lacking);
  return 0;
}
