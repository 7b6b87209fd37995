// How far a long computation has come, and how long it will take, on the error stream: one line that is rewritten on a
// terminal, and otherwise, as in a log, a line every ten seconds and at every tenth.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#if __has_include(<unistd.h>)
#include <unistd.h>
#endif

namespace example {

/// May be advanced from several threads.
class Progress {
 public:
  /// `total` parts are to be done; `out` gets a line after so long, whether any is done by then or not.
  Progress(std::string what, std::size_t total, std::FILE* out = stderr,
           std::chrono::milliseconds silence = std::chrono::seconds(10))
      : what_(std::move(what)), total_(total), out_(out), terminal_(is_terminal(out)), teller_([this, silence] {
          std::unique_lock lock(mutex_);
          while (!over_.wait_for(lock, silence, [this] { return ended_; })) tell();
        }) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  ~Progress() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    over_.notify_all();
    teller_.join();
    if (terminal_) std::fputs("\r\033[K", out_);
  }

  /// A part is done. `note` is shown behind from now on.
  void advance(std::string note = {}) {
    const std::lock_guard lock(mutex_);
    ++done_;
    note_ = std::move(note);
    advanced_ = Clock::now();
    if (terminal_ || done_ * 10 / total_ != (done_ - 1) * 10 / total_) tell();
  }

 private:
  using Clock = std::chrono::steady_clock;

  static double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

  void tell() {
    const Clock::time_point now = Clock::now();
    std::string left;
    if (done_ > 0 && done_ < total_) {
      const double each = seconds(advanced_ - start_) / static_cast<double>(done_);
      const double rest = each * static_cast<double>(total_ - done_) - seconds(now - advanced_);
      left = ", about " + std::to_string(static_cast<long long>(rest > 0 ? rest + 0.5 : 0)) + " s left";
    }
    std::fprintf(out_, terminal_ ? "\r%s: %zu of %zu, %lld s%s%s\033[K" : "%s: %zu of %zu, %lld s%s%s\n", what_.c_str(),
                 done_, total_, static_cast<long long>(seconds(now - start_)), left.c_str(), note_.c_str());
    std::fflush(out_);
  }

  static bool is_terminal([[maybe_unused]] std::FILE* out) {
#if __has_include(<unistd.h>)
    return isatty(fileno(out)) != 0;
#else
    return false;
#endif
  }

  const std::string what_;
  const std::size_t total_;
  std::FILE* const out_;
  const bool terminal_;
  const Clock::time_point start_ = Clock::now();
  std::mutex mutex_;
  std::condition_variable over_;
  bool ended_ = false;
  std::size_t done_ = 0;
  Clock::time_point advanced_ = start_;
  std::string note_;
  std::thread teller_;  // the last member: it sees the others
};

}  // namespace example
