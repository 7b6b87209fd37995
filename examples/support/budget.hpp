// What a program may spend and where its results go: the options that the examples have in common.
#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include "moe/core.hpp"

namespace example {

/// Checks of an option; what is no number, "nan" among it, is refused.
inline CLI::Validator number(bool (*valid)(double), const std::string& rule) {
  const auto complaint = [=](const std::string& text) {
    double value = 0;
    return std::istringstream(text) >> value && valid(value) ? std::string() : rule + ", not '" + text + "'";
  };
  return CLI::Validator(complaint, "");
}
inline CLI::Validator greater_than_0() {
  return number([](double n) { return n > 0; }, "must be greater than 0");
}
inline CLI::Validator at_least_0() {
  return number([](double n) { return n >= 0; }, "must be 0 or more");
}

/// The defaults are those of the program: `Budget budget{.steps = 600};`.
struct Budget {
  moe::Index steps;
  double seconds = 0;  ///< Instead of the steps if greater than 0.
  std::uint64_t seed = 1;
  bool quick = false;  ///< What is small enough for a test is the program's to choose.
  std::string out = ".";

  /// Must live until the options have been parsed, which makes the folder `out` where there is none.
  void add_to(CLI::App& app) {
    app.add_option("--steps", steps, "steps of training")->capture_default_str()->check(greater_than_0());
    app.add_option("--seconds", seconds, "train for so long instead")
        ->check(number([](double n) { return n >= 0 && n < 1e9; }, "must be 0 or more, less than 1e9"));
    app.add_option("--seed", seed, "of all that is random")
        ->capture_default_str()
        ->check(CLI::Validator(seed_of_64_bits, ""));
    app.add_flag("--quick", quick, "tiny sizes, for a test of a few seconds");
    app.add_option("--out", out, "folder of the results")
        ->capture_default_str()
        ->check(CLI::Validator(make_folder, ""));
  }

  std::string file(std::string_view name) const { return (std::filesystem::path(out) / name).string(); }

 private:
  /// Returns what is wrong: a larger one would become the largest without a word.
  static std::string seed_of_64_bits(const std::string& text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size()) return {};
    return "must be a whole number from 0 to 2^64 - 1, not '" + text + "'";
  }

  /// Returns what is wrong.
  static std::string make_folder(const std::string& path) {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored)) return {};
    return "cannot make the folder '" + path + "'" + (error ? ": " + error.message() : "");
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
