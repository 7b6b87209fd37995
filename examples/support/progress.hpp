// How far a long computation has come, on the error stream: one line that is rewritten on a terminal, a line for every
// tenth otherwise.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <mutex>
#include <string>
#include <utility>

#if __has_include(<unistd.h>)
#include <unistd.h>
#endif

namespace example {

/// May be advanced from several threads.
class Progress {
 public:
  Progress(std::string what, std::size_t total) : what_(std::move(what)), total_(total) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  ~Progress() {
    if (terminal_) std::fputs("\r\033[K", stderr);
  }

  /// `note` is shown behind.
  void advance(const std::string& note = {}) {
    const std::lock_guard lock(mutex_);
    ++done_;
    const auto elapsed = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - start_);
    if (!terminal_ && done_ * 10 / total_ == (done_ - 1) * 10 / total_) return;
    std::fprintf(stderr, terminal_ ? "\r%s: %zu of %zu, %lld s%s\033[K" : "%s: %zu of %zu, %lld s%s\n", what_.c_str(),
                 done_, total_, static_cast<long long>(elapsed.count()), note.c_str());
    std::fflush(stderr);
  }

 private:
  static bool is_terminal() {
#if __has_include(<unistd.h>)
    return isatty(STDERR_FILENO) != 0;
#else
    return false;
#endif
  }

  const std::string what_;
  const std::size_t total_;
  const bool terminal_ = is_terminal();
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::mutex mutex_;
  std::size_t done_ = 0;
};

}  // namespace example
