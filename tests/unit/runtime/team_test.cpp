#include "runtime/core/team.h"

#include <gtest/gtest.h>

#include <vector>

namespace {

std::unique_ptr<QwenchTeam> team(int threads) {
  auto created = QwenchTeam::create(threads);
  EXPECT_TRUE(created) << created.error().message;
  return created.take();
}

class TeamTest : public testing::TestWithParam<int> {};

TEST_P(TeamTest, WritesBeforeABarrierAreSeenByAllAfterIt) {
  auto threads = team(GetParam());
  std::vector<int> values(GetParam());
  std::atomic<int> wrong{0};
  const int rounds = GetParam() > 16 ? 20 : 300;
  qwench::runOn(*threads, [&](int64_t thread, int64_t count) {
    for (int round = 1; round <= rounds; ++round) {
      values[thread] = round;
      threads->barrier();
      wrong += values[(thread + 1) % count] != round;
      wrong += values[(thread * 7 + round) % count] != round;
      threads->barrier();
    }
  });
  EXPECT_EQ(wrong, 0);
}

TEST_P(TeamTest, EveryThreadRunsEveryStepOnce) {
  auto threads = team(GetParam());
  std::vector<int> calls(GetParam());
  const int steps = GetParam() > 16 ? 10 : 300;
  for (int step = 1; step <= steps; ++step) {
    qwench::runOn(*threads, [&](int64_t thread, int64_t count) {
      EXPECT_EQ(count, GetParam());
      ++calls[thread];
    });
    for (int count : calls)
      ASSERT_EQ(count, step);
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, TeamTest, testing::Values(1, 2, 3, 8, 64, 256));

TEST(Team, SleepingThreadsWakeForTheNextStep) {
  auto threads = team(3);
  std::atomic<int> calls{0};
  for (int step = 0; step < 3; ++step) {
    timespec pause = {0, 5'000'000};
    nanosleep(&pause, nullptr);
    qwench::runOn(*threads, [&](int64_t thread, int64_t) {
      if (thread == 1) // the others fall asleep at the barrier
        nanosleep(&pause, nullptr);
      threads->barrier();
      ++calls;
    });
  }
  EXPECT_EQ(calls, 9);
}

TEST(Team, StartsAndEndsWithoutWork) {
  for (int i = 0; i < 20; ++i)
    team(1 + i % 5);
}

TEST(Team, DefaultThreadsIsWithinTheAffinityMask) {
  EXPECT_GE(qwench::defaultThreads(), 1);
  EXPECT_LE(qwench::defaultThreads(), qwench::availableCpus());
}

} // namespace
