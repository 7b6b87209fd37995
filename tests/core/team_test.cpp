#include "moe/core/team.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/expect_invalid.hpp"

#if __has_include(<sys/wait.h>)
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#endif

namespace moe {
namespace team_test {

using std::chrono::milliseconds;

/// Whether each of the tasks ran once.
bool runs_each_once(const Team& team, Index count) {
  std::vector<int> runs(static_cast<std::size_t>(count), 0);
  team.parallel_for(count, [&](Index i) { ++runs[static_cast<std::size_t>(i)]; });
  return runs == std::vector<int>(static_cast<std::size_t>(count), 1);
}

/// Two tasks that two threads must run, or they would not end.
void meet(const Team& team) {
  std::atomic<int> here{0};
  team.parallel_for(2, [&](Index) {
    ++here;
    while (here < 2) std::this_thread::yield();
  });
}

/// Processor time that the program uses while f() runs, as a share of the time that passes.
template <class F>
double processors_used_by(F&& f) {
  const auto start = std::chrono::steady_clock::now();
  const std::clock_t used = std::clock();
  f();
  return static_cast<double>(std::clock() - used) / CLOCKS_PER_SEC /
         std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(Team, RunsEachTaskOnceWithAnyNumberOfThreads) {
  for (const int threads : {0, 1, 2, 7, 64})
    for (const Index count : {0, 1, 2, 50}) EXPECT_TRUE(runs_each_once({.threads = threads}, count)) << threads;
}

TEST(Team, SaysHowManyTasksItRunsAtATime) {
  EXPECT_EQ(Team{.threads = 3}.threads_at_work(), 3);
  EXPECT_GE(Team{}.threads_at_work(), 1);
}

TEST(Team, RefusesANegativeNumberOfThreads) {
  support::expect_invalid([] { Team{.threads = -2}.parallel_for(3, [](Index) {}); }, {"threads is -2"});
}

void count_up(Index) {}

TEST(Team, TakesFunctionsAndWhatIsNotConst) {
  Team{.threads = 2}.parallel_for(3, count_up);
  std::atomic<int> runs{0};
  Team{.threads = 2}.parallel_for(3, [&runs](Index) mutable { ++runs; });
  EXPECT_EQ(runs, 3);
}

TEST(Team, IsMoreThanOneThread) {
  for (int run = 0; run < 20; ++run) meet({.threads = 2});
}

TEST(Team, HasNoMoreThreadsThanItIsAllowed) {
  meet({.threads = 2});
  runs_each_once({.threads = 16}, 100);  // so that there are more
  for (int run = 0; run < 50; ++run) {
    std::atomic<int> now{0}, most{0};
    Team{.threads = 3}.parallel_for(20, [&](Index) {
      const int mine = ++now;
      for (int seen = most; mine > seen && !most.compare_exchange_weak(seen, mine);) {
      }
      std::this_thread::yield();
      --now;
    });
    ASSERT_LE(most, 3);
  }
}

TEST(Team, ThrowsTheExceptionOfTheLowestTaskAndStaysUsable) {
  for (int run = 0; run < 20; ++run) {
    try {
      Team{.threads = 4}.parallel_for(20, [](Index i) {
        if (i >= 7) throw std::runtime_error(std::to_string(i));
      });
      ADD_FAILURE() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "7");
    }
    EXPECT_TRUE(runs_each_once({.threads = 4}, 10));
  }
}

TEST(Team, SeveralCallersAndTasksWithinTasks) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 6; ++caller)
    callers.emplace_back([&wrong, team = Team{.threads = 1 + caller % 4}] {
      for (int run = 0; run < 100; ++run) {
        std::vector<int> right(5, 0);
        team.parallel_for(5, [&](Index i) { right[static_cast<std::size_t>(i)] = runs_each_once(team, 7) ? 1 : 0; });
        if (right != std::vector<int>(5, 1)) ++wrong;
      }
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

// Nobody waits for a thread that has not begun. Here the helper is kept busy by another caller.
TEST(Team, ACallerDoesTheWorkOfABusyHelper) {
  std::atomic<int> here{0};
  std::atomic<bool> done{false};
  std::thread other([&] {
    Team{.threads = 64}.parallel_for(64, [&](Index) {
      ++here;
      while (!done) std::this_thread::sleep_for(milliseconds(1));
    });
  });
  while (here < 64) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_TRUE(runs_each_once({.threads = 2}, 10));
  done = true;
  other.join();
}

TEST(Team, WhoWaitsSleeps) {
  meet({.threads = 2});
  EXPECT_LT(processors_used_by([] { std::this_thread::sleep_for(milliseconds(300)); }), 0.3) << "for tasks";
  const auto one_is_late = [] {
    std::atomic<int> here{0};
    Team{.threads = 2}.parallel_for(2, [&](Index) {
      if (++here == 1) std::this_thread::sleep_for(milliseconds(300));
      while (here < 2) std::this_thread::sleep_for(milliseconds(1));
    });
  };
  EXPECT_LT(processors_used_by(one_is_late), 0.3) << "for the last task";
}

#if __has_include(<sys/wait.h>)

/// The exit status of a child that runs f() and returns its value, or -1 if it did not exit.
template <class F>
int status_of_child(F&& f) {
  const pid_t child = fork();
  if (child == 0) _exit(f());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Team, AForkedChildHasHelpersOfItsOwn) {
  meet({.threads = 2});
  EXPECT_EQ(status_of_child([] {
              alarm(20);
              meet({.threads = 2});
              return status_of_child([] {
                alarm(20);
                meet({.threads = 2});
                return 5;
              });
            }),
            5);
  EXPECT_TRUE(runs_each_once({.threads = 2}, 10));
}

// What watches addresses needs more of them than the limit leaves.
#if defined(__SANITIZE_ADDRESS__)
#define MOE_TEST_ADDRESSES_ARE_WATCHED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MOE_TEST_ADDRESSES_ARE_WATCHED
#endif
#endif
#ifndef MOE_TEST_ADDRESSES_ARE_WATCHED
TEST(Team, WorksWithAsManyThreadsAsTheSystemGives) {
  EXPECT_EQ(status_of_child([] {
              rlimit limit{};
              getrlimit(RLIMIT_AS, &limit);
              rlim_t pages = 0;
              std::ifstream("/proc/self/statm") >> pages;
              limit.rlim_cur = pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + (rlim_t{64} << 20);
              if (pages == 0 || setrlimit(RLIMIT_AS, &limit) != 0) return 5;
              for (int run = 0; run < 3; ++run)
                if (!runs_each_once({.threads = 500}, 1000)) return 1;
              return 5;
            }),
            5);
}
#endif

#endif

void run_tasks_at_exit() { std::_Exit(runs_each_once({.threads = 4}, 20) ? 7 : 1); }

// In a process of its own, where no helper has been started before.
TEST(TeamDeathTest, TasksCanBeRunAfterTheHelpersHaveGone) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        std::atexit(run_tasks_at_exit);  // is called after what is registered later
        meet({.threads = 4});
        std::exit(0);
      },
      ::testing::ExitedWithCode(7), "");
}

TEST(TeamDeathTest, AProgramMayEndWhileTasksRun) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        const auto caller = std::this_thread::get_id();
        Team{.threads = 2}.parallel_for(2, [&](Index) {
          if (std::this_thread::get_id() != caller) std::exit(3);
          for (;;) std::this_thread::sleep_for(milliseconds(1));
        });
      },
      ::testing::ExitedWithCode(3), "");
}

}  // namespace team_test
}  // namespace moe
