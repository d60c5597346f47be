// A persistent team of threads that runs one function at a time on all of them and meets at a barrier in
// between.
#pragma once

#include "runtime/abi/program.h"
#include "runtime/abi/result.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <pthread.h>
#include <vector>

/// The caller is thread 0; threads - 1 workers sleep between calls. Waiting spins first, because steps meet a
/// few hundred times in some milliseconds, and sleeps in the kernel after that, so that a team with more
/// threads than cores (or on a busy machine) makes progress.
struct QwenchTeam {
public:
  using Function = void (*)(void *context, int64_t thread, int64_t threads);

  static constexpr int kMaxThreads = 1024;

  /// 1 <= threads <= kMaxThreads.
  static qwench::Result<std::unique_ptr<QwenchTeam>> create(int threads);
  ~QwenchTeam();
  QwenchTeam(const QwenchTeam &) = delete;
  QwenchTeam &operator=(const QwenchTeam &) = delete;

  int threads() const { return size; }

  /// Calls function(context, thread, threads) on every thread; returns when all have returned.
  void run(Function function, void *context);

  /// Waits until every thread of the team has arrived; only inside run().
  void barrier();

  /// qwench_team_share and qwench_team_take of the ABI; only inside run(), a barrier behind each launch.
  int64_t share(int64_t thread, int64_t tiles);
  int64_t take(int64_t thread);

private:
  QwenchTeam(int threads, uint64_t maxSpin);
  int startWorkers(); // 0 or errno
  static void *workerMain(void *argument);
  void work(int thread);

  /// A counter that threads can wait on: each change wakes all who saw the old value.
  struct alignas(64) Event {
    std::atomic<uint32_t> value{0};
    std::atomic<uint32_t> sleepers{0};
    void advance();
    void waitPast(uint32_t seen, uint64_t maxSpin);
    bool spinPast(uint32_t seen, uint64_t spinCycles);
    void sleepPast(uint32_t seen);
  };

  /// The tiles of a launch that a thread has before it: the next one in the low half, the end in the high
  /// half. Its owner takes from the front, others from the back.
  struct alignas(64) Range {
    std::atomic<uint64_t> tiles{0};
    int64_t takeFirst();
    int64_t takeLast();
  };

  struct Worker {
    QwenchTeam *team = nullptr;
    int thread = 0;
    pthread_t handle{};
  };

  const int size;
  const uint64_t maxSpin; // cycles before sleeping
  Event start;            // advanced once per run
  Event met;              // advanced once per barrier
  alignas(64) std::atomic<int> waiting{0};
  alignas(64) Function function = nullptr;
  void *context = nullptr;
  std::atomic<bool> stopping{false};
  std::vector<Worker> workers;
  std::vector<Range> ranges; // one for each thread
};

namespace qwench {

/// One for each physical core of the process's affinity mask; at most QwenchTeam::kMaxThreads.
int defaultThreads();

/// CPUs (hardware threads) of the affinity mask.
int availableCpus();

/// run() with a callable: body(thread, threads).
template <typename Body> void runOn(QwenchTeam &team, Body &&body) {
  team.run([](void *context, int64_t thread,
              int64_t threads) { (*static_cast<std::remove_reference_t<Body> *>(context))(thread, threads); },
           &body);
}

} // namespace qwench
