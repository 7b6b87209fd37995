// Threads of the library's own, for machines that other programs use as well: one that waits looks for a moment, since
// the next tasks mostly follow at once, and then sleeps, so that its core is free. A caller never waits for a thread
// that has not begun: it does itself what nobody else has taken.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <new>
#include <thread>

#include "moe/core/core.hpp"
#include "moe/core/first_exception.hpp"

#if __has_include(<pthread.h>)
#include <pthread.h>
#endif

MOE_NAMESPACE_BEGIN

namespace detail {

using TimePoint = std::chrono::steady_clock::time_point;

/// How long a waiting thread looks before it sleeps: longer than callers mostly take between two calls.
inline TimePoint a_moment_from_now() { return std::chrono::steady_clock::now() + std::chrono::microseconds{500}; }

/// Returns when the value is another than `seen`: looks until `end`, then sleeps.
inline void wait_for_change(const std::atomic<unsigned>& value, unsigned seen, TimePoint end) {
  while (value.load(std::memory_order_acquire) == seen) {
    if (std::chrono::steady_clock::now() > end) return value.wait(seen, std::memory_order_acquire);
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
  }
}

/// A lock for some ten instructions, and for starting the threads.
class BriefLock {
 public:
  void lock() {
    for (int tries = 0; taken_.test_and_set(std::memory_order_acquire); ++tries)
      if (tries > 100) std::this_thread::yield();  // its holder may be waiting for this core
  }
  void unlock() { taken_.clear(std::memory_order_release); }

 private:
  std::atomic_flag taken_ = ATOMIC_FLAG_INIT;
};

/// Tasks that a caller shares with helpers; they live in the caller's stack.
class SharedTasks {
 public:
  /// f(0) ... f(count - 1), with up to so many helpers.
  SharedTasks(TaskRef f, Index count, Index helpers) : places(helpers), f_(f), count_(count) {}

  void work() {
    for (Index i = taken_++; i < count_; i = taken_++) exception.run(i, f_);
  }
  bool all_taken() const { return taken_.load(std::memory_order_relaxed) >= count_; }

  Index places;                   ///< For so many more helpers.
  SharedTasks* next = nullptr;    ///< That are shared as well.
  std::atomic<Index> at_work{0};  ///< Helpers that have joined and not left.
  FirstException exception;

 private:
  const TaskRef f_;
  const Index count_;
  std::atomic<Index> taken_{0};
};

/// The threads that help whoever has tasks. They are started when they are wanted for the first time.
class Helpers {
 public:
  /// Those of this program; none where there is no memory. After a fork the child has others.
  static Helpers* of_program() {
    static const AtEnd at_end;
    Helpers* helpers = ours().load(std::memory_order_acquire);
    if (helpers != nullptr) return helpers;
    auto* made = new (std::nothrow) Helpers;
    if (made == nullptr || ours().compare_exchange_strong(helpers, made)) return made;
    delete made;  // another thread was faster
    return helpers;
  }

  /// Runs the tasks; returns when all are done.
  void help_with(SharedTasks& tasks) {
    Index wanted = 0;
    with_lock([&] {
      hire(tasks.places);
      wanted = (std::min)(tasks.places, static_cast<Index>(all_.size()));
      tasks.next = first_;
      first_ = &tasks;
    });
    tell(wanted);
    tasks.work();
    with_lock([&] {
      SharedTasks** at = &first_;
      while (*at != &tasks) at = &(*at)->next;
      *at = tasks.next;
    });
    for (;;) {
      const unsigned seen = departures_.load(std::memory_order_acquire);
      if (tasks.at_work.load(std::memory_order_acquire) == 0) return;
      wait_for_change(departures_, seen, a_moment_from_now());
    }
  }

 private:
  struct Helper {
    std::thread thread;
    bool busy = false;
  };

  /// At the program's end, or when the library that holds this code is unloaded: helpers that sleep are woken to go.
  /// Those at work are not waited for, which could take long, and nothing is destroyed: passes may still be run, by
  /// their callers alone.
  struct AtEnd {
#if __has_include(<pthread.h>)
    AtEnd() {
      // Helpers are not forked. Those of the parent are remembered, so that no checker takes them for lost.
      pthread_atfork(nullptr, nullptr, [] { of_parent() = ours().exchange(nullptr); });
    }
#endif
    ~AtEnd() {
      if (Helpers* helpers = ours().load()) helpers->dismiss();
    }
  };

  static std::atomic<Helpers*>& ours() {
    static std::atomic<Helpers*> helpers{nullptr};
    return helpers;
  }
  static Helpers*& of_parent() {
    static Helpers* helpers = nullptr;
    return helpers;
  }

  template <class F>
  void with_lock(F&& f) {
    lock_.lock();
    f();
    lock_.unlock();
  }

  /// Wakes so many helpers that sleep; the others need not know.
  void tell(Index wanted) {
    news_.fetch_add(1, std::memory_order_release);
    for (; wanted > 0; --wanted) news_.notify_one();
  }

  /// Starts threads until there are `wanted`, or as many as the system gives.
  void hire(Index wanted) {
    if (complete_ || (rest_ > 0 && --rest_ > 0)) return;
#ifdef __cpp_exceptions
    try {
#endif
      while (static_cast<Index>(all_.size()) < wanted) {
        Helper& one = all_.emplace_back();
        one.thread = std::thread([this, &one] { help(one); });
      }
#ifdef __cpp_exceptions
    } catch (...) {
      rest_ = 1000;
      if (!all_.empty() && !all_.back().thread.joinable()) all_.pop_back();
    }
#endif
  }

  /// Who has worked looks for more; who was woken for nothing goes on sleeping.
  void help(Helper& me) {
    TimePoint end = a_moment_from_now();
    for (;;) {
      const unsigned seen = news_.load(std::memory_order_acquire);
      while (SharedTasks* tasks = join(me)) {
        tasks->work();
        tasks->at_work.fetch_sub(1, std::memory_order_release);  // the caller may return, and the tasks be gone
        departures_.fetch_add(1, std::memory_order_release);
        departures_.notify_all();
        end = a_moment_from_now();
      }
      if (dismissed_.load(std::memory_order_acquire)) return;
      wait_for_change(news_, seen, end);
    }
  }

  /// Tasks that nobody has taken yet; null if there are none.
  SharedTasks* join(Helper& me) {
    SharedTasks* tasks = nullptr;
    with_lock([&] {
      if (!dismissed_.load(std::memory_order_relaxed))
        for (tasks = first_; tasks != nullptr; tasks = tasks->next)
          if (tasks->places > 0 && !tasks->all_taken()) break;
      me.busy = tasks != nullptr;
      if (tasks == nullptr) return;
      --tasks->places;
      tasks->at_work.fetch_add(1, std::memory_order_relaxed);
    });
    return tasks;
  }

  void dismiss() {
    with_lock([&] {
      complete_ = true;
      dismissed_.store(true, std::memory_order_release);
    });
    news_.fetch_add(1, std::memory_order_release);
    news_.notify_all();
    for (Helper& one : all_) {
      bool busy = false;
      with_lock([&] { busy = one.busy; });
      if (busy)
        one.thread.detach();
      else
        one.thread.join();
    }
  }

  alignas(64) std::atomic<unsigned> news_{0};        ///< How often there were new tasks.
  alignas(64) std::atomic<unsigned> departures_{0};  ///< How often a helper left tasks.
  alignas(64) BriefLock lock_;                       ///< For what follows, and which helper is busy.
  SharedTasks* first_ = nullptr;
  bool complete_ = false;  ///< No more are started.
  Index rest_ = 0;         ///< Calls that do not try to start any, after the system gave none.
  std::atomic<bool> dismissed_{false};
  std::deque<Helper> all_;
};

}  // namespace detail

MOE_NAMESPACE_END
