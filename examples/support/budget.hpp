// What a program may spend and where its results go: the options that the examples have in common.
#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>

#include "moe/core/core.hpp"

namespace example {

/// Checks of an option; what is no number, "nan" among it, is refused.
CLI::Validator greater_than_0();
CLI::Validator at_least_0();

/// The defaults are those of the program: `Budget budget{.steps = 600};`.
struct Budget {
  moe::Index steps;
  double seconds = 0;  ///< Instead of the steps if greater than 0.
  std::uint64_t seed = 1;
  bool quick = false;  ///< What is small enough for a test is the program's to choose.
  std::string out = ".";

  /// Must live until the options have been parsed, which makes the folder `out` where there is none.
  void add_to(CLI::App& app);

  /// Without what a path does not need, such as "./".
  std::string file(std::string_view name) const {
    return (std::filesystem::path(out) / name).lexically_normal().string();
  }
};

/// How much of the budget of a training is used: by its steps, or by the clock since this was made. The learning rate
/// follows it, and training ends when it reaches 1.
class Pace {
 public:
  /// Throws std::invalid_argument if there is nothing to spend.
  explicit Pace(moe::Index steps, double seconds = 0) : steps_(steps), seconds_(seconds) {
    if (!(seconds > 0) && steps <= 0) throw std::invalid_argument("a budget of no steps and no seconds");
  }

  /// 0 ... 1, when so many steps are done.
  double fraction(moe::Index step) const {
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
    const double used =
        seconds_ > 0 ? elapsed.count() / seconds_ : static_cast<double>(step) / static_cast<double>(steps_);
    return (std::clamp)(used, 0.0, 1.0);
  }

 private:
  const moe::Index steps_;
  const double seconds_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace example
