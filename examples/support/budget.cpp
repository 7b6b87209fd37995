#include "budget.hpp"

#include <charconv>
#include <cstdint>
#include <filesystem>
#include <sstream>
#include <string>
#include <system_error>

#include "plain.hpp"

namespace example {
namespace {

CLI::Validator number(bool (*valid)(double), const std::string& rule) {
  const auto complaint = [=](const std::string& text) {
    double value = 0;
    return plain(std::istringstream(text)) >> value && valid(value) ? std::string() : rule + ", not '" + text + "'";
  };
  return CLI::Validator(complaint, "");
}

/// Returns what is wrong: a larger one would become the largest without a word.
std::string seed_of_64_bits(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return {};
  return "must be a whole number from 0 to 2^64 - 1, not '" + text + "'";
}

/// Returns what is wrong.
std::string make_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return {};
  return "cannot make the folder '" + path + "'" + (error ? ": " + error.message() : "");
}

}  // namespace

CLI::Validator greater_than_0() {
  return number([](double n) { return n > 0; }, "must be greater than 0");
}

CLI::Validator at_least_0() {
  return number([](double n) { return n >= 0; }, "must be 0 or more");
}

void Budget::add_to(CLI::App& app) {
  app.add_option("--steps", steps, "steps of training")->capture_default_str()->check(greater_than_0());
  app.add_option("--seconds", seconds, "train for so long instead")
      ->check(number([](double n) { return n >= 0 && n < 1e9; }, "must be 0 or more, less than 1e9"));
  app.add_option("--seed", seed, "of all that is random")
      ->capture_default_str()
      ->check(CLI::Validator(seed_of_64_bits, ""));
  app.add_flag("--quick", quick, "tiny sizes, for a test of a few seconds");
  app.add_option("--out", out, "folder of the results")->capture_default_str()->check(CLI::Validator(make_folder, ""));
}

}  // namespace example
