#include "benchmarks/limits/measure.h"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstring>
#include <fstream>
#include <memory>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <thread>

namespace qwench::limits {

namespace {

constexpr size_t kHugePage = 2u << 20;
constexpr size_t kReadStep = 512; ///< bytes of one iteration of the read loop

double now() {
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Memory filled with data, on huge pages or surely not on them.
class Buffer {
public:
  Buffer(size_t bytes, bool hugePages) : mapped(bytes + kHugePage) {
    raw = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED)
      return;
    auto start = (reinterpret_cast<uintptr_t>(raw) + kHugePage - 1) & ~(kHugePage - 1);
    data = reinterpret_cast<std::byte *>(start);
    madvise(data, bytes, hugePages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    memset(data, 1, bytes);
  }
  ~Buffer() {
    if (raw != MAP_FAILED)
      munmap(raw, mapped);
  }
  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;

  std::byte *data = nullptr; ///< null if there was no memory
private:
  size_t mapped;
  void *raw = nullptr;
};

/// Bytes of this process on transparent huge pages.
size_t hugeBytes() {
  std::ifstream file("/proc/self/smaps_rollup");
  for (std::string word; file >> word;)
    if (size_t kibibytes = 0; word == "AnonHugePages:" && file >> kibibytes)
      return kibibytes << 10;
  return 0;
}

void pin(int thread) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed))
    return;
  int left = thread % std::max(CPU_COUNT(&allowed), 1);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &allowed) && left-- == 0) {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(cpu, &one);
      pthread_setaffinity_np(pthread_self(), sizeof one, &one);
      return;
    }
}

/// Iterations of a computing loop that take about `seconds` on one thread.
int64_t calibrate(const Loop &loop, double seconds) {
  int64_t iterations = 1000;
  for (;;) {
    const double start = now();
    loop.compute(iterations);
    const double taken = now() - start;
    if (taken > 2e6) // long enough for the clock and for the core to have woken
      return std::max<int64_t>(1,
                               static_cast<int64_t>(static_cast<double>(iterations) * seconds * 1e9 / taken));
    iterations *= 2;
  }
}

/// What all threads work on in turn.
struct Job {
  const Loop *loop;
  int64_t iterations = 0;
  const std::byte *data = nullptr;
  size_t bytes = 0; ///< of each thread

  void run(int thread) const {
    if (loop->compute)
      loop->compute(iterations);
    else
      loop->read(data + static_cast<size_t>(thread) * bytes, bytes);
  }
  double work(int threads) const {
    return threads *
           (loop->compute ? static_cast<double>(iterations) * loop->work : static_cast<double>(bytes));
  }
};

/// Runs every job once a round. A job's time is from the first thread's start to the last one's end.
void runRounds(const Settings &settings, const std::vector<Job> &jobs,
               std::vector<Measurement> &measurements) {
  std::vector<double> begun(settings.threads), ended(settings.threads);
  std::barrier meet(settings.threads);
  auto worker = [&](int thread) {
    pin(thread);
    for (int round = 0; round < settings.rounds; ++round)
      for (size_t j = 0; j < jobs.size(); ++j) {
        meet.arrive_and_wait();
        begun[thread] = now();
        jobs[j].run(thread);
        ended[thread] = now();
        meet.arrive_and_wait();
        if (thread == 0)
          measurements[j].rates.push_back(jobs[j].work(settings.threads) /
                                          (*std::max_element(ended.begin(), ended.end()) -
                                           *std::min_element(begun.begin(), begun.end())));
      }
  };
  std::vector<std::thread> threads;
  for (int thread = 0; thread < settings.threads; ++thread)
    threads.emplace_back(worker, thread);
  for (std::thread &thread : threads)
    thread.join();
}

} // namespace

std::string measure(const Settings &settings, std::span<const Loop *const> chosen,
                    std::vector<Measurement> &measurements) {
  const size_t part = settings.bytes / settings.threads / kReadStep * kReadStep;
  std::unique_ptr<Buffer> buffers[2];
  std::vector<Job> jobs;
  for (const Loop *loop : chosen) {
    Job job{loop};
    measurements.push_back({loop, {}, 0});
    if (loop->compute) {
      job.iterations = calibrate(*loop, settings.seconds);
    } else {
      std::unique_ptr<Buffer> &buffer = buffers[loop->hugePages];
      const size_t before = hugeBytes();
      buffer = std::make_unique<Buffer>(part * settings.threads, loop->hugePages);
      if (!buffer->data)
        return "expected " + std::to_string(settings.bytes >> 20) + " MiB of memory for '" + loop->name +
               "', found less";
      measurements.back().hugeBytes = hugeBytes() - std::min(before, hugeBytes());
      job.data = buffer->data;
      job.bytes = part;
    }
    jobs.push_back(job);
  }
  runRounds(settings, jobs, measurements);
  return "";
}

double quantile(std::vector<double> values, double fraction) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(fraction * static_cast<double>(values.size() - 1) + 0.5)];
}

} // namespace qwench::limits
