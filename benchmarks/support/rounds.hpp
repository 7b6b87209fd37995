// Times of several programs that take turns: what disturbs one disturbs the others of the same round.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <vector>

namespace bench {

template <class F>
double seconds_of(F&& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Seconds of one pass. Short ones are repeated for a while, after one that brings their data back into the caches.
inline double time_turn(const std::function<void()>& pass) {
  constexpr double enough = 0.02;
  const double first = seconds_of(pass);
  if (first >= enough) return first;
  double seconds = 0;
  int passes = 0;
  for (; seconds < enough; ++passes) seconds += seconds_of(pass);
  return seconds / passes;
}

/// seconds[i][round] of passes[i]; each round begins with another one.
inline std::vector<std::vector<double>> take_turns(const std::vector<std::function<void()>>& passes, int rounds) {
  std::vector<std::vector<double>> seconds(passes.size());
  for (int round = 0; round < rounds; ++round)
    for (std::size_t turn = 0; turn < passes.size(); ++turn) {
      const std::size_t i = (turn + static_cast<std::size_t>(round)) % passes.size();
      seconds[i].push_back(time_turn(passes[i]));
    }
  return seconds;
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

inline double best(const std::vector<double>& values) { return *std::min_element(values.begin(), values.end()); }

/// The median of a / b, round by round.
inline double median_ratio(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < a.size(); ++i) ratios.push_back(a[i] / b[i]);
  return median(std::move(ratios));
}

}  // namespace bench
