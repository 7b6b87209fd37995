// The options that the examples share need CLI11, which the tests do without where it is missing.
#ifdef MOE_TEST_BUDGET

#include "support/budget.hpp"

#include <chrono>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <thread>

#include "file_text.hpp"
#include "gtest/gtest.h"

namespace budget_test {

example::Budget parsed(const std::string& options) {
  CLI::App app;
  example::Budget budget{.steps = 600};
  budget.add_to(app);
  app.parse(options);
  return budget;
}

std::string complaint(const std::string& options) {
  try {
    parsed(options);
  } catch (const CLI::ParseError& error) {
    return error.what();
  }
  return "none";
}

TEST(Budget, DefaultsAreTheProgramsOwn) {
  const example::Budget budget = parsed("");
  EXPECT_EQ(budget.steps, 600);
  EXPECT_EQ(budget.seconds, 0);
  EXPECT_EQ(budget.seed, 1u);
  EXPECT_FALSE(budget.quick);
  EXPECT_EQ(budget.file("a.csv"), "a.csv");  // as all programs name their files
}

TEST(Budget, OptionsReplaceThem) {
  const example::Budget budget = parsed("--steps 20 --seconds 1.5 --seed 18446744073709551615 --quick");
  EXPECT_EQ(budget.steps, 20);
  EXPECT_EQ(budget.seconds, 1.5);
  EXPECT_EQ(budget.seed, ~std::uint64_t{0});
  EXPECT_TRUE(budget.quick);
}

TEST(Budget, SaysWhatIsWrong) {
  EXPECT_EQ(complaint("--steps 0"), "--steps: must be greater than 0, not '0'");
  EXPECT_EQ(complaint("--steps -5"), "--steps: must be greater than 0, not '-5'");
  EXPECT_EQ(complaint("--seconds -1"), "--seconds: must be 0 or more, less than 1e9, not '-1'");
  EXPECT_NE(complaint("--seconds nan"), "none");
  EXPECT_NE(complaint("--seconds inf"), "none");
  EXPECT_NE(complaint("--steps 1.5"), "none");
  EXPECT_NE(complaint("--steps 9x"), "none");
  EXPECT_EQ(complaint("--seed -1"), "--seed: must be a whole number from 0 to 2^64 - 1, not '-1'");
  EXPECT_NE(complaint("--seed 18446744073709551616"), "none");
}

TEST(Budget, MakesTheFolder) {
  const std::string folder = test::scratch_path("folder");
  std::filesystem::remove_all(folder);
  const example::Budget budget = parsed("--out " + folder + "/inner");
  EXPECT_TRUE(std::filesystem::is_directory(folder + "/inner"));
  EXPECT_EQ(std::filesystem::path(budget.file("a.csv")).parent_path(), std::filesystem::path(folder + "/inner"));
  std::ofstream(folder + "/file") << "in the way";
  EXPECT_NE(complaint("--out " + folder + "/file").find("--out: cannot make the folder"), std::string::npos);
  std::filesystem::remove_all(folder);
}

TEST(Pace, CountsSteps) {
  const example::Pace pace(200);
  EXPECT_EQ(pace.fraction(0), 0);
  EXPECT_EQ(pace.fraction(50), 0.25);
  EXPECT_EQ(pace.fraction(200), 1);
  EXPECT_EQ(pace.fraction(300), 1);
}

TEST(Pace, OrReadsTheClock) {
  const example::Pace hour(1, 3600), moment(1000000, 1e-3);
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_GT(hour.fraction(1), 0);
  EXPECT_LT(hour.fraction(1), 0.5);
  EXPECT_EQ(moment.fraction(0), 1);
}

TEST(Pace, RefusesNoBudget) {
  EXPECT_THROW(example::Pace(0), std::invalid_argument);
  EXPECT_NO_THROW(example::Pace(0, 1));
}

}  // namespace budget_test

#endif
