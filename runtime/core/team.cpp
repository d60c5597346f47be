#include "runtime/core/team.h"

#include <algorithm>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <immintrin.h>
#include <linux/futex.h>
#include <sched.h>
#include <set>
#include <string>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

// Cycles of the time-stamp counter to spin before sleeping: 250 to 500 microseconds, what threads differ by
// within the large ops of a decode step when their shares of the memory's bandwidth differ.
constexpr uint64_t kMaxSpin = 1'000'000;
// Less than one microsecond: with more threads than cores spinning takes time from those that work.
constexpr uint64_t kMinSpin = 2'000;

/// Whether this thread's long spins at barriers are worth it. On a quiet machine nearly all end with the
/// others' arrival; on a busy one the missing thread often waits for this very core, and most are in vain.
/// After a few of those, waits sleep at once, but for one in kProbeEvery, which finds out when that is over.
class SpinRecord {
public:
  /// Cycles that the next wait may spin.
  uint64_t budget() { return patient() || ++waits % kProbeEvery == 0 ? kMaxSpin : kMinSpin; }
  void met() { vain = std::max(0, vain - (patient() ? 1 : kVain)); }
  void spunInVain() { vain = std::min(2 * kHasty, vain + kVain); }

private:
  static constexpr unsigned kProbeEvery = 64;
  static constexpr int kVain = 16; ///< successes that make up for one spin in vain
  static constexpr int kHasty = 64;

  bool patient() const { return vain < kHasty; }

  int vain = 0;
  unsigned waits = 0;
};
thread_local SpinRecord spinRecord;

constexpr size_t kStackBytes = 1u << 20;

void futexWait(std::atomic<uint32_t> *word, uint32_t seen) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
}

void futexWakeAll(std::atomic<uint32_t> *word) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

/// Affinity masks of machines with more than 1024 CPUs need the sized form.
std::vector<int> affinityCpus() {
  std::vector<int> cpus;
  for (int most = 1024; most <= 1 << 16; most *= 4) {
    cpu_set_t *set = CPU_ALLOC(most);
    size_t bytes = CPU_ALLOC_SIZE(most);
    if (set && sched_getaffinity(0, bytes, set) == 0)
      for (int cpu = 0; cpu < most; ++cpu)
        if (CPU_ISSET_S(cpu, bytes, set))
          cpus.push_back(cpu);
    if (set)
      CPU_FREE(set);
    if (!cpus.empty())
      break;
  }
  return cpus;
}

} // namespace

void QwenchTeam::Event::advance() {
  value.fetch_add(1, std::memory_order_seq_cst);
  // A sleeper registers before the kernel compares the value, so either it is seen here or it sees the new
  // value.
  if (sleepers.load(std::memory_order_seq_cst) != 0)
    futexWakeAll(&value);
}

bool QwenchTeam::Event::spinPast(uint32_t seen, uint64_t spinCycles) {
  const uint64_t begin = __rdtsc();
  do {
    if (value.load(std::memory_order_acquire) != seen)
      return true;
    _mm_pause();
  } while (__rdtsc() - begin < spinCycles);
  return false;
}

void QwenchTeam::Event::sleepPast(uint32_t seen) {
  sleepers.fetch_add(1, std::memory_order_seq_cst);
  while (value.load(std::memory_order_seq_cst) == seen)
    futexWait(&value, seen);
  sleepers.fetch_sub(1, std::memory_order_relaxed);
}

void QwenchTeam::Event::waitPast(uint32_t seen, uint64_t maxSpin) {
  if (spinPast(seen, kMinSpin))
    return;
  const uint64_t limit = std::min(maxSpin, spinRecord.budget());
  if (limit > kMinSpin) {
    if (spinPast(seen, limit))
      return spinRecord.met();
    spinRecord.spunInVain();
  }
  sleepPast(seen);
}

QwenchTeam::QwenchTeam(int threads, uint64_t maxSpin)
    : size(threads), maxSpin(maxSpin), workers(threads - 1), ranges(threads) {}

int QwenchTeam::startWorkers() {
  // Signals are for the program's own threads: a worker would take Ctrl-C away from a read that is to end by
  // it.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  int failed = 0;
  for (size_t i = 0; i < workers.size() && !failed; ++i) {
    Worker &worker = workers[i];
    worker.team = this;
    worker.thread = static_cast<int>(i) + 1;
    failed = pthread_create(&worker.handle, &attributes, &workerMain, &worker);
    if (failed)
      workers.resize(i);
  }
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return failed;
}

qwench::Result<std::unique_ptr<QwenchTeam>> QwenchTeam::create(int threads) {
  const bool enough = threads <= qwench::availableCpus();
  std::unique_ptr<QwenchTeam> team(new QwenchTeam(threads, enough ? kMaxSpin : kMinSpin));
  if (int failed = team->startWorkers())
    return qwench::userError("cannot start " + std::to_string(threads) + " threads: " + strerror(failed));
  return team;
}

QwenchTeam::~QwenchTeam() {
  stopping.store(true, std::memory_order_relaxed);
  start.advance();
  for (Worker &worker : workers)
    pthread_join(worker.handle, nullptr);
}

void *QwenchTeam::workerMain(void *argument) {
  auto *worker = static_cast<Worker *>(argument);
  worker->team->work(worker->thread);
  return nullptr;
}

void QwenchTeam::work(int thread) {
  for (uint32_t seen = 0;; ++seen) {
    start.waitPast(seen, maxSpin);
    if (stopping.load(std::memory_order_relaxed))
      return;
    function(context, thread, size);
    barrier();
  }
}

void QwenchTeam::run(Function job, void *jobContext) {
  if (size == 1)
    return job(jobContext, 0, 1);
  function = job;
  context = jobContext;
  start.advance();
  job(jobContext, 0, size);
  barrier();
}

void QwenchTeam::barrier() {
  if (size == 1)
    return;
  uint32_t seen = met.value.load(std::memory_order_relaxed); // cannot advance before this thread has arrived
  if (waiting.fetch_add(1, std::memory_order_acq_rel) + 1 < size)
    return met.waitPast(seen, maxSpin);
  waiting.store(0, std::memory_order_relaxed);
  met.advance();
}

// All of a launch's tiles have been taken when its barrier falls, so nobody finds tiles of another launch in
// a range, and the barrier orders what they read and write: no order is asked of the ranges themselves.

int64_t QwenchTeam::Range::takeFirst() {
  uint64_t seen = tiles.load(std::memory_order_relaxed);
  do {
    if (static_cast<uint32_t>(seen) == seen >> 32)
      return -1;
  } while (!tiles.compare_exchange_weak(seen, seen + 1, std::memory_order_relaxed));
  return static_cast<uint32_t>(seen);
}

int64_t QwenchTeam::Range::takeLast() {
  uint64_t seen = tiles.load(std::memory_order_relaxed);
  do {
    if (static_cast<uint32_t>(seen) == seen >> 32)
      return -1;
  } while (!tiles.compare_exchange_weak(seen, seen - (uint64_t(1) << 32), std::memory_order_relaxed));
  return static_cast<int64_t>(seen >> 32) - 1;
}

int64_t QwenchTeam::share(int64_t thread, int64_t tiles) {
  const uint64_t begin = tiles * thread / size, end = tiles * (thread + 1) / size;
  ranges[thread].tiles.store(end << 32 | begin, std::memory_order_relaxed);
  return take(thread);
}

int64_t QwenchTeam::take(int64_t thread) {
  int64_t tile = ranges[thread].takeFirst();
  for (int64_t other = 1; tile < 0 && other < size; ++other)
    tile = ranges[(thread + other) % size].takeLast();
  return tile;
}

extern "C" {
void qwench_team_barrier(QwenchTeam *team) { team->barrier(); }
int64_t qwench_team_share(QwenchTeam *team, int64_t thread, int64_t tiles) {
  return team->share(thread, tiles);
}
int64_t qwench_team_take(QwenchTeam *team, int64_t thread) { return team->take(thread); }
}

namespace qwench {

int availableCpus() { return std::max<int>(1, static_cast<int>(affinityCpus().size())); }

int defaultThreads() {
  std::set<std::string> cores;
  std::vector<int> cpus = affinityCpus();
  for (int cpu : cpus) {
    // Hardware threads of one core name the same siblings.
    std::string path = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list";
    std::string siblings = "cpu" + std::to_string(cpu);
    if (FILE *file = fopen(path.c_str(), "re")) {
      char line[128];
      if (fgets(line, sizeof line, file))
        siblings = line;
      fclose(file);
    }
    cores.insert(siblings);
  }
  return std::clamp<int>(static_cast<int>(cores.size()), 1, QwenchTeam::kMaxThreads);
}

} // namespace qwench
