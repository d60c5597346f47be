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

TEST_P(TeamTest, EveryTileGoesToOneThread) {
  auto threads = team(GetParam());
  const int launches = GetParam() > 16 ? 10 : 200;
  std::vector<std::atomic<int>> taken(1000);
  qwench::runOn(*threads, [&](int64_t thread, int64_t) {
    for (int launch = 0; launch < launches; ++launch) {
      for (int64_t tile = threads->share(thread, launch * 5); tile >= 0; tile = threads->take(thread)) {
        ASSERT_LT(tile, launch * 5);
        ++taken[tile];
      }
      threads->barrier();
    }
  });
  for (int tile = 0; tile < 1000; ++tile)
    EXPECT_EQ(taken[tile], std::max(0, launches - 1 - tile / 5)) << tile;
}

TEST(Team, TilesOfASlowThreadGoToTheOthers) {
  auto threads = team(2);
  std::vector<int64_t> order[2];
  std::atomic<bool> stuck{false};
  qwench::runOn(*threads, [&](int64_t thread, int64_t) {
    int64_t tile = threads->share(thread, 10);
    if (thread == 1) {
      order[1].push_back(tile);
      stuck = true;
      while (stuck) // until the other one has done all the rest
        sched_yield();
      EXPECT_EQ(threads->take(1), -1);
    } else {
      while (!stuck)
        sched_yield();
      for (; tile >= 0; tile = threads->take(0))
        order[0].push_back(tile);
      stuck = false;
    }
    threads->barrier();
  });
  EXPECT_EQ(order[1], std::vector<int64_t>({5}));
  EXPECT_EQ(order[0], std::vector<int64_t>({0, 1, 2, 3, 4, 9, 8, 7, 6}));
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
